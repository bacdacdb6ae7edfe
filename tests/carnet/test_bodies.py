"""Bodies: every value comes back from its bytes, and what would be refused is never encoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.bodies import GAP_REASONS, MODES, CheckIn, DestructionReceipt, Gap, GapRange, Health, SchemaBody
from carnet.errors import FormatError, LocalProtocolError
from carnet.ids import RECORD, format_id
from carnet.note import DestructionReason

NUMBER = st.integers(0, 2**53 - 1)
HASHES = st.sets(st.binary(min_size=16, max_size=16), max_size=64).map(lambda found: tuple(sorted(found)))
RECORDS = st.sets(st.binary(min_size=10, max_size=10), min_size=1, max_size=64).map(
    lambda found: tuple(sorted(format_id(RECORD, each) for each in found))
)


@given(
    st.sets(st.integers(1, 2**53 - 1), min_size=2, max_size=40).map(sorted), st.sampled_from(GAP_REASONS), NUMBER
)  # fmt: skip
def test_a_gap_comes_back(edges: list[int], reason: str, samples: int) -> None:
    """Ascending, disjoint ranges."""
    pairs = zip(edges[::2], edges[1::2], strict=False)
    gap = Gap(b"s" * 8, tuple(GapRange(first, last, reason, samples) for first, last in pairs))
    assert Gap.parse(gap.encode()) == gap


@given(
    st.binary(min_size=16, max_size=16).filter(any),
    NUMBER,
    HASHES,
    st.sampled_from(MODES),
    st.sampled_from([b"", b"p" * 8]),
)
def test_a_check_in_comes_back(nonce: bytes, seq: int, schemas: tuple[bytes, ...], mode: str, previous: bytes) -> None:
    """Head and number are zero together."""
    check_in = CheckIn(nonce, seq, b"h" * 32 if seq else bytes(32), 3, schemas, mode, previous)
    assert CheckIn.parse(check_in.encode()) == check_in


@given(st.dictionaries(st.from_regex(r"[a-z0-9_.]{1,64}", fullmatch=True), NUMBER, max_size=20))
def test_health_comes_back(counters: dict[str, int]) -> None:
    """Names and numbers."""
    assert Health.parse(Health(counters).encode()).counters == counters


@given(RECORDS, NUMBER, st.sampled_from(DestructionReason))
def test_a_destruction_receipt_comes_back(records: tuple[str, ...], number: int, reason: DestructionReason) -> None:
    """Records ascend."""
    receipt = DestructionReceipt(records, number, reason, 1, 2, 3)
    assert DestructionReceipt.parse(receipt.encode()) == receipt


@given(st.binary(max_size=1000))
def test_a_schema_comes_back(schema: bytes) -> None:
    """Byte for byte: its hash is taken over them."""
    assert SchemaBody.parse(SchemaBody(schema).encode()).schema == schema


@pytest.mark.parametrize(
    "value",
    [
        Gap(b"s" * 8, ()),
        Gap(b"short", (GapRange(1, 2, "evicted", 0),)),
        Gap(b"s" * 8, (GapRange(0, 2, "evicted", 0),)),
        Gap(b"s" * 8, (GapRange(1, 2, "evicted", 0), GapRange(2, 3, "evicted", 0))),
        Gap(b"s" * 8, tuple(GapRange(n, n, "evicted", 0) for n in range(1, 1026))),
        CheckIn(bytes(16), 0, bytes(32), 1),
        CheckIn(b"n" * 16, 1, bytes(32), 1),
        CheckIn(b"n" * 16, 0, bytes(32), 1, (b"b" * 16, b"a" * 16)),
        CheckIn(b"n" * 16, 0, bytes(32), 1, (b"a" * 16, b"a" * 16)),
        CheckIn(b"n" * 16, 0, bytes(32), 1, mode="sports"),
        Health({"Frames": 1}),
        Health({"frames": -1}),
        Health({str(n): n for n in range(257)}),
        DestructionReceipt((), 1, DestructionReason.ENDED, 1, 1, 1),
        DestructionReceipt(("rec_bad",), 1, DestructionReason.ENDED, 1, 1, 1),
    ],
    ids=str,
)
def test_what_would_be_refused_is_never_encoded(value: Gap | CheckIn | Health | DestructionReceipt) -> None:
    """The caller's fault."""
    with pytest.raises(LocalProtocolError):
        value.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_reason_and_never_with_another_exception(data: bytes) -> None:
    """Whatever a signed sender put into a box."""
    for parse in (Gap.parse, CheckIn.parse, Health.parse, DestructionReceipt.parse, SchemaBody.parse):
        with pytest.raises(FormatError):
            parse(data)
