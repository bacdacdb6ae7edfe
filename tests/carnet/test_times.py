"""Capture times: the truth is always inside the interval, and more knowledge never widens it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.box import Prelude
from carnet.errors import LocalProtocolError
from carnet.times import Anchor, Unresolved, claimed_anchor, interval, intervals

BOOT, OTHER_BOOT = b"boot-one", b"boot-two"
NEVER = 2**53
BOOT_MS = st.integers(0, 10**9)
START_MS = 1_760_000_000_000
ANCHORS = st.lists(
    st.builds(
        lambda boot, at, earliest, width: Anchor(boot, at, START_MS + earliest, START_MS + earliest + width),
        st.sampled_from([BOOT, OTHER_BOOT]), BOOT_MS, BOOT_MS, st.integers(0, 5000),
    ),
    max_size=5,
)  # fmt: skip


@given(BOOT_MS, BOOT_MS, st.integers(-500, 500), st.integers(0, 900), st.integers(0, 900))
def test_the_true_time_lies_in_the_interval(at: int, captured: int, drift_ppm: int, before: int, after: int) -> None:
    """For every drift up to 500 ppm and every anchor that tells the truth; both clocks show whole milliseconds."""

    def truth_us(boot_ms: int) -> int:
        return START_MS * 1000 + boot_ms * 1000 + boot_ms * drift_ppm // 1000

    anchor = Anchor(BOOT, at, truth_us(at) // 1000 - before, truth_us(at) // 1000 + after)
    found = interval(BOOT, captured, [anchor], NEVER)
    assert not isinstance(found, Unresolved)
    earliest, latest = found
    assert earliest * 1000 <= truth_us(captured) <= latest * 1000


@given(BOOT_MS, ANCHORS, st.integers(START_MS, START_MS + 10**10))
def test_more_anchors_never_widen_and_other_boots_never_count(
    captured: int, anchors: list[Anchor], receipt_ms: int
) -> None:
    """Width falls or stays with every further anchor."""
    own = [anchor for anchor in anchors if anchor.boot_id == BOOT]
    assert interval(BOOT, captured, anchors, receipt_ms) == interval(BOOT, captured, own, receipt_ms)
    widths = []
    for count in range(1, len(own) + 1):
        found = interval(BOOT, captured, own[:count], NEVER)
        assert not isinstance(found, Unresolved)
        widths.append(found[1] - found[0])
    assert widths == sorted(widths, reverse=True)


@given(BOOT_MS, ANCHORS, st.integers(START_MS, START_MS + 10**10))
def test_receipt_bounds_the_latest_and_contradicts_the_earliest(
    captured: int, anchors: list[Anchor], receipt_ms: int
) -> None:
    """Nothing is captured after it was received; anchors that say so are wrong and nothing is guessed."""
    free, bounded = interval(BOOT, captured, anchors, NEVER), interval(BOOT, captured, anchors, receipt_ms)
    if isinstance(free, Unresolved):
        assert bounded is free is Unresolved.NO_ANCHOR
    elif free[0] > receipt_ms:
        assert bounded is Unresolved.AFTER_RECEIPT
    else:
        assert bounded == (free[0], min(free[1], receipt_ms))


@given(st.lists(BOOT_MS, min_size=1, max_size=20), ANCHORS, st.integers(START_MS, START_MS + 10**10))
def test_a_column_is_resolved_as_its_samples_are(captured: list[int], anchors: list[Anchor], receipt_ms: int) -> None:
    """And unresolved if one of them is."""
    single = [interval(BOOT, each, anchors, receipt_ms) for each in captured]
    column = intervals(BOOT, np.array(captured, dtype=np.int64), anchors, receipt_ms)
    unresolved = [each for each in single if isinstance(each, Unresolved)]
    if unresolved:
        assert column is unresolved[0]
    else:
        assert not isinstance(column, Unresolved)
        assert list(zip(*(side.tolist() for side in column), strict=True)) == single


def test_an_interval_widens_by_500_ppm_and_the_resolution() -> None:
    """One hour away: 1.8 s and 1 ms each side."""
    anchor = Anchor(BOOT, 1000, START_MS, START_MS + 40)
    hour = 3_600_000
    assert interval(BOOT, 1000, [anchor], NEVER) == (START_MS - 1, START_MS + 41)
    assert interval(BOOT, 1000 + hour, [anchor], NEVER) == (START_MS + hour - 1801, START_MS + hour + 1841)
    assert interval(BOOT, 999, [anchor], NEVER) == (START_MS - 3, START_MS + 41)


def test_a_prelude_claims_an_anchor_only_if_the_unit_knew_the_time() -> None:
    """Its word, with its own uncertainty."""
    assert claimed_anchor(Prelude(1, 1, BOOT, 500, START_MS, 20)) == Anchor(BOOT, 500, START_MS - 20, START_MS + 20)
    assert claimed_anchor(Prelude(1, 1, BOOT, 500)) is None


def test_an_anchor_that_ends_before_it_begins_is_the_callers_fault() -> None:
    """It would make every interval empty."""
    with pytest.raises(LocalProtocolError):
        Anchor(BOOT, 0, 2, 1)
