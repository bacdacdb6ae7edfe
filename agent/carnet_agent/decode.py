"""Decode a block of frames into runs of raw integers: about 30 numpy calls, whatever the number of frames and signals.

Law: no Python object per frame or sample, and exactly the raw integers and physical values of cantools.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from carnet_agent.dbc import j1939
from carnet_agent.dbc.plan import STANDARD_IDS, Group, Plan, Rows, SignalInfo
from carnet_agent.decoded import Decoded
from carnet_agent.frames import EXTENDED, Frames

WORD: np.dtype[np.int64] = np.dtype("<i8")
NO_FRAMES: NDArray[np.intp] = np.empty(0, np.intp)
NO_SAMPLES: NDArray[np.int64] = np.empty(0, np.int64)
COUNTING: NDArray[np.int64] = np.arange(1 << 13)
COUNTING.flags.writeable = False


class Refused(NamedTuple):
    """Frames of which cantools yields nothing, though we read them."""

    unknown_selector: NDArray[np.intp]
    """A multiplexer value that the database does not know; the frame's other signals are decoded."""
    overlapping: NDArray[np.intp]
    """Signals that are present overlap or overhang by definition; they are decoded."""


class _Entries(NamedTuple):
    """(frame, group) pairs: one per frame, and one more per group that a multiplexer leads to."""

    frame: NDArray[np.intp]
    group: NDArray[Group]
    refused: Refused


class _Runs(NamedTuple):
    """The rows of the plan that occur in a block."""

    row: NDArray[np.intp]
    length: NDArray[np.int64]
    start: NDArray[np.int64]
    """The first sample of the run."""
    entry: NDArray[np.int64]
    """The first entry of the run's group, where entries are sorted by group."""
    cut: NDArray[np.int64]
    """(4, runs): as in ``Rows``; the first gives way to where the run's words lie."""


def decode(plan: Plan, frames: Frames) -> Decoded:
    """All samples of the plan's signals in this block; frames that match no message yield nothing.

    Signals that do not fit into a short frame are absent; a frame longer than its definition is accepted.
    """
    group, length = _root_groups(plan, frames), frames.length
    if plan.has_multiplexers:
        entries = _follow_multiplexers(plan, frames, group)
        group, length = entries.group, length.take(entries.frame)
        frame = entries.frame.take(group.argsort(kind="stable"))
    else:
        frame = group.argsort(kind="stable")
    runs = _runs(plan, group, frames.width)
    decoded = Decoded(
        run_signal=plan.row_signal.take(runs.row),
        run_start=runs.start,
        run_length=runs.length,
        run_frame=runs.entry,
        frame=frame,
        raw=_cut(plan, runs, _planes(plan, frames, frame), len(frame)),
        source=_sources(frames) if plan.match == "pgn" else None,
    )
    # Most blocks have no frame that is shorter than the longest definition: one cheap look spares the exact one.
    if np.count_nonzero(length < plan.longest) and (length < plan.group_need.take(group)).any():
        need = plan.rows.need.take(runs.row).repeat(runs.length)
        return decoded.only(frames.length.take(decoded.sample_frame) >= need)
    return decoded


def refused(plan: Plan, frames: Frames) -> Refused:
    """The frames of this block that cantools refuses as a whole, and why; the agent does not ask."""
    group = _root_groups(plan, frames)
    unknown, overlapping = NO_FRAMES, NO_FRAMES
    if plan.has_multiplexers:
        unknown, overlapping = _follow_multiplexers(plan, frames, group).refused
    root = np.isin(group, plan.overlapping_roots).nonzero()[0]
    return Refused(unknown, np.union1d(root, overlapping))


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
    if plan.has_inexact:
        for run in plan.inexact.take(decoded.run_signal).nonzero()[0]:
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


def _runs(plan: Plan, group: NDArray[Group], width: int) -> _Runs:
    """Runs of all rows whose group is among those of the entries."""
    per_group = np.bincount(group, minlength=plan.groups + 1)
    per_row = per_group.take(plan.rows.group)
    if plan.longest > width:
        per_row[plan.rows.need > width] = 0
    row = per_row.nonzero()[0]
    length = per_row.take(row)
    cut = plan.rows.cut.take(row, axis=1)
    entry = np.add.accumulate(per_group).take(cut[0])
    entry -= length
    start = np.add.accumulate(length)
    start -= length
    return _Runs(row, length, start, entry, cut)


