"""The end of a demonstration: everything added up twice, judged, searched and drawn.

Law: it ends well only if every check that it names was made and held.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from carnet_simulator.demo import summary
from carnet_simulator.demo.check import violations
from carnet_simulator.demo.live import Live
from carnet_simulator.demo.picture import Panel, draw, save
from carnet_simulator.demo.received import Received
from carnet_simulator.demo.search import Search, search
from carnet_simulator.demo.told import Told, note, now_ms, permissions
from carnet_simulator.demo.webhook import Insurer
from carnet_simulator.demo.words import counted, how

HOLD_S: Final = 2.0
"""What is still on its way when the car has stopped is waited for until nothing came for so long."""
HOLD_S_MAX: Final = 20.0
LOOK_S: Final = 0.05


def end(told: Told, live: Live, insurer: Insurer, picture: Path | None) -> dict[str, Any]:
    """Stop everything, judge, draw; the report that ``--json`` prints."""
    _drain(told, live)
    statement = told.stage.ask_owner("statement")
    told.stage.programs.end()
    told.look()
    differing = [
        sentence
        for row in told.rows.values()
        for sentence in summary.differences(
            summary.of_files(row.received.events), _only(statement, told.records[row.name])
        )
    ]
    wrong = _wrong(told, insurer)
    searched = _search(told)
    report = _report(told, statement, differing, wrong, searched, save(picture, _drawn(told)))
    _say(live, report, searched)
    return report


def _drain(told: Told, live: Live) -> None:
    """Stop car and unit and let what is on its way arrive."""
    told.stage.programs.end("car", "agent")
    quiet_since = time.monotonic()
    give_up = quiet_since + HOLD_S_MAX
    count = -1
    while time.monotonic() - quiet_since < HOLD_S and time.monotonic() < give_up:
        told.look()
        total = sum(len(row.received.events) for row in told.rows.values())
        if total != count or told.stage.waiting():
            count, quiet_since = total, time.monotonic()
        time.sleep(LOOK_S)
    live.end(list(told.rows.values()), (now_ms() - told.began_ms) / 1000, note(told))


def _wrong(told: Told, insurer: Insurer) -> list[str]:
    """Everything that must not be: one sentence each."""
    found = []
    for party in told.stage.scene.parties:
        received = told.received(party.name)
        found += violations(party.name, received.events, permissions(told, party))
        if received.doubled:
            found.append(f"{party.name}: {received.doubled} events came twice under one id")
    if told.events_after():
        found.append(f"{told.events_after()} events came after the withdrawal")
    if told.withdrawal is None:
        found.append("no consent was withdrawn")
    if insurer.refused:
        found.append(f"insurer: {insurer.refused} deliveries without a valid signature")
    return found


def _only(statement: dict[str, Any], record: str) -> dict[str, Any]:
    """The statement about one record."""
    return {"records": [entry for entry in statement["records"] if entry["record"] == record]}


def _search(told: Told) -> Search:
    """A record's id stands in the recipients' files: finding it shows that the search works."""
    return search(told.stage.folder, told.stage.scene.markers, told.records[told.stage.scene.parties[0].name].encode())


def _drawn(told: Told) -> str:
    """The picture."""
    gone = told.withdrawal
    panels = []
    for party in told.stage.scene.parties:
        withdrawn_ms = gone.done_ms if gone is not None and gone.recipient == party.name else None
        received = told.received(party.name)
        purpose, refused = party.offer["purpose"]["text"], told.refused[party.name]
        panels.append(Panel(party.name, purpose, *_times(received), withdrawn_ms, refused))
    played = told.stage.scene
    line = f"{played.title}, {len(played.signals)} signals; what has no mark was delivered to nobody"
    return draw("What left the car, for whom", panels, told.granted_ms, now_ms(), line)


def _times(received: Received) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Path -> capture times, path -> transforms in words; from the recipient's file."""
    times: dict[str, list[int]] = {}
    ways: dict[str, set[str]] = {}
    for event in received.events:
        for column in event["data"]["columns"]:
            times.setdefault(column["path"], []).extend(column["t_ms"])
            ways.setdefault(column["path"], set()).add(how(column["transform"]))
    return times, {path: "; ".join(sorted(each)) for path, each in ways.items()}


def _report(
    told: Told, statement: dict[str, Any], differing: list[str], wrong: list[str], searched: Search, picture: Path
) -> dict[str, Any]:
    marker = None if not told.stage.scene.markers else not searched.found
    gone = told.withdrawal
    works = bool(searched.control)
    return {
        "ok": not differing and not wrong and marker is not False and works and told.first_reading_s is not None,
        "first_reading_s": told.first_reading_s,
        "broker": told.stage.broker,
        "recipients": {
            name: {
                "events": len(row.received.events),
                "samples": row.received.samples,
                "paths": dict(sorted(row.received.counts.items())),
            }
            for name, row in told.rows.items()
        },
        "blocked": [
            {"recipient": name, "path": block.path, "reason": block.reason.value}
            for name, row in told.rows.items()
            for block in row.blocks
        ],
        "blocked_by_cloud": statement["blocked"],
        "withdraw": gone and {**asdict(gone), "events_after": told.events_after()},
        "statement_agrees": not differing,
        "differences": differing,
        "violations": wrong,
        "marker_absent": marker,
        "marker_files": list(searched.found),
        "files_searched": searched.files,
        "pictures": [str(picture.absolute())],
    }


def _say(live: Live, report: dict[str, Any], searched: Search) -> None:
    """The report in sentences."""
    for name, got in report["recipients"].items():
        amount = f"{counted(got['events'], 'event')}, {counted(got['samples'], 'sample')}"
        live.say(f"{name}: {amount} of {counted(len(got['paths']), 'path')} in its own file")
    agree = "the owner's statement says the same" if report["statement_agrees"] else "the statement says otherwise:"
    live.say(agree)
    for sentence in report["differences"]:
        live.say(f"  {sentence}")
    gone = report["withdraw"]
    if gone:
        live.say(
            f"withdrawn in {gone['returned_ms']} ms; events for the {gone['recipient']} after: {gone['events_after']}"
        )
    for block in report["blocked_by_cloud"]:
        live.say(
            f"held back by the cloud: {counted(block['samples'], 'sample')} of {block['path']} ({block['reason']})"
        )
    live.say(
        "every reading compared with what was granted: " + ("all of them were" if not report["violations"] else "NOT")
    )
    for sentence in report["violations"]:
        live.say(f"  {sentence}")
    if report["marker_absent"] is not None:
        where = "in none" if report["marker_absent"] else f"FOUND in {', '.join(searched.found)}"
        live.say(f"the car's identification number, searched in {searched.files} files of all parts: {where}")
    live.say(f"picture: {report['pictures'][0]}")
    live.say("everything held" if report["ok"] else "SOMETHING DID NOT HOLD")
