"""What ``carnet owner`` shows of offers, consents and the statement, and what an owner can do without the cloud."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from carnet.cli import main
from carnet.cli.statement import BLOCKED, statement_lines
from carnet.ids import device_text, format_id
from carnet.schema import Schema
from carnet_cloud.enrol import end_unit
from carnet_cloud.gate import Blocked
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, ODOMETER, Cloud, Unit, column, readings


def test_an_item_of_a_category_is_shown_with_its_paths(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]]
) -> None:
    """As far as the cloud's catalogue knows them; one that it does not know has none today."""
    other = format_id("off_", b"offer--two")
    cloud.offers.publish(kit.offer_bytes(id=other, items=[kit.item("driving", "optional"), kit.item("comfort")]))
    lines = owned("offers")[1].splitlines()
    shown = [line.strip() for line in lines[lines.index(f"{other}  Werkstatt Süd") :]]
    at = shown.index("0 optional  everything about driving, every reading, background")
    assert shown[at + 1].startswith("these, as far as the cloud knows today, and what it counts to them later")
    assert shown[at + 2 : at + 5] == sorted([kit.IGNITION, kit.ODOMETER, kit.SPEED])
    assert shown[at + 5] == "1 required  everything about comfort, every reading, background"
    assert "the cloud knows none today" in shown[at + 6]