def _planes(plan: Plan, frames: Frames, order: NDArray[np.intp]) -> NDArray[np.int64]:
    """The planes of these frames one after the other; a block of narrow frames has only the first of them."""
    words = frames.payload.view(WORD).take(order, axis=0).T
    there = plan.planes.key.tolist()
    if frames.width < plan.longest:
        there = [key for key in there if key >> 1 < len(words)]
    planes = [words[key >> 1].byteswap() if key & 1 else words[key >> 1] for key in there]
    return np.concatenate(planes) if len(planes) > 1 else planes[0] if planes else NO_SAMPLES


def _cut(plan: Plan, runs: _Runs, planes: NDArray[np.int64], entries: int) -> NDArray[np.int64]:
    """The raw integer of every sample."""
    # Sorted by group, the words of a run lie side by side: from its first place on, places and samples count alike.
    runs.cut[0] = runs.entry - runs.start
    if len(planes) > entries:
        runs.cut[0] += plan.planes.row.take(runs.row) * entries
    place, left, right, mask = runs.cut.repeat(runs.length, axis=1)
    place += _upto(len(place))
    raw: NDArray[np.int64] = planes.take(place)
    if plan.crossing_from < len(plan.rows):
        _join_tail(plan, runs, planes, entries, place, raw)
    raw <<= left
    raw >>= right
    raw &= mask
    return raw


def _join_tail(
    plan: Plan, runs: _Runs, planes: NDArray[np.int64], entries: int, place: NDArray[np.int64], raw: NDArray[np.int64]
) -> None:
    """Put the rest to the words of those samples, the last ones, that cross into the next word."""
    first = int(runs.row.searchsorted(plan.crossing_from))
    row, length = runs.row[first:], runs.length[first:]
    tail = slice(len(raw) - int(length.sum()), None)
    onward = (plan.planes.next.take(row) - plan.planes.row.take(row)) * entries
    following = planes.take(place[tail] + onward.repeat(length))
    raw[tail] = _joined(raw[tail], following, plan.rows.take(row.repeat(length)))


def _joined(head: NDArray[np.int64], following: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
    """The words of samples that cross a boundary, put together."""
    high = head.view(np.uint64) << rows.head_left >> rows.head_right
    low = following.view(np.uint64) << rows.next_left >> rows.next_right
    both: NDArray[np.int64] = (high | low).view(np.int64)
    return both


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
    words = frames.payload.view(WORD)
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
        unknown.append(frame[~known])
        frame, branch = frame[known], branch[known]
        overlapping.append(frame[branches.overlapping.take(branch)])
        children = branches.child_count.take(branch)
        found_frames.append(np.repeat(frame, children))
        found_groups.append(
            branches.child.take(np.repeat(branches.child_first.take(branch), children) + _counting(children))
        )
    return _Entries(
        frame=np.concatenate(found_frames),
        group=np.concatenate(found_groups),
        refused=Refused(np.unique(np.concatenate(unknown)), np.concatenate(overlapping)),
    )


def _upto(count: int) -> NDArray[np.int64]:
    """0 to count - 1, without counting again each time."""
    return COUNTING[:count] if count <= len(COUNTING) else np.arange(count)


def _counting(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … for each count, one after the other."""
    return _upto(int(counts.sum())) - np.repeat(counts.cumsum() - counts, counts)


def _selectors(
    plan: Plan, words: NDArray[np.int64], muxer: NDArray[np.int64], frame: NDArray[np.intp]
) -> NDArray[np.int64]:
    """The raw value of this multiplexer in this frame, pair by pair."""
    rows = plan.muxer_rows.take(muxer)
    value = _word(words, frame, rows.word, rows.big)
    crossing = rows.crossing.nonzero()[0]
    if len(crossing):
        tail = rows.take(crossing)
        following = _word(words, frame[crossing], tail.word + 1, tail.big)
        value[crossing] = _joined(value[crossing], following, tail)
    _, left, right, mask = rows.cut
    raw: NDArray[np.int64] = value << left >> right & mask
    return raw


def _word(
    words: NDArray[np.int64], frame: NDArray[np.intp], word: NDArray[np.int64], big: NDArray[np.int64]
) -> NDArray[np.int64]:
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


def _sources(frames: Frames) -> NDArray[np.int16]:
    """J1939 source address of each frame, -1 for 11-bit identifiers."""
    extended = (frames.flags & EXTENDED) != 0
    return np.where(extended, j1939.sources(frames.can_id.astype(np.int64)), np.int16(-1))
