"""What a process writes into SQLite's files and how often it syncs them, noted by strace between two marks."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = "pwrite64,pwritev,write,fsync,fdatasync,/stat,/access"
BEGIN, END = "bench-begins", "bench-ends"
CALL = re.compile(r"(pwrite64|pwritev|write|fsync|fdatasync)\(\d+<([^>]*)>.* = (\d+)$")


@dataclass(frozen=True, slots=True)
class Traced:
    """By ``log`` (the write-ahead log) and ``database``: bytes and syncs; and what the process printed."""

    written: Counter[str]
    synced: Counter[str]
    output: str


def mark(name: str) -> None:
    """Something that strace sees and that does nothing: `BEGIN`, then `END`."""
    Path(name).exists()


def traced(command: Sequence[str | Path], file: str) -> Traced:
    """Run it; only files whose name holds ``file`` count."""
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name) / "trace"
        words = ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", trace, *command]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        lines = trace.read_text(errors="replace").splitlines()
    start = next(n for n, line in enumerate(lines) if BEGIN in line)
    end = next(n for n, line in enumerate(lines) if END in line)
    return Traced(*_counted(lines[start:end], file), done.stdout)


def _counted(lines: Sequence[str], wanted: str) -> tuple[Counter[str], Counter[str]]:
    written: Counter[str] = Counter()
    synced: Counter[str] = Counter()
    for line in lines:
        found = CALL.search(line)
        if found is None or wanted not in found[2]:
            continue
        file = "log" if found[2].endswith("-wal") else "database"
        if found[1].endswith("sync"):
            synced[file] += 1
        else:
            written[file] += int(found[3])
    return written, synced
