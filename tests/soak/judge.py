"""Whether anything grew that must not: memory, threads, descriptors, files, tables of the store.

Law: pure; what is judged is a list of samples, so that a recorded run can be judged again. A leak is what stays: the
median of a part of a life counts, since a fault may hold something or take it away for a while; of memory only what is
the process's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from statistics import median
from typing import Final

from tests.soak.sample import Program, Sample

MEMORY_KB_PER_HOUR_MAX: Final = 2048
MEMORY_LIFE_S_MIN: Final = 1200.0
"""In shorter lives warming up cannot be told from a leak."""
HANDLES_MORE_MAX: Final = 1
"""A connection to a recipient may happen to be open."""
SAMPLES_MIN: Final = 16
"""Of a life that is judged: an eighth of it must hold some."""
OURS: Final = ("agent", "cloud", "cloud-2", "car")
"""Whose memory is judged: the broker's and the database's are theirs."""
MEGABYTE: Final = 1 << 20
EXAMPLES: Final = 5
FILES: Final = {
    "agent/buffer.db": 256 * MEGABYTE,
    "agent/*.db-wal": 16 * MEGABYTE,
    "agent/*.db": MEGABYTE,
    "*.log": MEGABYTE,
    "kept/*": 16 * MEGABYTE,
    "forgotten/*": MEGABYTE,
    "journal/narrowings": MEGABYTE,
    "owner/owner.kept": MEGABYTE,
    "workshop/events.jsonl": 1 << 40,
    "*": MEGABYTE,
}
"""What a file may have at most, by the first name that fits. The buffer's is its setting; the recipient's file is the
recipient's; what keeps a line for each change of an owner's mind has few of them.
"""
BY_EVENT: Final = ("outbox", "delivery")
"""Tables that keep what was forwarded for ever: an id must never come again, and the owner's statement adds up."""
REPLAY_BYTES_MAX: Final = 4 * MEGABYTE
"""Of the hashes of the last 4,096 envelopes of a stream, some dead rows included."""
TABLE_BYTES_MAX: Final = MEGABYTE
EVENT_BYTES_MAX: Final = 2048
"""Of both tables with all their indexes, for each event."""
EVENTS_MIN: Final = 1000
"""With fewer the pages that tables begin with are most of it."""
WAL_BYTES_MAX: Final = 1 << 30
"""PostgreSQL's own setting, max_wal_size."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``bound`` is what is allowed; ``examples`` are a few of those that are too many."""

    what: str
    figure: float
    bound: float
    unit: str
    examples: Sequence[str] = ()

    @classmethod
    def none(cls, what: str, found: Collection[object], unit: str) -> Verdict:
        """None of these may be."""
        return cls(what, len(found), 0, unit, [str(each) for each in islice(found, EXAMPLES)])

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound


@dataclass(frozen=True, slots=True)
class Life:
    """One process from its first sample to its last; ``number`` from 1."""

    name: str
    number: int
    at_s: Sequence[float]
    programs: Sequence[Program]

    @property
    def lasted_s(self) -> float:
        return self.at_s[-1] - self.at_s[0]

    def part(self, first: float, last: float) -> list[Program]:
        """What was seen between two shares of it."""
        start = self.at_s[0]
        ends = start + first * self.lasted_s, start + last * self.lasted_s
        return [each for at, each in zip(self.at_s, self.programs, strict=True) if ends[0] <= at <= ends[1]]


def lives(samples: Sequence[Sample]) -> list[Life]:
    """Every process, in the order of birth."""
    seen: dict[tuple[str, int], list[tuple[float, Program]]] = {}
    for sample in samples:
        for name, program in sample.programs.items():
            seen.setdefault((name, program.pid), []).append((sample.at_s, program))
    count: dict[str, int] = {}
    found = []
    for (name, _), rows in seen.items():
        count[name] = count.get(name, 0) + 1
        found.append(Life(name, count[name], [at for at, _ in rows], [each for _, each in rows]))
    return found


def judge(samples: Sequence[Sample], *, life_s_min: float, events: int) -> list[Verdict]:
    """``life_s_min``: shorter lives say nothing. ``events``: how many were forwarded between the samples' ends."""
    return [*_programs(samples, life_s_min), *_files(samples), *_store(samples, events)]


def _programs(samples: Sequence[Sample], life_s_min: float) -> Iterator[Verdict]:
    long = [life for life in lives(samples) if life.lasted_s >= life_s_min and len(life.programs) >= SAMPLES_MIN]
    missing = {name for name in OURS if name not in {life.name for life in long}}
    yield Verdict(f"programs that never lived for {life_s_min / 60:.0f} min", len(missing), 0, "")
    for life in long:
        name = f"{life.name}, life {life.number}, {life.lasted_s / 60:.0f} min"
        if life.name in OURS and life.lasted_s >= MEMORY_LIFE_S_MIN:
            yield Verdict(f"memory of {name}", slope_kb_per_hour(life), MEMORY_KB_PER_HOUR_MAX, "kB/h")
        if life.name == "database":
            # it cleans up in processes of its own that come and go; a connection that we keep is a descriptor of ours
            continue
        for word in ("threads", "descriptors"):
            yield Verdict(f"{word} of {name}", more(life, word), HANDLES_MORE_MAX, "more")


def slope_kb_per_hour(life: Life) -> float:
    """From the median of a life's second quarter to that of its last one: the first warms up."""
    early, late = (median(each.own_kb for each in life.part(*ends)) for ends in ((0.25, 0.5), (0.75, 1.0)))
    return (late - early) / (life.lasted_s / 2) * 3600


def more(life: Life, what: str) -> int:
    """How many more there are in the last eighth than in the second one, by their medians."""
    early, late = (median(getattr(each, what) for each in life.part(*ends)) for ends in ((0.125, 0.25), (0.875, 1.0)))
    return int(late - early)


def _files(samples: Sequence[Sample]) -> Iterator[Verdict]:
    """The largest that any file ever was, by the rule that it falls under."""
    largest: dict[str, int] = {}
    for sample in samples:
        for path, size in sample.files.items():
            rule = next(rule for rule in FILES if fnmatch(path, rule))
            largest[rule] = max(size, largest.get(rule, 0))
    for rule, size in sorted(largest.items()):
        yield Verdict(f"largest {rule}", size, FILES[rule], "bytes")
    first, last = samples[0].files, samples[-1].files
    yield Verdict("files more at the end", len(last) - len(first), 8, "")


def _store(samples: Sequence[Sample], events: int) -> Iterator[Verdict]:
    looks = [sample.store for sample in samples if sample.store]
    grown = {name: looks[-1][name] - looks[0].get(name, 0) for name in looks[-1]}
    by_event = sum(grown[name] for name in BY_EVENT)
    if events >= EVENTS_MIN:
        yield Verdict("store, for each event", by_event / events, EVENT_BYTES_MAX, "bytes")
    yield Verdict("write-ahead log of the store", max(look["wal"] for look in looks), WAL_BYTES_MAX, "bytes")
    yield Verdict("replay table", max(look["replay"] for look in looks), REPLAY_BYTES_MAX, "bytes")
    for name, size in sorted(_others(grown).items()):
        yield Verdict(f"growth of table {name}", size, TABLE_BYTES_MAX, "bytes")


def _others(grown: Mapping[str, int]) -> dict[str, int]:
    """Those that grew at all and are not allowed to with events."""
    return {name: size for name, size in grown.items() if size > 0 and name not in (*BY_EVENT, "replay", "wal")}
