"""Decode a block of frames into runs of raw integers: about 30 numpy calls, whatever the number of frames and signals.

Law: no Python object per frame or sample, and exactly the raw integers and physical values of cantools.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from carnet_agent.dbc import j1939
from carnet_agent.dbc.plan import STANDARD_IDS, Group, Plan, SignalInfo
from carnet_agent.frames import EXTENDED, Frames

NO_FRAMES: NDArray[np.int32] = np.empty(0, np.int32)


COUNTING: NDArray[np.int64] = np.arange(1 << 13)
COUNTING.flags.writeable = False


def _no_frames() -> NDArray[np.int32]:
    return NO_FRAMES


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples of one block, one run per signal that occurs in it; R runs, N samples."""

    run_signal: NDArray[np.int32]
    """(R,) index into ``Plan.signals``."""
    run_start: NDArray[np.int64]
    """(R,) first sample of the run."""
    run_length: NDArray[np.int64]
    """(R,) samples in the run, at least 1."""
    frame: NDArray[np.int32]
    """(N,) position of the frame in the block, ascending within a run."""
    raw: NDArray[np.int64]
    """(N,) raw integers; unsigned 64-bit values and floats as their bit pattern, ``SignalInfo.kind`` says which."""
    source: NDArray[np.int16] | None = None
    """(N,) J1939 source address, -1 for 11-bit identifiers; None unless matched by parameter group."""
    unknown_selector: NDArray[np.int32] = field(default_factory=_no_frames)
    """Frames with a multiplexer value that the database does not know; their other signals are decoded."""
    overlapping: NDArray[np.int32] = field(default_factory=_no_frames)
    """Frames whose present signals overlap or overhang by definition; decoded, though cantools refuses them."""

    def __len__(self) -> int:
        return len(self.raw)


@dataclass(frozen=True, slots=True)
class _Entries:
    """(frame, group) pairs: one per frame, and one more per group that a multiplexer leads to."""

    frame: NDArray[np.intp]
    group: NDArray[Group]
    unknown_selector: NDArray[np.int32]
    overlapping: NDArray[np.int32]


class _Runs(NamedTuple):
    """Where the runs lie: their plan rows, and for each sample its place in the sorted planes."""

    row: NDArray[np.intp]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    at: NDArray[np.int64]


def decode(plan: Plan, frames: Frames) -> Decoded:
    """All samples of the plan's signals in this block; frames that match no message yield nothing.

    Signals that do not fit into a short frame are absent; a frame longer than its definition is accepted.
    """
    group = _root_groups(plan, frames)
    entries = _follow_multiplexers(plan, frames, group) if plan.has_multiplexers else None
    if entries is None:
        order = frame = group.argsort(kind="stable")
        length = frames.length
    else:
        order = entries.group.argsort(kind="stable")
        frame = entries.frame.take(order)
        length = frames.length.take(entries.frame)
    entry_group = group if entries is None else entries.group
    per_group = np.bincount(entry_group, minlength=plan.groups + 1)
    runs = _runs(plan, per_group, len(entry_group), frames.width)
    # Sorted by group, a run's words lie side by side: one gather index serves words and frame numbers.
    planes = _planes(frames, frame)
    decoded = Decoded(
        run_signal=plan.row_signal.take(runs.row),
        run_start=runs.start,
        run_length=runs.length,
        # Every plane has the frames in the same order, so a place in any of them wraps to its frame.
        frame=frame.astype(np.int32).take(runs.at, mode="wrap"),
        raw=_extract(plan, runs, planes),
        unknown_selector=NO_FRAMES if entries is None else entries.unknown_selector,
        overlapping=_overlapping(plan, group, per_group, entries) if plan.has_overlapping else NO_FRAMES,
    )
    # Most blocks have no frame that is shorter than the longest definition: one cheap look spares the exact one.
    if np.count_nonzero(length < plan.need) and (length < plan.group_need.take(entry_group)).any():
        decoded = _without_absent(
            decoded, frames.length.take(decoded.frame) >= np.repeat(plan.rows.need.take(runs.row), runs.length)
        )
    if plan.match == "pgn":
        decoded = replace(decoded, source=_sources(frames).take(decoded.frame))
    return decoded


