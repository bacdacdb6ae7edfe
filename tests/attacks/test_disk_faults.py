"""A disk that lies about what it wrote, breaks, or turns read-only under a running unit."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from carnet.envelopetype import EnvelopeType
from carnet.errors import UnavailableError
from carnet_agent.buffer import open_buffer
from carnet_agent.buffer.tables import configure as configure_buffer
from carnet_agent.consent.store import configure as configure_consents
from carnet_agent.effects import Effect, Note
from tests import consentkit as kit
from tests.agent.agentkit import BUFFER_BYTES, Rig, answer, grants
from tests.agent.linekit import World
from tests.agent.test_buffer import DEVICE, KEY, add, sent
from tests.cloud.kit import NOW_MS
from tests.conftest import CHECKOUT
from tests.lacking import lacking

# a lie


@pytest.mark.parametrize("forgotten", [1, 2, 3, 5, 9])
def test_f2_a_disk_that_forgets_what_it_synced_is_noticed_and_nobody_is_called_a_clone(
    tmp_path: Path, forgotten: int
) -> None:
    """Numbers that the cloud has are not used again, the loss is counted, and what comes later arrives."""
    both = World(tmp_path)
    both.connect()
    both.give()
    images = []
    for _ in range(10):
        both.drive(21)
        images.append(both.rig.buffer_db.serialize())
    both.drive(9)
    taken, told = len(both.cloud.events()), both.rig.agent._buffer.last_seq
    both.rig.buffer_db.deserialize(images[-forgotten])
    known = both.rig.agent._buffer.last_seq
    both.rig.start()
    both.connect(False)
    both.drive(30)
    both.connect()
    both.drive(70)
    assert both.rig.count("rolled_back") == (known < told)
    assert both.cloud.counters().get("quarantined_clone", 0) == 0
    assert len(both.cloud.events()) > taken
    times = both.samples()[kit.SPEED]
    assert len(times) == len(set(times)), "nothing came twice"
    assert both.rig.count("rows_waiting") == 0


# errors


@contextmanager
def broken() -> Iterator[None]:
    """Every write of this process fails with an error of the disk, told to SQLite by the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def empty_logs(rig: Rig) -> None:
    for db in (rig.buffer_db, rig.consent_db):
        db.execute("pragma wal_checkpoint(truncate)").fetchone()


@contextmanager
def broken_under(rig: Rig) -> Iterator[None]:
    empty_logs(rig)
    with broken():
        yield


@contextmanager
def read_only_under(rig: Rig) -> Iterator[None]:
    for value in ("on", "off"):
        for db in (rig.buffer_db, rig.consent_db):
            db.execute(f"pragma query_only={value}")
        if value == "on":
            yield


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """With its databases in files, a grant, and rows that wait."""
    rig = Rig(NOW_MS)
    rig.buffer_db = sqlite3.connect(tmp_path / "buffer.db")
    rig.consent_db = sqlite3.connect(tmp_path / "consent.db")
    configure_buffer(rig.buffer_db, BUFFER_BYTES)
    configure_consents(rig.consent_db)
    rig.start()
    rig.grant(grants())
    rig.pass_time(61_000)
    return rig


