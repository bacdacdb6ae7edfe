"""What the owner's tool keeps: on disk before anything leaves, and readable after a power cut at every byte."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from carnet.cli.kept import Kept
from carnet.errors import ConfigError
from tests.consentkit import OTHER_VEHICLE, VEHICLE

CLOUD = "https://carnet.example"


def now_ms() -> int:
    return 1_760_000_000_000


def kept(file: Path, cloud: str = CLOUD, vehicle: str = VEHICLE) -> Kept:
    return Kept(file, cloud, vehicle, now_ms)


def test_the_highest_generation_comes_back(tmp_path: Path) -> None:
    """Per cloud and vehicle; a newer epoch counts before any generation."""
    file = tmp_path / "owner.kept"
    assert kept(file).seen == (0, 0)
    one = kept(file)
    assert [one.saw(1, 3), one.saw(1, 2), one.saw(1, 3), one.saw(1, 7)] == [False, True, False, False]
    assert kept(file).seen == (1, 7)
    assert kept(file).saw(1, 6)
    assert kept(file, vehicle=OTHER_VEHICLE).seen == kept(file, cloud="https://other.example").seen == (0, 0)
    assert not kept(file).saw(2, 1)
    assert kept(file).seen == (2, 1)


def test_what_is_signed_is_kept_in_order_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "owner.kept"
    for token in ("a.b.c", "d.e.f"):
        kept(file).signed(token)
    kept(file).saw(1, 1)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line.get("signed") for line in lines] == ["a.b.c", "d.e.f", None]
    assert {(line["cloud"], line["vehicle"], line["time_ms"]) for line in lines} == {(CLOUD, VEHICLE, now_ms())}
    file.chmod(0o644)
    kept(file).signed("g.h.i")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_is_written_for_what_is_known(tmp_path: Path) -> None:
    file = tmp_path / "owner.kept"
    kept(file).saw(1, 4)
    before = file.read_bytes()
    assert kept(file).saw(1, 4) is False
    assert file.read_bytes() == before


def test_it_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    """The file before the folder that names it."""
    synced: list[tuple[bool, int]] = []

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), os.fstat(descriptor).st_size))

    file = tmp_path / "owner.kept"
    one = Kept(file, CLOUD, VEHICLE, now_ms, fsync)
    one.signed("a.b.c")
    one.signed("d.e.f")
    assert [is_folder for is_folder, _ in synced] == [False, True, False]
    assert synced[-1][1] == file.stat().st_size


def test_a_power_cut_at_any_byte_costs_at_most_the_line_that_was_being_written(tmp_path: Path) -> None:
    """And the line after it stands whole."""
    file = tmp_path / "owner.kept"
    kept(file).saw(1, 3)
    first = file.stat().st_size
    kept(file).saw(1, 4)
    whole = file.read_bytes()
    for size in range(first, len(whole)):
        file.write_bytes(whole[:size])
        after = kept(file)
        # without its newline a whole line is one
        assert after.seen == ((1, 4) if size == len(whole) - 1 else (1, 3))
        assert bool(after.unread) == (first < size < len(whole) - 1)
        kept(file).signed("a.b.c")
        kept(file).saw(1, 5)
        assert kept(file).seen == (1, 5)
        assert json.loads(file.read_bytes().splitlines()[-2])["signed"] == "a.b.c"


@pytest.mark.parametrize(
    "line", [b"\xff", b"[]", b"null", b"{}", b'{"cloud":1}', b"[" * 100_000, b'{"generation":9}'], ids=str
)
def test_a_damaged_line_hides_no_other(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "owner.kept"
    kept(file).saw(1, 3)
    whole = file.read_bytes()
    file.write_bytes(line + b"\n" + whole)
    after = kept(file)
    assert after.seen == (1, 3)
    assert "line 1" in after.unread


def test_what_cannot_be_kept_says_so(tmp_path: Path) -> None:
    """A folder lies where the file should."""
    (tmp_path / "owner.kept").mkdir()
    one = kept(tmp_path / "owner.kept")
    assert "cannot be read" in one.unread
    for write in (lambda: one.signed("a.b.c"), lambda: one.saw(1, 1)):
        with pytest.raises(ConfigError, match="cannot be written"):
            write()