def physical(plan: Plan, decoded: Decoded) -> NDArray[np.float64]:
    """(N,) physical values, bit for bit ``float`` of what cantools yields without value names."""
    signal, length = decoded.run_signal, decoded.run_length
    values = decoded.raw.astype(np.float64)
    scaled = plan.scaled.take(signal).nonzero()[0]
    if len(scaled):
        # Runs come in the order of the plan's rows, which keeps scaled ones together: the rest is spared.
        first, last = int(scaled[0]), int(scaled[-1])
        stretch = values[decoded.run_start[first] : decoded.run_start[last] + length[last]]
        signal, length = signal[first : last + 1], length[first : last + 1]
        stretch *= plan.factor.take(signal).repeat(length)
        stretch += plan.offset.take(signal).repeat(length)
    inexact = plan.inexact.take(decoded.run_signal)
    if np.count_nonzero(inexact):
        for run in inexact.nonzero()[0]:
            start = int(decoded.run_start[run])
            place = slice(start, start + int(decoded.run_length[run]))
            info = plan.signals[decoded.run_signal[run]]
            values[place] = [float(value) for value in exact_values(info, decoded.raw[place])]
    return values


def raw_values(info: SignalInfo, raw: NDArray[np.int64]) -> list[int | float]:
    """The raw values as Python numbers: what the bits mean, unscaled."""
    numbers: NDArray[np.generic] = raw
    if info.kind == "float16":
        numbers = raw.astype(np.uint16).view(np.float16)
    elif info.kind == "float32":
        numbers = raw.astype(np.uint32).view(np.float32)
    elif info.kind == "float64":
        numbers = raw.view(np.float64)
    elif info.kind == "uint":
        numbers = raw.view(np.uint64)
    return cast("list[int | float]", numbers.tolist())


def exact_values(info: SignalInfo, raw: NDArray[np.int64]) -> list[int | float]:
    """Physical values as Python numbers, by cantools' arithmetic: integers where factor and offset are whole."""
    values = raw_values(info, raw)
    factor, offset = info.factor, info.offset
    if factor == 1 and offset == 0:
        return values
    if not info.is_float and float(factor).is_integer() and float(offset).is_integer():
        factor, offset = int(factor), int(offset)
    return [value * factor + offset for value in values]


def _planes(frames: Frames, order: NDArray[np.intp]) -> NDArray[np.uint64]:
    """(2 * words, len(order)) every payload word of these frames, little endian first, then byte-swapped."""
    if frames.width == 8:
        word = frames.payload.view("<u8").reshape(-1).take(order)
        return np.concatenate((word, word.byteswap())).reshape(2, -1)
    words = frames.payload.view("<u8").take(order, axis=0).T
    return np.concatenate((words, words.byteswap()))


def _root_groups(plan: Plan, frames: Frames) -> NDArray[Group]:
    """(n,) root group of each frame's message, ``plan.groups`` for none."""
    roots = plan.roots
    key: NDArray[np.integer[Any]] = frames.can_id
    # Without named buses, or when all frames are of the first one, the table's first row is the right one.
    if plan.buses and np.count_nonzero(frames.bus):
        key = roots.bus_base.take(frames.bus, mode="clip")
        key += frames.can_id
    # 29-bit identifiers fall anywhere in the table; they are looked up on their own below.
    group = roots.standard.take(key, mode="clip")
    if np.count_nonzero(frames.flags):
        extended = (frames.flags & EXTENDED).nonzero()[0]
        can_id = frames.can_id.take(extended).astype(np.int64)
        base = roots.bus_base.take(frames.bus.take(extended), mode="clip") // STANDARD_IDS << 32
        found = _find(roots.extended, roots.extended_group, base | can_id, plan.groups)
        if plan.match == "pgn":
            by_pgn = _find(roots.pgn, roots.pgn_group, base | j1939.pgns(can_id), plan.groups)
            found = np.where(found == plan.groups, by_pgn, found)
        group[extended] = found
    return group