def test_what_a_cloud_tells_of_a_category_is_shown_only_if_it_is_paths(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offers are shown all the same."""
    for told in (["Vehicle.Speed\x1b[2J"], ["the cabin"]):
        monkeypatch.setattr(cloud.offers, "paths_of", lambda _category, told=told: told)
        code, out, _ = owned("offers")
        assert (code, "the cloud does not say which signals these are" in out) == (0, True)
        assert "cabin" not in out


def test_the_statement_shows_when(cloud: Cloud, owned: Callable[..., tuple[int, str, str]]) -> None:
    """Given, captured, withdrawn; and what nobody can name is said to be that."""
    record = owned("grant", kit.OFFER_ID, "--choose", "1", "--days", "5")[1].split()[0]
    unit = Unit()
    cloud.clock.ms += 60_000
    foreign = Schema((column(kit.ODOMETER, ODOMETER, "km"), column("Vehicle.Cabin.Door", ODOMETER, "", 1)))
    unit.wall_ms, unit.boot_ms = cloud.clock.ms, 3_660_000
    cloud.send(unit.schema(foreign), unit.data(readings(foreign, 3_660_000), records=(record,)))
    (event,) = cloud.events()
    with cloud.store.transaction() as t:
        t.outbox.lease([bytes.fromhex(event["id"])], b"owner", cloud.clock.ms + 400)
        t.outbox.confirm([bytes.fromhex(event["id"])], b"owner", cloud.clock.ms)
    day, minute_later = "2025-10-10 08:53 UTC", "2025-10-10 08:54 UTC"
    assert owned("statement")[1].splitlines() == [
        f"{record}  given       Werkstatt Süd",
        f"  given {day}, lasts until 2025-10-15 08:53 UTC",
        "  confirmed       1 event          4 samples",
        f"            4  {kit.ODOMETER}  captured {minute_later}",
        f"  blocked         4 samples of signals that no mapping of the cloud names: {BLOCKED['schema']}",
    ]
    owned("withdraw", record)
    assert owned("statement")[1].splitlines()[1] == f"  given {day}, withdrawn {minute_later}"


def in_statement(name: str) -> dict[str, Any]:
    """A record under which nothing happened."""
    return {
        "record": name, "state": "given", "recipient_name": "x", "outcomes": {}, "given_ms": 0, "ended_ms": None,
        "expires_ms": 0, "replayed": {"events": 0, "samples": 0}, "on_car": {"receipts": 0},
    }  # fmt: skip


def test_what_was_blocked_stands_at_its_own_record() -> None:
    names = ["rec_one", "rec_two", "rec_three"]
    blocked = [{"record": name, "path": name, "reason": "time", "samples": 3} for name in names[:2]]
    lines = list(statement_lines({"records": list(map(in_statement, names)), "blocked": blocked[::-1], "units": []}))
    assert [word for line in lines for word in line.replace(":", " ").split() if word.startswith("rec_")] == [
        "rec_one", "rec_one", "rec_two", "rec_two", "rec_three",
    ]  # fmt: skip


def test_every_reason_of_the_gate_is_told_to_the_owner_in_words() -> None:
    """And one that a newer cloud may have is told as it is."""
    for reason in [*map(str, Blocked), "moonlight"]:
        block = {"record": kit.RECORD_ID, "path": "Vehicle.Speed", "reason": reason, "samples": 1}
        *_, line = statement_lines({"records": [in_statement(kit.RECORD_ID)], "blocked": [block], "units": []})
        words = line.removeprefix("  blocked         1 sample of Vehicle.Speed: ")
        assert (words == reason) == (reason == "moonlight"), line


def test_what_was_blocked_of_a_record_that_is_not_shown_is_not_lost() -> None:
    block = {"record": kit.RECORD_ID, "path": "", "reason": "owner", "samples": 2}
    *_, line = statement_lines({"records": [], "blocked": [block], "units": []})
    assert line.startswith(f"blocked under {kit.RECORD_ID}:      2 samples of signals")


def test_the_list_says_when_a_consent_has_ended(cloud: Cloud, owned: Callable[..., tuple[int, str, str]]) -> None:
    """Not until when it would have lasted."""
    gone, over, alive = (owned("grant", kit.OFFER_ID, "--days", days)[1].split()[0] for days in ("300", "1", "9"))
    cloud.clock.ms += 60_000
    owned("withdraw", gone)
    cloud.clock.ms += kit.DAY_MS
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in owned("list")[1].splitlines()}
    assert lines == {
        gone: "withdrawn   ended 2025-10-10 08:54 UTC  Werkstatt Süd",
        over: "expired     ended 2025-10-11 08:53 UTC  Werkstatt Süd",
        alive: "given       until 2025-10-19 08:53 UTC  Werkstatt Süd",
    }


def test_the_statement_names_a_unit_that_has_ended(cloud: Cloud, owned: Callable[..., tuple[int, str, str]]) -> None:
    assert owned("statement")[1] == "no consents yet\n"
    end_unit(cloud.store, device_text(DEVICE), cloud.clock.ms)
    assert f"{device_text(DEVICE)}: ended since 2025-10-10 08:53 UTC, nothing of it is taken" in owned("statement")[1]


# what an owner can do without the cloud


@pytest.mark.parametrize("command", ["withdraw", "pause", "resume", "list"])
@pytest.mark.parametrize("fails", ["at once", "at the event"])
def test_a_narrowing_that_does_not_reach_the_cloud_says_what_stops_the_car(
    cloud: Cloud,
    owned: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    fails: str,
) -> None:
    """And only a narrowing does: for everything else there is nothing to hurry."""
    record = owned("grant", kit.OFFER_ID)[1].split()[0]
    if command == "resume":
        owned("pause", record)
    ask = urllib.request.urlopen

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        if fails == "at once" or request.full_url.endswith("/v1/events"):
            raise ConnectionRefusedError
        return cast("io.BytesIO", ask(request, timeout=timeout))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    code, out, err = owned(command, *[record][: command != "list"])
    if command == "list" and fails == "at the event":
        assert code == 0
        return
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "does not answer" in err
    assert ("`carnet-agent mode off` stops all sharing at once" in err) == (command in ("withdraw", "pause"))


def test_a_refusal_is_no_reason_to_hurry(owned: Callable[..., tuple[int, str, str]]) -> None:
    assert "mode off" not in owned("withdraw", "rec_" + "a" * 16)[2]


def test_a_second_key_is_added_signs_and_is_removed_with_what_it_gave(
    owned: Callable[..., tuple[int, str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the key that the unit was paired with decides."""
    assert main(["owner", "keygen", "--out", str(tmp_path / "phone")]) == 0
    phone = ["--vehicle", kit.VEHICLE, "--key", str(tmp_path / "phone")]
    public = str(tmp_path / "phone" / "owner.public.json")
    assert main(["owner", "grant", kit.OFFER_ID, *phone]) == 1
    capsys.readouterr()
    name = owned("keys", "--add", public)[1].split()[0]
    assert main(["owner", "grant", kit.OFFER_ID, *phone]) == 0
    record = capsys.readouterr().out.split()[0]
    assert main(["owner", "keys", "--add", public, *phone]) == 2
    assert "paired with" in capsys.readouterr().err
    listed = [line.split()[:2] for line in owned("keys")[1].splitlines()]
    assert listed[1:] == [[name, "added"]]
    assert listed[0][1] == "pinned"
    assert owned("keys", "--remove", name)[1] == f"{name}  removed; with it ended and is silent: {record}\n"
    assert owned("keys", "--remove", name)[1] == f"{name}  removed; with it ended and is silent: no consent\n"
    assert main(["owner", "list", *phone]) == 1
    assert [line.split()[1] for line in owned("keys")[1].splitlines()] == ["pinned", "removed"]
    assert f"{record}  revoked" in owned("list")[1]


def test_a_thumbprint_may_begin_with_a_dash(owned: Callable[..., tuple[int, str, str]]) -> None:
    """One in 64 does, and it is no option."""
    code, out, err = owned("keys", "--remove", "-" + "a" * 42)
    assert (code, out, "this vehicle has no key -aaa" in err) == (1, "", True)


def test_a_key_that_is_none_changes_nothing(owned: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    assert owned("keys", "--add", str(tmp_path / "none.json"))[:2] == (2, "")
    assert owned("keys", "--add", str(tmp_path / "absent.json"))[:2] == (2, "")
    code, out, err = owned("keys", "--remove", "a" * 43)
    assert (code, out) == (1, "")
    assert "carnet owner keys" in err
    assert len(owned("keys")[1].splitlines()) == 1
