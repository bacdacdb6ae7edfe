"""A cloud from a copy of its store, on this machine and on another one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.restoring import Drill, Files, Keeping, forwarded, outcomes, stated


@pytest.fixture
def keeping() -> Keeping:
    return Files()


@pytest.fixture
def drill(tmp_path: Path, keeping: Keeping) -> Drill:
    made = Drill(tmp_path, keeping)
    assert made.stands == [2, 1, 1]
    return made


def test_f27_another_machine_forwards_nothing_until_unit_and_owner_have_been_heard(drill: Drill) -> None:
    """It has neither journal nor wrapping keys, as it must not."""
    folder = drill.folder / "away"
    Wrapping(folder / "wrapping", random.Random(9).randbytes)
    away = drill.restored(folder)
    # statement and outbox are there at once, as of the backup
    assert outcomes(away) == {kit.RECORD_ID: ["confirmed", "queued"], kit.OTHER_RECORD_ID: ["confirmed"]}
    assert {name: entry["state"] for name, entry in stated(away).items()} == {
        kit.RECORD_ID: "given",
        kit.OTHER_RECORD_ID: "given",
    }
    assert away.counters()["journal_missing"] == 1
    assert forwarded(away) == []
    # an owner who is quicker than the unit: what the unit has seen silences it again
    away.consents.confirm(kit.RECORD_ID)
    drill.unit_tells_what_it_has_seen(away)
    assert away.counters()["behind_floor"] == 1
    away.send(drill.unit.data())
    assert forwarded(away) == []
    assert away.counters()["blocked_unconfirmed"] > 0, "what comes meanwhile is denied, not kept for later"
    away.consents.confirm(kit.RECORD_ID)
    away.send(drill.later)
    # what waited was sealed under a key that stayed at home; what the unit sends again has the id that it had
    assert forwarded(away) == drill.third
    assert away.counters()["outbox_key_gone"] == 1
    assert sorted(outcomes(away)[kit.RECORD_ID]) == ["confirmed", "confirmed", "destroyed"]
    # the withdrawal is not known here; nobody confirmed the record, so it stays silent
    away.send(drill.unit.data(records=(kit.OTHER_RECORD_ID,)))
    assert forwarded(away) == []
    away.store.close()


def test_f27_this_machine_ends_again_what_was_withdrawn_and_sends_what_waited(drill: Drill) -> None:
    """The disk of the store was lost; journal and wrapping keys lie on another one."""
    home = drill.folder / "home"
    drill.keeping.lose(home)
    again = drill.restored(home)
    assert {name: entry["state"] for name, entry in stated(again).items()} == {
        kit.RECORD_ID: "given",
        kit.OTHER_RECORD_ID: "revoked",
    }
    assert again.counters()["journal_applied"] == 1
    assert forwarded(again) == drill.second, "under the id that the recipient knows"
    # ending it again has brought the store to what the unit has seen: nobody has to confirm anything
    drill.unit_tells_what_it_has_seen(again)
    assert "behind_floor" not in again.counters()
    again.send(drill.later)
    assert forwarded(again) == drill.third
    again.consents.confirm(kit.OTHER_RECORD_ID)
    again.send(drill.unit.data(records=(kit.OTHER_RECORD_ID,)))
    assert forwarded(again) == []
    assert outcomes(again) == {kit.RECORD_ID: ["confirmed"] * 3, kit.OTHER_RECORD_ID: ["confirmed"]}
    again.store.close()
