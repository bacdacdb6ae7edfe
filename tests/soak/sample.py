"""What the programs of a line hold at a moment: memory, threads, descriptors, and bytes on the disk.

Law: read from /proc and from the disk, never from what a program says of itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soak.line import Line

TABLES: Final = (
    "select relname, pg_total_relation_size(oid) from pg_class"
    " where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname"
)
WAL: Final = "select coalesce(sum(size), 0)::bigint from pg_ls_waldir()"


@dataclass(frozen=True, slots=True)
class Program:
    """``pid`` tells one life from the next; 0: several processes, counted together.

    ``pss_kb`` is all that it keeps in memory, with its share of what it has in common with others. ``own_kb`` is that
    without what lies in files as well: it does not change when another program with the same libraries begins or ends.
    """

    pid: int
    pss_kb: int
    own_kb: int
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Sample:
    """``files``: path below the line's folder -> bytes. ``store``: table -> bytes, and ``wal``."""

    at_s: float
    programs: Mapping[str, Program]
    files: Mapping[str, int] = field(default_factory=dict)
    store: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Sample:
        """Of a line that `as_row` made."""
        programs = {name: Program(**each) for name, each in row["programs"].items()}
        return cls(row["at_s"], programs, row["files"], row["store"])

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def take(line: Line, at_s: float, *, store: bool) -> Sample:
    """Whoever is dead at the moment is left out. ``store``: look at the database, too."""
    pids = {name: program.pid for name, program in line.programs.items()}
    with contextlib.suppress(AssertionError):
        pids["broker"] = line.broker.pid
    programs = {name: found for name, pid in pids.items() if (found := program(pid)) is not None}
    servers = [found for pid in line.database.pids() if (found := program(pid)) is not None]
    sums = (sum(each) for each in zip(*map(_figures, servers), strict=True))
    programs["database"] = Program(0, *sums)
    return Sample(at_s, programs, sizes(line.folder), tables(line) if store else {})


def program(pid: int) -> Program | None:
    """None for one that has ended meanwhile."""
    folder = Path("/proc") / str(pid)
    try:
        pss, own = (_field(folder / "smaps_rollup", name) for name in ("Pss:", "Anonymous:"))
        threads = _field(folder / "status", "Threads:")
        return Program(pid, pss, own, threads, len(list((folder / "fd").iterdir())))
    except (OSError, StopIteration):
        return None


def sizes(folder: Path) -> dict[str, int]:
    """Every file below it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file():
                found[str(path.relative_to(folder))] = path.stat().st_size
    return found


def tables(line: Line) -> dict[str, int]:
    """The store's tables with their indexes, and the server's write-ahead log."""
    return {**{str(name): int(size) for name, size in line.rows(TABLES)}, "wal": int(line.rows(WAL)[0][0])}


def _figures(program: Program) -> tuple[int, ...]:
    return program.pss_kb, program.own_kb, program.threads, program.descriptors


def _field(path: Path, name: str) -> int:
    return int(next(row for row in path.read_text().splitlines() if row.startswith(name)).split()[1])