def _find(keys: NDArray[np.int64], groups: NDArray[Group], wanted: NDArray[np.int64], none: int) -> NDArray[Group]:
    """The group of each wanted key in the sorted keys, ``none`` where it is not among them."""
    missing = groups.dtype.type(none)
    if not len(keys):
        return np.full(len(wanted), missing)
    place = keys.searchsorted(wanted)
    place[place == len(keys)] = 0
    return np.where(keys.take(place) == wanted, groups.take(place), missing)


def _follow_multiplexers(plan: Plan, frames: Frames, group: NDArray[Group]) -> _Entries:
    """Every (frame, group) pair: the roots, and level by level where their multiplexers lead."""
    branches = plan.branches
    words = frames.payload.view("<u8")
    found_frames, found_groups = [np.arange(len(frames))], [group]
    unknown, overlapping = [NO_FRAMES], [NO_FRAMES]
    while True:
        frame, group = found_frames[-1], found_groups[-1]
        count = branches.group_count.take(group)
        entry = np.repeat(np.arange(len(group)), count)
        if not len(entry):
            break
        frame = frame.take(entry)
        muxer = branches.group_first.take(group.take(entry)) + _counting(count)
        present = plan.muxer_rows.need.take(muxer) <= np.minimum(frames.length.take(frame), frames.width)
        frame, muxer = frame[present], muxer[present]
        branch = _branch(plan, muxer, _selectors(plan, words, muxer, frame))
        known = branch >= 0
        unknown.append(frame[~known].astype(np.int32))
        frame, branch = frame[known], branch[known]
        overlapping.append(frame[branches.overlapping.take(branch)].astype(np.int32))
        children = branches.child_count.take(branch)
        found_frames.append(np.repeat(frame, children))
        found_groups.append(
            branches.child.take(np.repeat(branches.child_first.take(branch), children) + _counting(children))
        )
    return _Entries(
        frame=np.concatenate(found_frames),
        group=np.concatenate(found_groups),
        unknown_selector=np.unique(np.concatenate(unknown)),
        overlapping=np.concatenate(overlapping),
    )


def _upto(count: int) -> NDArray[np.int64]:
    """0 to count - 1, without counting again each time."""
    return COUNTING[:count] if count <= len(COUNTING) else np.arange(count)


