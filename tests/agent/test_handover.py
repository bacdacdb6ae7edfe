"""A car changes hands in one rename: whatever a crash cuts off, the unit is the old owner's with all that was his, or
the new one's with nothing of it.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from carnet_agent import handover
from carnet_agent.__main__ import main
from carnet_agent.handover import finish
from carnet_agent.identity import read_identity
from carnet_agent.pairing import Pairing, pair
from tests.agent.effects import EFFECTS, Cut
from tests.agent.units import CLOUD, OWNER, make_unit

ASKED = Pairing(OWNER.public, CLOUD)
SOLD = Pairing(OWNER.public, CLOUD, renew=True)
LEFT = {
    "buffer.db": b"rows" * 9,
    "buffer.db-wal": b"log",
    "buffer.db.quarantine.1": b"damaged",
    "consent.db": b"floors and mode",
    "consent.db-wal": b"log",
    "consent.db.damaged": b"old",
}
"""What an owner leaves."""


def paired(state: Path) -> random.Random:
    """A unit of the first owner, with all that he leaves."""
    source = random.Random(3)
    pair(state, ASKED, source.randbytes)
    for name, data in LEFT.items():
        (state / name).write_bytes(data)
    return source


def sell_up_to_the_wipe(state: Path) -> None:
    """The rename is done, and then the power goes."""
    source = paired(state)

    def cut(_: Path) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "wipe", cut)
        with pytest.raises(Cut):
            pair(state, SOLD, source.randbytes)


def left_in(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.iterdir() if path.name.startswith(("buffer", "consent"))}


def test_a_crash_at_any_effect_leaves_the_old_tenure_whole_or_the_new_one_with_nothing_of_it(tmp_path: Path) -> None:
    """Also the floors: an old owner's unit that forgot them could be given back what he has withdrawn."""
    seen = set()
    for number in range(100):
        state = tmp_path / str(number)
        source = paired(state)
        before = read_identity(state)
        try:
            with EFFECTS.cut_before(number):
                pair(state, SOLD, source.randbytes)
        except Cut:
            cut = True
        else:
            cut = False
        wiped = finish(state)
        after = read_identity(state)
        if after == before:
            assert left_in(state) == LEFT
            assert not wiped
        else:
            assert (after.owner.vehicle, after.owner.epoch) == (before.owner.vehicle, 2)
            assert left_in(state) == {}
        assert sum(path.name.startswith("identity-") for path in state.iterdir()) == 1
        seen.add((after == before, wiped))
        if not cut:
            break
    else:
        pytest.fail("there is no end of effects")
    assert seen == {(True, False), (False, True), (False, False)}


def test_a_wipe_that_is_cut_short_is_carried_out_by_the_next_start(tmp_path: Path) -> None:
    """As often as it takes."""
    state = tmp_path / "state"
    sell_up_to_the_wipe(state)
    assert read_identity(state).owner.epoch == 2
    for number in range(4):
        assert left_in(state)
        with EFFECTS.cut_before(number), pytest.raises(Cut):
            finish(state)
    assert finish(state)
    assert left_in(state) == {}
    assert not finish(state)


def test_what_is_wiped_is_overwritten_before_it_is_unlinked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handles name records in the clear: free blocks keep what is only unlinked."""
    paired(tmp_path / "state")
    seen: dict[str, bytes] = {}
    unlink = Path.unlink

    def looked_at(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "state" and path.is_file():
            seen[path.name] = path.read_bytes()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", looked_at)
    handover.wipe(tmp_path / "state")
    assert {name: seen[name] for name in LEFT} == {name: bytes(len(data)) for name, data in LEFT.items()}


def test_run_carries_the_order_out_before_it_opens_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = make_unit(tmp_path)
    sell_up_to_the_wipe(unit.state)
    found: list[dict[str, bytes]] = []

    def stopped(*_: object) -> None:
        found.append(left_in(unit.state))
        raise Cut

    monkeypatch.setattr("carnet_agent.commands.run.make_agent", stopped)
    with pytest.raises(Cut):
        main(["run", "--config", str(unit.config)])
    assert found == [{}]
    assert "owner" in capsys.readouterr().err
