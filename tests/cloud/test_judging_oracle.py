"""What a record may have of a box, worked out once more: sample by sample and in plain numbers, from the documents.

Law: nothing of `carnet.times`, `gate` or `judging` answers here. ``docs/wire-format.md`` (capture time),
``docs/transforms.md`` (the window of an aggregate), ``docs/consent.md`` (from when to when a grant covers) do.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.box import Prelude
from carnet.codec import decode, encode
from carnet.consent import compile as compile_grant
from carnet.grants import Grant, GrantItem
from carnet.schema import Column, Schema
from carnet.sealed import Declaration, SealedBody
from carnet.signals import Category, DeliveryClass, Sensitivity
from carnet.times import Anchor
from carnet.transforms import Transform
from carnet_cloud import gate
from carnet_cloud.boxes import DataBox, ReadBox, SealedBox
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.gate import Blocked, Standing
from carnet_cloud.judging import Kept, TimeUnknown, Withheld, candidate
from carnet_cloud.spans import write
from tests import consentkit as kit
from tests.cloud.kit import BOOT, NOW_MS

ROUNDS: Final = 250
"""Boxes of one seed."""
KNOWN: Final = (kit.SPEED, kit.ODOMETER, kit.IGNITION)
CATALOGUE: Final = Catalogue([Entry(path, "km", Category.DRIVING, Sensitivity.LOW) for path in KNOWN])
TRANSFORMS: Final = tuple(
    Transform.parse(each)
    for each in (
        {},
        {"interval_ms": 1000},
        {"aggregate": {"window_ms": 7, "fields": ["count"]}},
        {"aggregate": {"window_ms": 60_000, "fields": ["min"]}},
    )
)
GRANT: Final = compile_grant(kit.OFFER, kit.token(), (), kit.OWNER)
UNSURE_MS: Final = 2000
Sample = tuple[str, str, int, int]
"""Path, transform, time and raw value."""


@dataclass(frozen=True)
class Case:
    """A box, what is known of its time, and who asks for it."""

    box: DataBox
    anchor: Anchor
    receipt_ms: int
    grants: tuple[Grant, ...]


@dataclass(frozen=True)
class Answer:
    """What a record may have; ``ends`` of all that it gets, None if that is nothing."""

    samples: Counter[Sample]
    ends: tuple[int, int] | None
    withheld: Counter[tuple[str, str]]
    is_whole: bool


class Wait(Exception):
    """The envelope has to wait, and why."""


# the documents


def wall(case: Case, boot_ms: int) -> tuple[int, int]:
    """``docs/wire-format.md``, capture time."""
    if case.anchor.boot_id != case.box.prelude.boot_id:
        raise Wait("no_anchor")
    away = boot_ms - case.anchor.boot_ms
    around = 1 + (abs(away) + 1999) // 2000
    earliest_ms, latest_ms = case.anchor.earliest_ms + away - around, case.anchor.latest_ms + away + around
    if earliest_ms > case.receipt_ms:
        raise Wait("after_receipt")
    return earliest_ms, min(latest_ms, case.receipt_ms)


def begin(time_ms: int, transform: Transform) -> int:
    """``docs/transforms.md``, aggregates."""
    if transform.aggregate is None:
        return time_ms
    window_ms = transform.aggregate.window_ms
    return (time_ms - 1) // window_ms * window_ms


def refusal(grant: Grant, column: Column) -> str:
    """Why a column is nothing for this grant, empty if it is something."""
    if column.path not in KNOWN or column.unit != "km":
        return "schema"
    chosen = [(item.path, item.transform.document()) for item in grant.items if not item.condition_only]
    return "" if (column.path, column.transform.document()) in chosen else "offer"


def inside(case: Case, grant: Grant, captures: Sequence[tuple[int, int]]) -> list[bool]:
    """Of every capture from one moment to another, which share a clock, whether all of it lies in the grant.

    Wait: if that clock is wider than two seconds and one of them may lie inside yet: its latest beginning is not before
    the grant's, and its earliest end before the grant's end. Whatever else will be known of the time, the truth stays
    between these, so nothing brings another one inside.
    """
    found, could = [], False
    for first_ms, last_ms in captures:
        begins, ends = wall(case, first_ms), wall(case, last_ms)
        is_inside = grant.covers_from_ms <= begins[0] and ends[1] < grant.expires_ms
        could |= not is_inside and begins[1] >= grant.covers_from_ms and ends[0] < grant.expires_ms
        found.append(is_inside)
    widths = [latest_ms - earliest_ms for earliest_ms, latest_ms in (wall(case, last_ms) for _, last_ms in captures)]
    if could and max(widths) > UNSURE_MS:
        raise Wait("unsure")
    return found


def expected(case: Case, grant: Grant) -> Answer:
    """What the record gets, or Wait."""
    return open_one(case, case.box, grant) if isinstance(case.box, ReadBox) else sealed_one(case, case.box, grant)


def open_one(case: Case, box: ReadBox, grant: Grant) -> Answer:
    columns = list(zip(box.schema.columns, box.batch.values, strict=True))
    times = [group.tolist() for group in box.batch.times]
    answer = Answer(Counter(), None, Counter(), all(not refusal(grant, column) for column, _ in columns))
    moments: list[int] = []
    for moment in (moment for group in times for moment in group):
        wall(case, moment)
    for column, raw in columns:
        captures = [(begin(moment, column.transform), moment) for moment in times[column.group]]
        refused = refusal(grant, column)
        rows = [False] * len(captures) if refused else inside(case, grant, captures)
        for (first_ms, last_ms), value, is_in in zip(captures, raw.tolist(), rows, strict=True):
            if is_in:
                answer.samples[sample(column, last_ms, value)] += 1
                moments += [wall(case, first_ms)[0], wall(case, last_ms)[1]]
            else:
                answer.withheld[column.path, refused or "time"] += 1
    is_whole = answer.is_whole and not answer.withheld
    return replace(answer, ends=(min(moments), max(moments)) if moments else None, is_whole=is_whole)


def sealed_one(case: Case, box: SealedBox, grant: Grant) -> Answer:
    """``docs/batch-format.md``, sealed: all of it or nothing, by what is declared."""
    declared = box.sealed.declaration
    counts = [(column, declared.counts[column.group]) for column in box.schema.columns if declared.counts[column.group]]
    first, last = wall(case, declared.first_ms), wall(case, declared.last_ms)
    reasons = [refusal(grant, column) for column, _ in counts]
    otherwise = "seal"
    if not any(reasons):
        (is_inside,) = inside(case, grant, [(declared.first_ms, declared.last_ms)])
        if is_inside:
            samples = Counter({(column.path, "sealed", 0, 0): 0 for column, _ in counts})
            for column, count in counts:
                samples[column.path, "sealed", 0, 0] += count
            return Answer(samples, (first[0], last[1]), Counter(), is_whole=True)
        otherwise = "time"
    withheld: Counter[tuple[str, str]] = Counter()
    for (column, count), reason in zip(counts, reasons, strict=True):
        withheld[column.path, reason or otherwise] += count
    return Answer(Counter(), None, withheld, is_whole=False)


def sample(column: Column, time_ms: int, value: int) -> Sample:
    return column.path, json.dumps(column.transform.document()), time_ms, value


# what the cloud says


def judged(case: Case, grant: Grant, kept: Kept | None, withheld: Withheld) -> Answer:
    """The same of what was kept, read again."""
    told = Counter({(path, reason.value): count for (_, path, reason), count in (+withheld).items()})
    if kept is None:
        return Answer(Counter(), None, told, is_whole=False)
    schema, samples = kept.schema or case.box.schema, Counter[Sample]()
    assert (kept.piece.schema_hash, kept.piece.anchor) == (schema.hash, case.anchor)
    paths = Counter[str]()
    for _, _, counts in json.loads(write(kept.tally)):
        assert all(counts.values()), "a path without a sample was not disclosed"
        paths.update(counts)
    if isinstance(case.box, SealedBox):
        samples.update({(path, "sealed", 0, 0): count for path, count in paths.items()})
    else:
        batch = decode(kept.piece.body, schema)
        for column, raw in zip(schema.columns, batch.values, strict=True):
            assert refusal(grant, column) == "", "not even the name of a column leaves that may not"
            times = batch.times[column.group].tolist()
            samples.update(sample(column, *each) for each in zip(times, raw.tolist(), strict=True))
    by_path = Counter[str]()
    for (path, *_), count in samples.items():
        by_path[path] += count
    assert (paths, kept.tally.samples) == (by_path, samples.total())
    ends = kept.tally.first_ms, kept.tally.last_ms
    return Answer(samples, ends, told, is_whole=kept.piece.body == case.box.body and kept.schema is None)


# what is asked


def drawn_case(source: random.Random) -> Case:
    schema = drawn_schema(source)
    anchor = drawn_anchor(source)
    batch = drawn_batch(source, schema, anchor.boot_ms + source.choice([0, -1, -3000, -100_000, 300]))
    prelude = Prelude(1, 1, BOOT, anchor.boot_ms, schema_hash=schema.hash)
    box: DataBox = ReadBox(prelude, encode(batch), batch)
    if source.random() < 0.25:
        honest = Declaration.of(batch, b"k" * 8)
        lie_ms = source.choice([0, 0, 0, 1000])
        box = SealedBox(
            prelude, b"\x02", schema, SealedBody(replace(honest, last_ms=honest.last_ms + lie_ms), b"closed")
        )
    edges = list(drawn_edges(source, batch, anchor))
    receipt_ms = source.choice([NOW_MS + kit.DAY_MS, NOW_MS + kit.DAY_MS, NOW_MS, source.choice(edges)])
    grants = tuple(drawn_grant(source, schema, [*edges, receipt_ms]) for _ in range(3))
    return Case(box, anchor, receipt_ms, grants)


def drawn_schema(source: random.Random) -> Schema:
    """Columns of one group share a transform, as a car's do."""
    columns: list[Column] = []
    for group in range(source.randint(1, 3)):
        transform = source.choice(TRANSFORMS)
        field = transform.aggregate.fields[0] if transform.aggregate else ""
        for _ in range(source.randint(1, 2)):
            path = source.choice([*KNOWN * 4, "Vehicle.Unknown"])
            unit = source.choice(["km"] * 12 + ["mi"])
            columns.append(Column(path, unit, "int", "1", "0", transform, group, field))
    return Schema(tuple(columns))


