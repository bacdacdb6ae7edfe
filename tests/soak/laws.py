"""Whether anything was lost, doubled or sent too late in a run that is over.

Law: what the car sent, what the recipients got and what the store says are three books, and they must agree.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from carnet_cloud.recipients.base import GROUP_MAX
from tests.soak.judge import Verdict
from tests.soak.line import INSURER, VISITOR, Deeds, Line
from tests.soak.webhook import Heard
from tests.system.road import RECIPIENT
from tests.system.tally import BUSES, SLOW_PATH, fast_path

CHECKPOINT_S: Final = 10.0
DRAIN_S: Final = 3.0
START_S: Final = 15.0
"""An agent that was started reads again after so long, on a busy machine."""
Sent = Mapping[str, Sequence[float]]


def laws(line: Line, sent: Sent) -> list[Verdict]:
    """All of them, one verdict each."""
    deeds = line.deeds
    insurer, visitor = line.hook.heard["/Insurer"], line.hook.heard["/Visitor"]
    return [
        *_file(line, sent),
        Verdict.none("lost to the insurer", lost(sent, fast_path("can0"), insurer.numbers, deeds), "readings"),
        Verdict.none("doubled to the insurer", insurer.doubled, "readings"),
        Verdict.none("doubled to the visitor", visitor.doubled, "readings"),
        Verdict.none("to the visitor after a withdrawal", late(visitor, deeds), "consents"),
        Verdict.none("to the visitor while silent", silent(sent[fast_path("can1")], visitor, deeds), "readings"),
        *_books(line, insurer, visitor),
        Verdict.none("tracebacks", tracebacks(line), "lines of logs"),
    ]


def _file(line: Line, sent: Sent) -> Iterator[Verdict]:
    """The recipient that reads a file."""
    numbers: dict[str, dict[int, str]] = {path: {} for path in sent}
    names: Counter[str] = Counter()
    doubled: list[tuple[str, int]] = []
    with (line.folder / "workshop" / "events.jsonl").open() as lines:
        for each in lines:
            event = json.loads(each)
            names[event["id"]] += 1
            for column in event["data"]["columns"]:
                had = numbers[column["path"]]
                twice = [number for number in column["v"] if had.setdefault(number, event["id"]) != event["id"]]
                doubled += [(column["path"], number) for number in twice]
    lost_there = [each for path in sent for each in lost(sent, path, numbers, line.deeds)]
    yield Verdict.none("lost to the workshop", lost_there, "readings")
    yield Verdict.none("doubled to the workshop", doubled, "readings")
    again = sum(count - 1 for count in names.values())
    # a group that a receiver had on its way when it was killed or frozen goes out again with the same ids
    troubled = line.deeds.done["receiver killed"] + line.deeds.done["receiver frozen"]
    yield Verdict("came again with its id", again, GROUP_MAX * troubled, "events")
    told = line.rows(f"select event_id from delivery where recipient = '{RECIPIENT}' and outcome = 'confirmed'")
    differ = names.keys() ^ {bytes(name).hex() for (name,) in told}
    yield Verdict.none("workshop, lines and confirmed differ by", differ, "events")


def lost(sent: Sent, path: str, numbers: Mapping[str, Mapping[int, str]], deeds: Deeds) -> list[tuple[str, int, float]]:
    """Readings that the car sent and the recipient has not, unless the agent was killed about then."""
    bound_s = CHECKPOINT_S + DRAIN_S if path == SLOW_PATH else DRAIN_S
    missing = [(path, number, at) for number, at in enumerate(sent[path]) if number not in numbers[path]]
    away = [(killed - bound_s, begun + START_S) for killed, begun in deeds.agent_away]
    return [each for each in missing if not any(first <= each[2] <= last for first, last in away)]


def late(visitor: Heard, deeds: Deeds) -> list[str]:
    """Consents under which something arrived once their withdrawal had returned."""
    return [record for record, at in deeds.withdrawn.items() if visitor.last.get(record, 0.0) > at]


def silent(sent: Sequence[float], visitor: Heard, deeds: Deeds) -> list[tuple[int, float]]:
    """Readings taken while the consent was paused or ended that came all the same, whenever."""
    got = [(number, sent[number]) for number in visitor.numbers[fast_path("can1")]]
    return [each for each in got if any(first < each[1] < last for first, last in deeds.silent)]


def tracebacks(line: Line) -> list[str]:
    """Failures that nobody thought of."""
    logs = {path.name: path.read_text(errors="replace") for path in sorted(line.folder.glob("*.log"))}
    return [name for name, text in logs.items() for each in text.splitlines() if each.startswith("Traceback")]


def _books(line: Line, insurer: Heard, visitor: Heard) -> Iterator[Verdict]:
    """What the store says of deliveries and streams, against what came."""
    books: dict[tuple[str, str], set[str]] = {}
    for recipient, outcome, name in line.rows("select recipient, outcome, event_id from delivery"):
        books.setdefault((recipient, outcome), set()).add(bytes(name).hex())
    told = books.get((INSURER, "confirmed"), set())
    yield Verdict.none("insurer, answered yes and confirmed differ by", told ^ insurer.confirmed, "events")
    told = books.get((VISITOR, "confirmed"), set())
    yield Verdict.none("confirmed by the visitor, never answered yes", told - visitor.confirmed, "events")
    told |= books.get((VISITOR, "unknown"), set())
    yield Verdict.none("visitor, answered yes and in no book", visitor.confirmed - told, "events")
    others = [
        (name, key) for key, names in books.items() if key[0] != VISITOR and key[1] != "confirmed" for name in names
    ]
    yield Verdict.none("not confirmed by workshop and insurer", others, "events")
    streams = line.rows("select watermark from stream")
    facts: dict[str, Any] = line.facts()
    yield Verdict("streams", len(streams), 1, "")
    yield Verdict("watermark behind the last envelope", facts["last_seq"] - max(streams)[0], 0, "envelopes")
    for name in ("held", "named_gap"):
        yield Verdict(f"rows of {name}", line.rows(f"select count(*) from {name}")[0][0], 0, "")


def enough(line: Line, sent: Sent) -> list[Verdict]:
    """A run in which nothing happened proves nothing: what is negative here must be at least so much."""
    got = len(line.hook.heard["/Insurer"].confirmed)
    return [Verdict("readings sent, at least 10", -min(len(sent[fast_path(bus)]) for bus in BUSES), -10, "readings"),
            Verdict("events to the insurer, at least 10", -got, -10, "events")]  # fmt: skip