AWAY_MS = 200_000
FAULTS = [
    pytest.param(broken_under, id="f4 error"),
    pytest.param(read_only_under, id="f5 read-only"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_f4_f5_a_disk_that_takes_nothing_costs_what_is_counted_and_nothing_else(
    rig: Rig, fault: Callable[[Rig], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there is sent all the same, every sample that is lost is counted, and afterwards all is as before."""
    monkeypatch.setattr("carnet_agent.core.FLOOR_MS", 30_000)
    rig.synchronised = True
    rig.pass_time(1_000)
    kept = rig.count("samples_waiting")
    rig.do(rig.agent.flush("asked", rig.moment()))
    before = rig.count("samples_waiting")
    assert before > kept
    with fault(rig):
        rig.connect()
        (check_in,) = rig.take()
        rig.hear(answer(check_in, server_ms=rig.wall_ms))
        sent = [each for each in rig.envelopes() if each.header.type is EnvelopeType.DATA]
        rig.pass_time(AWAY_MS, step_ms=5_000)
        rig.do(rig.agent.flush("asked", rig.moment()))
    assert sent, "what was written before can be read and sent"
    # a speed a second and the odometer every fifth
    collected = AWAY_MS // 1000 + AWAY_MS // 5000
    assert rig.count("samples_lost_disk") == pytest.approx(collected, abs=4)
    assert rig.count("floors_disk") > 0
    assert rig.count("samples_waiting") == before
    rig.pass_time(10_000)
    rig.do(rig.agent.flush("asked", rig.moment()))
    assert rig.count("samples_lost_disk") == pytest.approx(collected, abs=4)
    assert rig.count("samples_waiting") > before


class Crowded(sqlite3.Connection):
    """A database on a disk on which another program has taken the last block."""

    is_full = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self.is_full and sql == "commit":
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode, full.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise full
        return super().execute(sql, *arguments)


def test_f3_a_disk_that_others_have_filled_costs_what_is_counted(rig: Rig) -> None:
    """Nobody can make room, neither for rows nor for the handle of a record that has none yet."""
    crowded = [Crowded(":memory:"), Crowded(":memory:")]
    rig.buffer_db, rig.consent_db = crowded
    configure_buffer(crowded[0], BUFFER_BYTES)
    configure_consents(crowded[1])
    rig.start()
    rig.grant(grants())
    rig.synchronised = True
    rig.pass_time(1_000)
    for each in crowded:
        each.is_full = True
    rig.connect()
    rig.pass_time(61_000)
    rig.grant(grants(2, "pause"))
    rig.do(rig.agent.flush("asked", rig.moment()))
    lost = rig.count("samples_lost_disk") + rig.count("samples_lost_full")
    assert lost == pytest.approx(61 + 12, abs=4)
    assert rig.count("down_disk_failed") == 1, "the grant set comes again"
    for each in crowded:
        each.is_full = False
    rig.pass_time(5_000)
    rig.do(rig.agent.flush("asked", rig.moment()))
    assert rig.count("samples_waiting") > 0


def test_f4_a_disk_that_breaks_is_said_once(rig: Rig) -> None:
    with broken_under(rig):
        said = [each.text for _ in range(200) for each in stepped(rig) if isinstance(each, Note)]
    assert said == ["the disk takes nothing: what is collected now is lost and counted as samples lost disk"]


def stepped(rig: Rig) -> Sequence[Effect]:
    rig.boot_ms += 1000
    return [*rig.agent.on_frames(rig._frames(), rig.moment()), *rig.agent.on_tick(rig.moment())]


def test_f4_a_disk_that_breaks_at_the_start_costs_no_row_that_is_on_it(tmp_path: Path) -> None:
    """An error is no damage: an intact buffer is not put aside for it, and is read at the next start."""
    path, source = tmp_path / "buffer.db", random.Random(1).randbytes
    opened = open_buffer(path, DEVICE, KEY, source, BUFFER_BYTES)
    add(opened.buffer, 3)
    opened.buffer._db.close()
    with broken(), pytest.raises(UnavailableError, match="cannot be written"):
        open_buffer(path, DEVICE, KEY, source, BUFFER_BYTES)
    again = open_buffer(path, DEVICE, KEY, source, BUFFER_BYTES)
    assert (again.quarantined, [row.seq for row in sent(again.buffer)]) == (False, [1, 2, 3])


START = """
import random, subprocess, sys
from pathlib import Path
from typing import Any
from carnet.errors import UnavailableError
from carnet_agent.buffer import open_buffer
from carnet_agent.consent.file import open_consents
from tests import consentkit as kit
from tests.agent.test_buffer import DEVICE, KEY, add

folder, source = Path(sys.argv[1]), random.Random(1).randbytes
subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)

def start():
    consents, _ = open_consents(folder / "consent.db", kit.OWNER, source)
    return consents, open_buffer(folder / "buffer.db", DEVICE, KEY, source, 1 << 20).buffer

consents, buffer = start()
add(buffer, 3)
buffer._db.close()
consents._db.close()
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
for name in ("consent.db", "buffer.db"):
    try:
        open_consents(folder / name, kit.OWNER, source) if name == "consent.db" else open_buffer(
            folder / name, DEVICE, KEY, source, 1 << 20
        )
    except UnavailableError as error:
        print(error.reason)
subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
print(start()[1].counts()["rows_waiting"], sorted(path.name for path in folder.iterdir() if "db-" not in path.name))
"""


def test_f5_a_start_on_a_read_only_disk_is_refused_in_words_and_changes_nothing(tmp_path: Path) -> None:
    """With a real mount, which needs a name space of its own."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", tmp_path], check=False, capture_output=True).returncode:
        lacking("this machine gives nobody a mount of his own: it forbids user namespaces")
    done = subprocess.run(
        [*alone, sys.executable, "-c", START, tmp_path], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "consents_unwritable",
        "buffer_unwritable",
        "3 ['buffer.db', 'consent.db']",
    ], done.stderr
