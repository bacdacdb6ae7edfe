"""A broken seed is told as the smallest world that still breaks the same law, and its command has that world again."""

from __future__ import annotations

import pytest

from tests.world.__main__ import main
from tests.world.bugs import BUGS
from tests.world.plan import DRIVE_MS
from tests.world.shrink import Life, Shrinker, kind_of, live

(BUG,) = (bug for bug in BUGS if bug.name == "outbox_unsealed")


def same(life: Life) -> Life:
    return live(life.seed, life.without, life.drive_ms)


def test_of_a_broken_world_remains_what_breaks_it_and_nothing_else() -> None:
    with BUG.put_in():
        broken = live(0)
        smallest = Shrinker(broken).shrink()
        assert same(smallest) == smallest
        assert kind_of(smallest.complaint) == kind_of(broken.complaint)
        assert smallest.drive_ms < DRIVE_MS
        assert len(smallest.entries) < len(broken.entries)
        for entry in smallest.entries:
            fewer = live(0, smallest.without | {entry.number}, smallest.drive_ms)
            assert kind_of(fewer.complaint) != kind_of(smallest.complaint)
    assert not same(smallest).complaint


def test_the_command_of_a_broken_seed_prints_the_smaller_world(capsys: pytest.CaptureFixture[str]) -> None:
    with BUG.put_in():
        assert main(["0"]) == 1
    told = capsys.readouterr().out
    assert "seed 0 FAILED: PYTHONHASHSEED=0 .venv/bin/python -m tests.world 0\n" in told
    assert "again: PYTHONHASHSEED=0 .venv/bin/python -m tests.world 0 --without " in told


def test_a_number_means_the_same_mischief_whatever_is_left_out() -> None:
    whole, part = live(5), live(5, frozenset({0, 3, 9}), 60_000)
    kept = [entry for entry in whole.entries if entry.number not in {0, 3, 9} and entry.at_ms <= 60_000]
    assert list(part.entries) == kept


def test_names_and_numbers_tell_no_two_laws_apart() -> None:
    one = "Broken: law 5: 73 samples of rec_2hj7wxkpcn7iz6xb are gone, only 0 named"
    other = "Broken: law 5: 2 samples of rec_aaaaaaaaaaaaaaaa are gone, only 14 named"
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) != kind_of("Broken: law 3: the unit's generation fell")