def drawn_anchor(source: random.Random) -> Anchor:
    """From sure to five seconds, often at two seconds exactly."""
    before_ms, after_ms = source.choice([(0, 0), (20, 20), (999, 999), (999, 1000), (5000, 5000), (0, 5000)])
    boot = source.choice([BOOT] * 30 + [b"another!"])
    return Anchor(boot, 3_600_000, NOW_MS - before_ms, NOW_MS + after_ms)


def drawn_batch(source: random.Random, schema: Schema, last_ms: int) -> Batch:
    """Some groups are silent, never all."""
    span_ms = source.choice([1, 10, 5000, 200_000])
    counts = [source.choice([0, 1, 2, 4]) for _ in range(schema.group_count)]
    counts[0] = counts[0] or not any(counts)
    moments = [sorted(last_ms - source.randint(0, span_ms) for _ in range(count)) for count in counts]
    times = tuple(np.array(each, np.int64) for each in moments)
    values = (np.arange(counts[c.group]) + 100 * number for number, c in enumerate(schema.columns))
    return Batch(schema, times, tuple(values))


def drawn_edges(source: random.Random, batch: Batch, anchor: Anchor) -> Iterator[int]:
    """Wall times at which an answer may turn: a millisecond around where a capture may have begun or ended."""
    for column in batch.schema.columns:
        for moment in batch.times[column.group].tolist():
            for boot_ms in (moment, begin(moment, column.transform)):
                away = boot_ms - anchor.boot_ms
                around = 1 + (abs(away) + 1999) // 2000
                for edge in (anchor.earliest_ms - around, anchor.latest_ms + around):
                    yield edge + away + source.choice([-1, 0, 1])


