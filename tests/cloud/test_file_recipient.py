"""A file: whole lines, each once and on the disk before it is confirmed, whoever else appends to it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carnet.errors import UnavailableError
from carnet_cloud.lease import LEASE_MS
from carnet_cloud.recipients import JsonLines, Outcome
from carnet_cloud.recipients.base import GROUP_MAX
from tests.cloud.recipientkit import NOW_S, deliver, event, lease

# of one receiver


def test_the_lines_of_a_group_are_confirmed_by_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by nothing before it."""
    synced: list[int] = []
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr("os.fsync", lambda _: synced.append(len(path.read_bytes().splitlines())))
    with contextlib.closing(JsonLines(path)) as file:
        assert {file.send(event(n), lease(), NOW_S) for n in range(5)} == {Outcome.WRITTEN}
        assert synced == []
        assert file.finish() is Outcome.CONFIRMED
    assert synced == [5]


def test_a_torn_last_line_is_cut_and_no_whole_line_of_a_group_is_written_twice(tmp_path: Path) -> None:
    """After a crash in the middle of a group the file holds whole events, each once."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as first:
        for n in range(GROUP_MAX):
            first.send(event(n), lease(), NOW_S)
    with path.open("ab") as file:
        file.write(b'{"id":"half')
    with contextlib.closing(JsonLines(path)) as second:
        for n in range(GROUP_MAX + 1):
            assert deliver(second, event(n)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(n).body for n in range(GROUP_MAX + 1)]


def test_a_group_that_cannot_be_synced_leaves_nothing_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that were confirmed before stay."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        deliver(file, event(1))
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", _fail)
            assert [file.send(event(n), lease(), NOW_S) for n in (2, 3)] == [Outcome.WRITTEN] * 2
            assert file.finish() is Outcome.RETRY
        assert path.read_bytes().splitlines() == [event(1).body]
        assert [deliver(file, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(n).body for n in (1, 2, 3)]


def _fail(_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only a part is no write."""
    path = tmp_path / "events.jsonl"
    write = os.write
    with contextlib.closing(JsonLines(path)) as file:
        with monkeypatch.context() as patch:
            patch.setattr("os.write", lambda fd, data: write(fd, data[:7]))
            assert deliver(file, event(1)) is Outcome.RETRY
        assert deliver(file, event(2)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(2).body]


def test_a_store_that_fails_in_the_middle_of_a_line_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The lease could not be renewed: nobody may go on, and the next line begins a line."""
    path = tmp_path / "events.jsonl"

    def fail() -> bool:
        raise UnavailableError("store_unavailable", "full")

    with contextlib.closing(JsonLines(path)) as file:
        with pytest.raises(UnavailableError):
            file.send(event(1, 60_000), lease(step_ms=LEASE_MS / 4 + 1, renew=fail), NOW_S)
        assert deliver(file, event(2)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(2).body]


# of several receivers


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[JsonLines, JsonLines, Callable[[], list[bytes]]]]:
    """Adapters of two receivers on one file, and what is in it."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as one, contextlib.closing(JsonLines(path)) as other:
        yield one, other, lambda: path.read_bytes().splitlines()


def test_a_lease_that_ends_takes_no_line_of_another_receiver_with_it(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]],
) -> None:
    """What the other one confirmed meanwhile stays. Nobody waits for the file longer than his lease lasts."""
    one, other, lines = two
    outcomes: dict[int, Outcome] = {}

    def ends() -> bool:
        outcomes[2] = deliver(other, event(2), lease(step_ms=LEASE_MS / 4, renew=lambda: False))
        return False

    outcomes[1] = one.send(event(1, 20_000), lease(step_ms=LEASE_MS / 2 + 1, renew=ends), NOW_S)
    assert outcomes[1] is Outcome.CUT
    confirmed = [event(n).body for n, outcome in outcomes.items() if outcome is Outcome.CONFIRMED]
    assert lines() == confirmed
    assert deliver(other, event(3)) is Outcome.CONFIRMED
    assert lines() == [*confirmed, event(3).body]


def test_a_group_that_cannot_be_synced_leaves_the_lines_of_another_receiver(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, lines = two
    assert [deliver(one, event(1)), deliver(other, event(2))] == [Outcome.CONFIRMED] * 2
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _fail)
        assert deliver(one, event(3)) is Outcome.RETRY
    assert lines() == [event(1).body, event(2).body]


def test_a_group_is_ended_before_another_receiver_writes(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]],
) -> None:
    one, other, _ = two
    assert one.send(event(1), lease(), NOW_S) is Outcome.WRITTEN
    assert other.send(event(2), lease(step_ms=LEASE_MS / 4, renew=lambda: False), NOW_S) is Outcome.CUT
    assert one.finish() is Outcome.CONFIRMED
    assert deliver(other, event(2)) is Outcome.CONFIRMED


def test_what_a_killed_receiver_left_is_mended_by_the_next_one_and_not_written_again(tmp_path: Path) -> None:
    """Half a line is not glued to the next one, and a whole one is the event, whoever wrote it."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as living:
        deliver(living, event(1))
        with contextlib.closing(JsonLines(path)) as killed:
            killed.send(event(2), lease(), NOW_S)
        with path.open("ab") as file:
            file.write(event(3).body[:9])
        assert [deliver(living, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(n).body for n in (1, 2, 3)]


def test_no_more_is_read_than_what_others_have_written(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the file is: each receiver does it before each of its groups."""
    one, other, lines = two
    pread, sizes = os.pread, list[int]()

    def read(fd: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return pread(fd, size, start)

    monkeypatch.setattr("os.pread", read)
    for each in (event(1, 50_000), event(2), event(3)):
        assert deliver(one, each) is Outcome.CONFIRMED
    assert deliver(other, event(4)) is Outcome.CONFIRMED
    assert deliver(one, event(5)) is Outcome.CONFIRMED
    first, second, third, fourth, _ = [len(line) + 1 for line in lines()]
    assert sizes == [0, 0, 0, first + second + third, fourth]


def test_a_file_that_somebody_has_cut_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        deliver(file, event(1, 1000))
        path.write_bytes(event(2).body + b'\n{"id":"half')
        assert [deliver(file, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(2).body, event(3).body]


def test_two_receivers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    """In two threads, with leases that end in the middle of a line, until each has sent all of its own."""
    path = tmp_path / "events.jsonl"

    def send(first: int) -> None:
        with contextlib.closing(JsonLines(path)) as file:
            for number in range(first, 200, 2):
                each = event(number, 40_000)
                answers = iter([True, False])
                ending = lease(step_ms=LEASE_MS / 2 + 1, renew=lambda answers=answers: next(answers, False))  # type: ignore[misc]
                assert file.send(each, ending, NOW_S) is Outcome.CUT
                assert deliver(file, each) is Outcome.CONFIRMED

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes().splitlines()) == sorted(event(n, 40_000).body for n in range(200))
