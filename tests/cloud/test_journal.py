"""The journal of narrowings: on disk before anybody is told, whole after a power cut, bound to its store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.journal import Journal, Narrowing

STORE = b"i" * 16
WITHDRAWN = Narrowing("rec_aaaaaaaaaaaaaaaa", "withdraw", "owner", 1_760_000_000_000)


def journal(path: Path, *, new: bool = False, store: bytes = STORE) -> Journal:
    return Journal(path / "j" / "narrowings", store, new_store=new)


def test_a_line_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    """Fsync comes after the write and before the return."""
    synced: list[bytes] = []
    path = tmp_path / "narrowings"
    found = Journal(
        path, STORE, new_store=True, fsync=lambda _: synced.append(path.read_bytes() if path.exists() else b"")
    )
    synced.clear()
    found.append(WITHDRAWN)
    assert b'"withdraw"' in synced[-1]


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    """In order, by the same store."""
    journal(tmp_path, new=True).append(WITHDRAWN)
    again = journal(tmp_path)
    assert again.known
    assert again.narrowings == [WITHDRAWN]


def test_a_torn_last_line_was_never_promised_and_is_cut_off(tmp_path: Path) -> None:
    """A power cut while writing loses that line alone."""
    journal(tmp_path, new=True).append(WITHDRAWN)
    with (tmp_path / "j" / "narrowings").open("ab") as file:
        file.write(b'{"by":"owner","ev')
    again = journal(tmp_path)
    assert again.narrowings == [WITHDRAWN]
    again.append(WITHDRAWN)
    assert len(journal(tmp_path).narrowings) == 2


@pytest.mark.parametrize("half", [b'{"by":"owner","ev', bytes(5000)], ids=["half", "zeros"])
def test_half_a_line_of_another_program_is_cut_off_before_the_next_one(tmp_path: Path, half: bytes) -> None:
    """Its machine lost its power while it wrote; this one goes on, and both lines would be one that nobody can read."""
    here = journal(tmp_path, new=True)
    here.append(WITHDRAWN)
    with (tmp_path / "j" / "narrowings").open("ab") as file:
        file.write(half)
    here.refresh()
    assert here.narrowings == [WITHDRAWN]
    here.append(WITHDRAWN)
    assert here.narrowings == [WITHDRAWN] * 2
    assert journal(tmp_path).narrowings == [WITHDRAWN] * 2


def test_a_missing_journal_of_an_old_store_is_not_known(tmp_path: Path) -> None:
    """Nobody can say what was withdrawn."""
    assert not journal(tmp_path).known


def test_a_journal_of_another_store_is_not_known_but_its_narrowings_stay(tmp_path: Path) -> None:
    """Applying them once more can only silence."""
    journal(tmp_path, new=True, store=b"o" * 16).append(WITHDRAWN)
    found = journal(tmp_path)
    assert not found.known
    assert WITHDRAWN in found.narrowings


def test_a_store_that_has_applied_other_lines_does_not_return(tmp_path: Path) -> None:
    """As many, but of a journal that was lost: what it has narrowed since is not known to be applied."""
    lost, found = journal(tmp_path / "lost", new=True), journal(tmp_path)
    lost.append(replace(WITHDRAWN, record="rec_" + "b" * 16))
    found.adopt()
    found.append(WITHDRAWN)
    found.applied(1)
    found.returned(1, found.digest(1))
    assert not found.pending
    found.returned(1, b"")
    with pytest.raises(UnavailableError):
        found.returned(1, lost.digest(1))
    with pytest.raises(UnavailableError):
        found.returned(2, b"")
    found.returned(0, b"")
    assert found.pending == [WITHDRAWN]


def test_a_broken_line_in_the_middle_stops_the_start(tmp_path: Path) -> None:
    """Fail closed: a journal that cannot be read is not skipped."""
    journal(tmp_path, new=True).append(WITHDRAWN)
    path = tmp_path / "j" / "narrowings"
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    with pytest.raises(ConfigError, match="never delete"):
        journal(tmp_path)


def test_a_journal_that_cannot_be_written_refuses_the_narrowing(tmp_path: Path) -> None:
    """The caller must not report it as done."""
    found = journal(tmp_path, new=True)
    path = tmp_path / "j" / "narrowings"
    path.unlink()
    path.mkdir()
    with pytest.raises(UnavailableError):
        found.append(WITHDRAWN)