def drawn_grant(source: random.Random, schema: Schema, edges: Sequence[int]) -> Grant:
    """Most of the columns, from and until somewhere."""
    far = 30 * kit.DAY_MS
    from_ms = source.choice([NOW_MS - far, NOW_MS - far, *source.choices(edges, k=3), NOW_MS + far])
    until_ms = source.choice([NOW_MS + far, NOW_MS + far, *source.choices(edges, k=2), NOW_MS - far])
    items = [
        GrantItem(column.path, None, source.random() < 0.03, column.transform, DeliveryClass.BACKGROUND, ())
        for column in schema.columns
        if source.random() < source.choice([0.5, 1.0, 1.0])
    ]
    return replace(GRANT, covers_from_ms=from_ms, expires_ms=until_ms, items=tuple(items))


# both


def outcome(case: Case, answer: Answer) -> str:
    kind = "sealed" if isinstance(case.box, SealedBox) else "open"
    reasons = sorted({reason for _, reason in answer.withheld})
    return " ".join([kind, "whole" if answer.is_whole else "part" if answer.samples else "nothing", *reasons])


@pytest.mark.parametrize("seed", range(4))
def test_a_record_gets_the_samples_that_the_documents_give_it_and_no_others(seed: int) -> None:
    """Which, from when to when, how many of what is withheld and why; and what has to wait. Three records, whose
    answers are about one box, get each its own.
    """
    source, happened = random.Random(seed), Counter[str]()
    for number in range(ROUNDS):
        case = drawn_case(source)
        for grant in case.grants:
            place = f"seed {seed}, round {number}"
            try:
                wanted: Answer | str = expected(case, grant)
            except Wait as wait:
                wanted = str(wait)
            assert answered(case, grant) == wanted, place
            happened[wanted if isinstance(wanted, str) else outcome(case, wanted)] += 1
    must = {"open whole", "open part time", "open part offer", "open nothing time", "open part offer time"}
    must |= {"sealed whole", "sealed nothing time", "sealed nothing offer seal", "open part schema"}
    must |= {"unsure", "after_receipt", "no_anchor"}
    assert must <= happened.keys()


