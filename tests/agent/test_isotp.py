"""ISO-TP: messages come out whole, in order and in time, or not at all and counted."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode
from carnet_agent.frames import Frames
from carnet_agent.isotp import SIZE_BYTES_MAX, TIMEOUT_NS, Reassembler
from tests.agent.blocks import frames_of, per_frame, plan_of

# 7E8 is described as a single frame with its length byte, 7E9 and 18DAF110 by their payload, 200 is no diagnostics.
DBC = """
BO_ 2024 AsFrame: 8 X
 SG_ length : 7|8@0+ (1,0) [0|0] "" X
 SG_ service : 15|8@0+ (1,0) [0|0] "" X
 SG_ third : 31|8@0+ (1,0) [0|0] "" X

BO_ 2025 AsPayload: 40 X
 SG_ first : 0|8@1+ (1,0) [0|0] "" X
 SG_ last : 312|8@1+ (1,0) [0|0] "" X

BO_ 2564485392 Long: 200 X
 SG_ at150 : 1200|16@1+ (1,0) [0|0] "" X

BO_ 512 Ordinary: 8 X
 SG_ ordinary : 0|8@1+ (1,0) [0|0] "" X
"""


@pytest.fixture
def plan() -> Plan:
    """The plan that reassembles."""
    return plan_of(DBC, "isotp")


def segment(message: bytes) -> list[bytes]:
    """A sender after the standard: the frames of one message, padded as cars do."""
    if len(message) <= 7:
        return [bytes([len(message)]) + message.ljust(7, b"\x55")]
    frames = [bytes([0x10 | len(message) >> 8, len(message) & 0xFF]) + message[:6]]
    for number, start in enumerate(range(6, len(message), 7), 1):
        frames.append(bytes([0x20 | number % 16]) + message[start : start + 7].ljust(7, b"\xaa"))
    return frames


def feed(plan: Plan, rows: Sequence[tuple[int, bytes]], extended: bool = False) -> tuple[Reassembler, list[bytes]]:
    """(reassembler, payloads that come out)."""
    reassembler = Reassembler(plan)
    frames, kept = reassembler.feed(frames_of(rows, extended))
    assert len(kept) == len(frames)
    return reassembler, [bytes(row[:n]) for row, n in zip(frames.payload, frames.length.tolist(), strict=True)]


@pytest.mark.parametrize("size", [1, 6, 7, 8, 20, 62, 111, 240, 4095])
def test_a_message_of_any_length_comes_out_as_the_sender_put_it_in(plan: Plan, size: int) -> None:
    """Up to the bytes that the plan can use."""
    message = random.Random(size).randbytes(size)
    reassembler, found = feed(plan, [(0x7E9, frame) for frame in segment(message)])
    assert found == [message[: plan.width]]
    assert reassembler.counts == ({"single": 1} if size <= 7 else {"messages": 1})


def test_interleaved_senders_do_not_disturb_each_other(plan: Plan) -> None:
    """One message in progress per identifier; ordinary frames pass between them unchanged."""
    draw = random.Random(4)
    sent = {can_id: [draw.randbytes(draw.randrange(1, 41)) for _ in range(50)] for can_id in (0x7E8, 0x7E9)}
    queues = {
        can_id: [frame for message in messages for frame in segment(message)] for can_id, messages in sent.items()
    }
    queues[0x200] = [draw.randbytes(8) for _ in range(100)]
    rows = []
    while any(queues.values()):
        can_id = draw.choice([can_id for can_id, queue in queues.items() if queue])
        rows.append((can_id, queues[can_id].pop(0)))
    reassembler = Reassembler(plan)
    got: dict[int, list[bytes]] = {0x7E8: [], 0x7E9: [], 0x200: []}
    frames = frames_of(rows)
    for start in range(0, len(rows), 17):
        out, _ = reassembler.feed(frames.take(slice(start, start + 17)))
        for can_id, payload, length in zip(out.can_id.tolist(), out.payload, out.length.tolist(), strict=True):
            got[can_id].append(bytes(payload[:length]))
    assert got[0x7E9] == sent[0x7E9] and got[0x200] == [row[1] for row in rows if row[0] == 0x200]
    # Described with its length byte: that byte, then the message; a single frame keeps its padding.
    assert [found[1 : 1 + found[0]] for found in got[0x7E8]] == sent[0x7E8]


def test_the_message_stands_where_and_when_its_last_frame_was(plan: Plan) -> None:
    """Capture order stays capture order."""
    rows = [(0x200, b"\1"), *((0x7E9, frame) for frame in segment(bytes(20))), (0x200, b"\2")]
    frames, kept = Reassembler(plan).feed(frames_of(rows))
    assert kept.tolist() == [0, 3, 4] and frames.time_ns.tolist() == [0, 3000, 4000]
    assert frames.can_id.tolist() == [0x200, 0x7E9, 0x200]


def test_a_long_message_is_decoded_behind_the_first_eight_bytes(plan: Plan) -> None:
    """29-bit diagnostic identifiers too."""
    message = bytes(150) + b"\x34\x12" + bytes(48)
    frames, _ = Reassembler(plan).feed(frames_of([(0x18DAF110, frame) for frame in segment(message)], extended=True))
    assert {name: found[0] for name, found in per_frame(plan, decode(plan, frames), 1)[0].items()} == {"at150": 0x1234}


FIRST, SECOND, THIRD = segment(bytes(range(20)))
BAD = {
    "wrong_sequence": [FIRST, THIRD],
    "unexpected_consecutive": [SECOND],
    "interrupted": [FIRST, *segment(b"\1")],
    "bad_length": [b"\x00" + bytes(7)],
    "bad_length ": [b"\x08" + bytes(7)],
    "bad_length  ": [b"\x10\x06" + bytes(6)],
    "bad_length   ": [FIRST, SECOND[:5]],
    "bad_length    ": [FIRST[:7]],
    "oversize": [b"\x10\x00\x00\x00\x10\x00\x00\x00"],
    "unknown_frame_kind": [b"\x40" + bytes(7)],
    "unknown_frame_kind ": [b""],
    "flow_control": [b"\x30\x00\x00"],
    "incomplete": [FIRST, SECOND],
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_not_a_whole_message_is_dropped_and_counted(plan: Plan, reason: str) -> None:
    """With its reason; a good message afterwards is not harmed."""
    reassembler = Reassembler(plan)
    frames, _ = reassembler.feed(frames_of([(0x7E9, frame) for frame in BAD[reason]]))
    assert len(frames) == (1 if reason == "interrupted" else 0)
    if reason == "incomplete":
        reassembler.finish()
    assert reassembler.counts[reason.strip()] == 1
    good, _ = reassembler.feed(frames_of([(0x7E9, frame) for frame in (FIRST, SECOND, THIRD)]))
    assert bytes(good.payload[0, :20]) == bytes(range(20))


def test_a_message_that_was_interrupted_does_not_go_on(plan: Plan) -> None:
    """Its next consecutive frame belongs to nothing."""
    reassembler, found = feed(plan, [(0x7E9, frame) for frame in (FIRST, *segment(b"\1"), SECOND, THIRD)])
    assert found == [b"\1"] and reassembler.counts == {"interrupted": 1, "single": 1, "unexpected_consecutive": 2}


@pytest.mark.parametrize("pause_ns, whole", [(TIMEOUT_NS, 1), (TIMEOUT_NS + 1, 0), (-1, 0)])
def test_a_pause_longer_than_the_standard_allows_ends_the_message(plan: Plan, pause_ns: int, whole: int) -> None:
    """By the frames' own time; a clock that runs backwards ends it as well."""
    frames = frames_of([(0x7E9, frame) for frame in (FIRST, SECOND, THIRD)])
    frames.time_ns[:] = [0, pause_ns, pause_ns]
    reassembler = Reassembler(plan)
    found, _ = reassembler.feed(frames)
    assert len(found) == whole and reassembler.counts["timeout"] == 1 - whole


def test_a_can_fd_single_frame_has_its_length_in_the_second_byte(plan: Plan) -> None:
    """Up to 62 bytes in one frame."""
    _, found = feed(plan, [(0x7E9, b"\x00\x14" + bytes(range(20)) + bytes(2))])
    assert found == [bytes(range(20))]


def test_memory_is_bounded_by_the_largest_message(plan: Plan) -> None:
    """A first frame may announce 4 GB; nothing is kept for it."""
    reassembler = Reassembler(plan)
    for size in (SIZE_BYTES_MAX + 1, 2**32 - 1):
        reassembler.feed(frames_of([(0x7E9, b"\x10\x00" + size.to_bytes(4, "big") + bytes(2))]))
    assert reassembler.counts == {"oversize": 2}


def test_without_iso_tp_nothing_is_touched() -> None:
    """A plan matched by identifier transports nothing."""
    frames = frames_of([(0x7E9, FIRST), (0x200, b"\1")])
    found, kept = Reassembler(plan_of(DBC)).feed(frames)
    assert kept.tolist() == [0, 1] and np.array_equal(found.payload, frames.payload)
    assert isinstance(found, Frames)
