"""Trimming: what is sealed to a recipient holds nothing outside of its grant, by the clock that its box claims."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.box import Prelude
from carnet.consent import compile as compile_grant
from carnet.grants import Grant
from carnet.ids import RECORD, parse_id
from carnet.schema import Column, Schema
from carnet.signals import DeliveryClass
from carnet.transforms import Transform
from carnet_agent.sending.sealer import Cut
from carnet_agent.sending.trimming import trim
from tests import consentkit as kit

BOOT_MS = 3_600_000
AGGREGATE = Transform.parse({"aggregate": {"fields": ["mean"], "window_ms": 10_000}})
SCHEMA = Schema(
    (
        Column("Vehicle.Speed", "km/h", "int", "1", "0", Transform(), 0),
        Column("Vehicle.Speed", "km/h", "int", "1", "0", AGGREGATE, 1, "mean"),
    )
)


@dataclass(frozen=True)
class Kept:
    records: tuple[bytes, ...]
    delivery_class: DeliveryClass
    batch: Batch
    sealed_to: bytes | None


def cut(times: list[int], rows: list[int], sealed_to: bytes | None = kit.RECIPIENT_KEY.public) -> Kept:
    """Times in seconds from the cut on, as their values are."""
    arrays = [np.array(each, np.int64) for each in (times, rows)]
    batch = Batch(SCHEMA, tuple(BOOT_MS + each * 1000 for each in arrays), tuple(arrays))
    return Kept((parse_id(kit.RECORD_ID, RECORD),), DeliveryClass.BACKGROUND, batch, sealed_to)


@pytest.fixture
def grant() -> Grant:
    offer = kit.offer_bytes(**kit.sealed_to())
    return compile_grant(offer, kit.token(offer), (), kit.OWNER)


def trimmed(one: Kept, grant: Grant, wall_ms: int, around_ms: int = 20) -> list[list[int]]:
    prelude = Prelude(1, 1, b"bootboot", BOOT_MS, wall_ms, around_ms)
    cuts: list[Cut] = trim([one], {grant.record_id: grant}, prelude)
    return [values.tolist() for each in cuts for values in each.batch.values]


def test_what_lies_inside_is_left_as_it_is(grant: Grant) -> None:
    one = cut([-3, -2, -1], [0])
    prelude = Prelude(1, 1, b"bootboot", BOOT_MS, kit.GIVEN_MS + 60_000, 20)
    assert trim([one], {grant.record_id: grant}, prelude)[0] is one


def test_what_was_captured_before_the_yes_is_cut_out(grant: Grant) -> None:
    """The sample two seconds before the cut lies two seconds after the yes; the window began before it."""
    assert trimmed(cut([-9, -3, -2, 0], [0]), grant, kit.GIVEN_MS + 4000) == [[-3, -2, 0], []]


def test_a_sample_at_the_very_begin_is_cut_out_because_it_may_be_older(grant: Grant) -> None:
    assert trimmed(cut([-4, 0], []), grant, kit.GIVEN_MS + 4000) == [[0], []]


def test_what_was_captured_after_the_end_is_cut_out(grant: Grant) -> None:
    assert trimmed(cut([-20, -2], [-10, 0]), grant, grant.expires_ms + 5000) == [[-20], [-10]]


def test_a_cut_of_which_nothing_is_left_is_gone(grant: Grant) -> None:
    assert trimmed(cut([-2, -1], []), grant, kit.GIVEN_MS) == []


def test_what_the_cloud_reads_is_left_to_it(grant: Grant) -> None:
    assert trimmed(cut([-2, -1], [], sealed_to=None), grant, kit.GIVEN_MS) == [[-2, -1], []]


@pytest.mark.parametrize(("wall_ms", "around_ms"), [(0, 0xFFFFFFFF), (kit.GIVEN_MS, 1000)])
def test_a_clock_too_uncertain_to_judge_by_cuts_nothing(grant: Grant, wall_ms: int, around_ms: int) -> None:
    """The cloud may know better, or wait until it does."""
    assert trimmed(cut([-2, -1], []), grant, wall_ms, around_ms) == [[-2, -1], []]
    assert trimmed(cut([-2, -1], []), grant, kit.GIVEN_MS, 998) == []


def test_a_record_that_is_not_known_any_more_is_left_to_the_cloud(grant: Grant) -> None:
    assert trimmed(cut([-2, -1], []), replace(grant, record_id=kit.OTHER_RECORD_ID), kit.GIVEN_MS) == [[-2, -1], []]