def test_records_that_share_a_box_do_not_share_what_may_not_leave() -> None:
    """Judged with one candidate, in whatever order: what is made once is the same for each of them."""
    source, shared = random.Random(99), 0
    for _ in range(ROUNDS):
        case = drawn_case(source)
        alone = [answered(case, grant) for grant in case.grants]
        if any(isinstance(each, str) for each in alone):
            continue
        one = candidate(case.box, case.anchor, case.receipt_ms)
        for grant, answer in [*zip(case.grants, alone, strict=True)][:: source.choice([1, -1])]:
            withheld: Withheld = Counter()
            assert judged(case, grant, one.judge(standing(grant), refusals(case, grant), withheld), withheld) == answer
        shared += len({outcome(case, each) for each in alone if isinstance(each, Answer)}) > 1
    assert shared > ROUNDS / 10


def answered(case: Case, grant: Grant) -> Answer | str:
    """What the cloud says, or why it waits."""
    withheld: Withheld = Counter()
    try:
        one = candidate(case.box, case.anchor, case.receipt_ms)
        kept = one.judge(standing(grant), refusals(case, grant), withheld)
    except TimeUnknown as unknown:
        return str(unknown)
    return judged(case, grant, kept, withheld)


def standing(grant: Grant) -> Standing:
    return Standing(grant, silent=False, reachable=True)


def refusals(case: Case, grant: Grant) -> list[Blocked | None]:
    return [gate.may_hold(grant, column, CATALOGUE.get(column.path)) for column in case.box.schema.columns]