def _counting(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … for each count, one after the other."""
    return _upto(int(counts.sum())) - np.repeat(counts.cumsum() - counts, counts)


def _selectors(
    plan: Plan, words: NDArray[np.uint64], muxer: NDArray[np.int64], frame: NDArray[np.intp]
) -> NDArray[np.int64]:
    """The raw value of this multiplexer in this frame, pair by pair."""
    rows = plan.muxer_rows.take(muxer)
    value = _word(words, frame, rows.word, rows.big) >> rows.shift
    crossing = rows.crossing.nonzero()[0]
    if len(crossing):
        tail = rows.take(crossing)
        following = _word(words, frame[crossing], tail.word + 1, tail.big) << tail.next_left
        value[crossing] = (value[crossing] << tail.left) | (following >> tail.next_right)
    value &= rows.mask
    raw = value.view(np.int64)
    raw ^= rows.sign
    raw -= rows.sign
    return raw


def _word(
    words: NDArray[np.uint64], frame: NDArray[np.intp], word: NDArray[np.int64], big: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """One payload word per pair, byte-swapped where ``big``."""
    value = words[frame, word]
    return np.where(big, value.byteswap(), value)


def _branch(plan: Plan, muxer: NDArray[np.int64], selector: NDArray[np.int64]) -> NDArray[np.int64]:
    """The branch of each (multiplexer, selector value), -1 where the database knows none."""
    branches = plan.branches
    values = len(branches.value)
    rank = branches.value.searchsorted(selector)
    rank[rank == values] = 0
    key = muxer * values + rank
    place = branches.key.searchsorted(key)
    place[place == len(branches.key)] = 0
    known = (branches.value.take(rank) == selector) & (branches.key.take(place) == key)
    return np.where(known, place, -1)


def _runs(plan: Plan, per_group: NDArray[np.int64], entries: int, width: int) -> _Runs:
    """Runs of all rows whose group occurs, from the number of entries of each group."""
    per_row = per_group.take(plan.row_group)
    if plan.need > width:
        per_row[plan.rows.need > width] = 0
    row = per_row.nonzero()[0]
    length = per_row.take(row)
    end = length.cumsum()
    start = end - length
    plane = plan.rows.big.take(row)
    if width > 8:
        plane *= width // 8
        plane += plan.rows.word.take(row)
    group_start = per_group.cumsum()
    group_start -= per_group
    plane *= entries
    plane += group_start.take(plan.row_group.take(row))
    plane -= start
    at = plane.repeat(length)
    at += _upto(len(at))
    return _Runs(row, start, length, at)


def _extract(plan: Plan, runs: _Runs, planes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The raw integer of every sample."""
    rows, row, length = plan.rows, runs.row, runs.length
    flat = planes.reshape(-1)
    # Every place is inside; "clip" spares numpy a check per sample.
    value = flat.take(runs.at, mode="clip")
    value >>= rows.shift.take(row).repeat(length)
    if plan.crossing_from < len(rows.need):
        run, sample = _stretch(runs, plan.crossing_from)
        tail, lengths = row[run:], length[run:]
        following = flat.take(runs.at[sample:] + planes.shape[1])
        following <<= rows.next_left.take(tail).repeat(lengths)
        following >>= rows.next_right.take(tail).repeat(lengths)
        value[sample:] <<= rows.left.take(tail).repeat(lengths)
        value[sample:] |= following
    value &= rows.mask.take(row).repeat(length)
    raw = value.view(np.int64)
    if plan.signed_from < plan.crossing_signed_until:
        run, sample = _stretch(runs, plan.signed_from)
        run_end, sample_end = len(row), len(raw)
        if plan.crossing_signed_until < len(rows.need):
            run_end, sample_end = _stretch(runs, plan.crossing_signed_until)
        sign = np.repeat(rows.sign.take(row[run:run_end]), length[run:run_end])
        raw[sample:sample_end] ^= sign
        raw[sample:sample_end] -= sign
    return raw


def _stretch(runs: _Runs, row: int) -> tuple[int, int]:
    """The first run, and its first sample, of plan rows from ``row`` on."""
    run = int(runs.row.searchsorted(row))
    return run, int(runs.start[run]) if run < len(runs.start) else len(runs.at)


def _overlapping(
    plan: Plan, group: NDArray[Group], per_group: NDArray[np.int64], entries: _Entries | None
) -> NDArray[np.int32]:
    """Frames whose present signals overlap, in the root or behind a multiplexer."""
    root = NO_FRAMES
    if np.count_nonzero(per_group.take(plan.overlapping_roots)):
        root = np.isin(group, plan.overlapping_roots).nonzero()[0].astype(np.int32)
    return root if entries is None else np.union1d(root, entries.overlapping)


def _without_absent(decoded: Decoded, present: NDArray[np.bool_]) -> Decoded:
    """Only the samples that are present; runs left empty are dropped."""
    lengths = np.add.reduceat(present.astype(np.int64), decoded.run_start) if len(present) else decoded.run_length
    kept = lengths > 0
    lengths = lengths[kept]
    return replace(
        decoded,
        run_signal=decoded.run_signal[kept],
        run_start=lengths.cumsum() - lengths,
        run_length=lengths,
        frame=decoded.frame[present],
        raw=decoded.raw[present],
    )


def _sources(frames: Frames) -> NDArray[np.int16]:
    """J1939 source address of each frame, -1 for 11-bit identifiers."""
    extended = (frames.flags & EXTENDED) != 0
    return np.where(extended, j1939.sources(frames.can_id.astype(np.int64)), np.int16(-1))
