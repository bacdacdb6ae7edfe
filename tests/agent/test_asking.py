"""What a unit says that has saved rows of which it is not certain: a check-in for each stream, and then the rest."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from carnet.ack import NO_HASH
from carnet.bodies import CheckIn
from carnet.box import open_box
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet_agent.buffer import Buffer, Priority
from carnet_agent.buffer.rows import Saved
from carnet_agent.sending.contact import RETRY_FIRST_MS
from tests.agent.agentkit import SIGN, Rig, answer
from tests.agent.bufferkit import CUT, box, memory, waiting
from tests.cloud.kit import DEVICE, NOW_MS, SEAL


@dataclass
class Old:
    """A stream of three envelopes, of which the first two were offered and the last two are saved."""

    seed: int

    def __post_init__(self) -> None:
        buffer = Buffer(memory(), DEVICE, SIGN, random.Random(self.seed).randbytes)
        for _ in range(3):
            buffer.add(EnvelopeType.SCHEMA, Priority.KEEP, CUT, [box()])
        self.stream, self.rows = buffer.stream, waiting(buffer)
        self.head = parse_envelope(self.rows[1].envelope).manifest_hash
        self.saved = [Saved(row.envelope, row.priority, row.samples, (), row.seq < 3) for row in self.rows[1:]]


@pytest.fixture
def old() -> list[Old]:
    """Two of them, in the order in which they are asked for."""
    return sorted((Old(1), Old(2)), key=lambda each: each.stream)


@pytest.fixture
def rig(old: list[Old]) -> Rig:
    rig = Rig(NOW_MS)
    rig.start()
    rig.agent._buffer.adopt([one for each in old for one in each.saved], {}, 1)
    return rig


def asked(check_in: bytes) -> tuple[bytes, int, bytes]:
    """The stream, its head's number and hash."""
    envelope = parse_envelope(check_in)
    assert envelope.header.seq == 0
    body = CheckIn.parse(open_box(envelope.parts[0].box or b"", SEAL, envelope.place(0))[1])
    return envelope.header.stream, body.head_seq, body.head


def test_each_stream_is_asked_for_then_our_own_and_only_then_rows_are_sent(rig: Rig, old: list[Old]) -> None:
    """Without a pause, if the cloud answers; and what an answer acknowledges is not freed before."""
    rig.connect()
    for each in old:
        (check_in,) = rig.take()
        assert asked(check_in) == (each.stream, 2, each.head)
        rig.hear(answer(check_in, server_ms=rig.wall_ms, ranges=((2, 2),)))
        assert rig.count("rows_acknowledged") == 0
    (check_in,) = rig.take()
    assert asked(check_in) == (rig.agent._buffer.stream, 0, NO_HASH)
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    assert {row.envelope for each in old for row in each.rows[1:]} <= set(rig.take())


def test_an_answer_that_names_another_stream_is_none(rig: Rig, old: list[Old]) -> None:
    """Our own, for one: with it all would be taken for certain."""
    rig.connect()
    (check_in,) = rig.take()
    for stream in (rig.agent._buffer.stream, old[1].stream):
        rig.hear(answer(check_in, server_ms=rig.wall_ms, stream=stream))
        assert rig.take() == []
    rig.pass_time(RETRY_FIRST_MS)
    assert [asked(each)[0] for each in rig.take()] == [old[0].stream]


def test_a_disk_that_does_not_take_the_answer_is_asked_again(rig: Rig, old: list[Old]) -> None:
    rig.connect()
    (check_in,) = rig.take()
    rig.buffer_db.execute("pragma query_only = on")
    rig.hear(answer(check_in, server_ms=rig.wall_ms, watermark=3, head=b"f" * 32))
    rig.buffer_db.execute("pragma query_only = off")
    assert rig.take() == []
    rig.pass_time(RETRY_FIRST_MS)
    (check_in,) = rig.take()
    assert asked(check_in)[0] == old[0].stream
    rig.hear(answer(check_in, server_ms=rig.wall_ms, watermark=3, head=b"f" * 32))
    assert [asked(each)[0] for each in rig.take()] == [old[1].stream]
    assert [row.seq for row in waiting(rig.agent._buffer) if row.stream == old[0].stream] == []


def test_a_connection_that_breaks_begins_with_what_is_still_to_be_asked(rig: Rig, old: list[Old]) -> None:
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    rig.take()
    rig.connect(False)
    rig.connect()
    assert [asked(each)[0] for each in rig.take()] == [old[1].stream]
