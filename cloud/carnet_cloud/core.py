"""The receiver: envelopes in, events into the outbox, signed answers out; one group of messages is one transaction.

Law 5: an acknowledgement is returned only from a transaction that has committed, and names exactly what it made durable
or found durable. Pure of sockets, threads and clocks: the caller hands in time and publishes what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from carnet.bodies import CheckIn, DestructionReceipt, Gap, Health, SchemaBody
from carnet.down import Refusal, SchemaRequest
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import RemoteError, UnavailableError
from carnet.hashes import SCHEMA, digest
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet
from carnet.schema import Schema
from carnet_cloud.answers import Answers, Message
from carnet_cloud.boxes import OpenBox, SchemaMissing, open_boxes, read_boxes, schemas_of
from carnet_cloud.enqueue import Enqueuer, Outlet, TimeUnknown
from carnet_cloud.intake import Arrived, Seen, authenticate, replay
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.streams import Held
from carnet_cloud.timing import HOLD_MS, learn_anchor

STREAMS_MAX = 256
HELD_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class CloudKeys:
    """``seal``: every key that boxes may still be sealed to, by id; ``sign``: signs answers; ``public``:
    what devices hold.
    """

    seal: Mapping[bytes, BoxKey]
    sign: SigningKey
    public: KeySet


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A data envelope whose boxes are open and whose columns are still to be read."""

    arrived: Arrived
    boxes: list[tuple[OpenBox, Schema]]
    received_ms: int
    was_held: bool


class Receiver:
    """``process`` is called by one thread with whatever has come in since the last call."""

    def __init__(
        self,
        store: Store,
        keys: CloudKeys,
        outlet: Outlet,
        random: Callable[[int], bytes],
        saw: Callable[[bytes, int, int], None] = lambda *_: None,
    ) -> None:
        """``saw`` is told (vehicle, generation that its unit has, generation that is current) as boxes name them."""
        self._store = store
        self._saw = saw
        self._keys = keys
        self._outlet = outlet
        self._random = random

    def process(self, messages: Sequence[tuple[str, bytes]], now_ms: int) -> list[Message]:
        """Take a group of (topic, payload) in one transaction; the answers to publish, once it has committed.

        UnavailableError when the store cannot be written: then nothing of the group was taken and nothing is answered.
        """
        answers = Answers(self._keys.sign, self._keys.public, self._random)
        with self._store.transaction() as t:
            waiting: list[_Waiting] = []
            for topic, payload in messages:
                self._take(t, topic, payload, now_ms, answers, waiting)
            self._judge(t, Enqueuer(self._outlet, t), waiting, now_ms, answers)
            return answers.close(t, now_ms)

    def sweep(self, now_ms: int) -> int:
        """Destroy what has waited too long for its time; how many envelopes."""
        with self._store.transaction() as t:
            late = t.streams.held_past(now_ms, HELD_AT_ONCE)
            for held in late:
                t.streams.release(held.device, held.stream, held.seq)
            t.counters.add("held_destroyed", len(late))
            return len(late)

    # one message

    def _take(
        self, t: Transaction, topic: str, payload: bytes, now_ms: int, answers: Answers, waiting: list[_Waiting]
    ) -> None:
        t.counters.add("envelopes_received")
        try:
            arrived = authenticate(t, topic, payload)
        except RemoteError as error:
            # nobody knows who sent this: it is counted and gets no answer
            t.counters.add(f"refused_{error.reason}")
            return
        except UnavailableError as error:
            t.counters.add(f"deferred_{error.reason}")
            return
        try:
            self._open(t, arrived, now_ms, answers, waiting)
        except SchemaMissing as error:
            t.counters.add("deferred_schema_missing")
            answers.seal(arrived.device, SchemaRequest(error.hashes))
        except UnavailableError as error:
            t.counters.add(f"deferred_{error.reason}")
        except RemoteError as error:
            self._refuse(t, arrived, error.reason, answers)

    def _open(self, t: Transaction, arrived: Arrived, now_ms: int, answers: Answers, waiting: list[_Waiting]) -> None:
        header = arrived.envelope.header
        if header.seq == 0:
            self._check_in(t, arrived, now_ms, answers)
            return
        seen = replay(t, arrived)
        if seen is Seen.CLONE:
            t.devices.set_state(header.device, "quarantined")
            t.counters.add("quarantined_clone")
            return
        if seen is Seen.DUPLICATE:
            t.counters.add("duplicates")
            answers.acknowledge(arrived)
            return
        if t.streams.get(header.device, header.stream).watermark == 0 and t.streams.count(header.device) >= STREAMS_MAX:
            raise UnavailableError("streams_excess", "the device has begun too many streams")
        boxes = open_boxes(arrived.envelope, self._keys.seal)
        if header.type is EnvelopeType.DATA:
            schemas = schemas_of(t, header.device, boxes)
            waiting.append(_Waiting(arrived, list(zip(boxes, schemas, strict=True)), now_ms, False))
        else:
            self._note(t, arrived, boxes[0].body, now_ms)
        self._remember(t, arrived, answers)

    def _check_in(self, t: Transaction, arrived: Arrived, now_ms: int, answers: Answers) -> None:
        (box,) = open_boxes(arrived.envelope, self._keys.seal)
        check_in = CheckIn.parse(box.body)
        t.counters.add("check_ins")
        self._floor(t, arrived, box.prelude.epoch, box.prelude.generation)
        learn_anchor(t, arrived.device.device, [box], now_ms)
        answers.check_in(t, arrived, check_in, box.prelude.epoch, box.prelude.generation)

    def _note(self, t: Transaction, arrived: Arrived, body: bytes, now_ms: int) -> None:
        """The types that are not readings."""
        header = arrived.envelope.header
        if header.type is EnvelopeType.GAP:
            gap = Gap.parse(body)
            for each in gap.ranges:
                t.streams.name_gap(header.device, gap.stream, each.first, each.last)
                t.counters.add(f"lost_{each.reason}", each.samples)
        elif header.type is EnvelopeType.SCHEMA:
            document = SchemaBody.parse(body).schema
            Schema.parse(document)
            t.streams.add_schema(header.device, digest(SCHEMA, document), document)
        elif header.type is EnvelopeType.DESTRUCTION_RECEIPT:
            DestructionReceipt.parse(body)
            t.streams.report(header.device, "destruction", header.stream, header.seq, body, now_ms, keep=True)
        else:
            Health.parse(body)
            t.streams.report(header.device, "health", header.stream, header.seq, body, now_ms, keep=False)

    def _remember(self, t: Transaction, arrived: Arrived, answers: Answers) -> None:
        envelope = arrived.envelope
        t.streams.remember(*arrived.key, envelope.manifest_hash, envelope.header.prev)
        answers.acknowledge(arrived)

    def _refuse(self, t: Transaction, arrived: Arrived, reason: str, answers: Answers) -> None:
        """A good signature over what can never be read: say so, or the device would send it for ever."""
        t.counters.add(f"refused_{reason}")
        envelope = arrived.envelope
        if envelope.header.seq == 0:
            return
        t.streams.remember(*arrived.key, envelope.manifest_hash, envelope.header.prev)
        refusal = Refusal(envelope.header.stream, envelope.header.seq, envelope.manifest_hash, reason)
        answers.seal(arrived.device, refusal)
        answers.touch(arrived)

    # all data envelopes of the group together

    def _judge(
        self, t: Transaction, enqueuer: Enqueuer, waiting: list[_Waiting], now_ms: int, answers: Answers
    ) -> None:
        read = read_boxes([box for each in waiting for box in each.boxes])
        at = 0
        for each in waiting:
            boxes = read[at : at + len(each.boxes)]
            at += len(each.boxes)
            broken = [box for box in boxes if isinstance(box, RemoteError)]
            if broken:
                t.counters.add(f"refused_{broken[0].reason}")
                answers.refuse(each.arrived, broken[0].reason)
                continue
            good = [box for box in boxes if not isinstance(box, RemoteError)]
            if not good:
                t.counters.add("envelopes_empty")
                continue
            self._floor(t, each.arrived, good[0].prelude.epoch, good[0].prelude.generation)
            had = t.streams.anchor(each.arrived.device.device, good[0].prelude.boot_id)
            anchor = learn_anchor(t, each.arrived.device.device, [box for box, _ in each.boxes], each.received_ms)
            if anchor is None:
                self._hold(t, each, "no_anchor", good[0].prelude.boot_id)
                continue
            try:
                enqueuer.enqueue(each.arrived, good, anchor, each.received_ms, now_ms)
            except TimeUnknown as unknown:
                self._hold(t, each, str(unknown), good[0].prelude.boot_id)
                continue
            if each.was_held:
                t.streams.release(*each.arrived.key)
            if anchor != had:
                self._release(t, enqueuer, each.arrived, good[0].prelude.boot_id, now_ms, answers)

    def _hold(self, t: Transaction, each: _Waiting, reason: str, boot_id: bytes) -> None:
        """Keep the sealed envelope until its time is known; it is durable, so it is acknowledged."""
        if each.was_held:
            return
        t.counters.add(f"held_{reason}")
        device, stream, seq = each.arrived.key
        until_ms = each.received_ms + HOLD_MS
        t.streams.hold(Held(device, stream, seq, each.arrived.data, reason, each.received_ms, until_ms), boot_id)

    def _release(
        self, t: Transaction, enqueuer: Enqueuer, arrived: Arrived, boot_id: bytes, now_ms: int, answers: Answers
    ) -> None:
        """A better clock has come: judge again what waited for it."""
        again: list[_Waiting] = []
        for held in t.streams.held(arrived.device.device, boot_id, HELD_AT_ONCE):
            envelope = parse_envelope(held.envelope)
            boxes = open_boxes(envelope, self._keys.seal)
            schemas = schemas_of(t, held.device, boxes)
            once = Arrived(arrived.device, envelope, held.envelope)
            again.append(_Waiting(once, list(zip(boxes, schemas, strict=True)), held.received_ms, True))
        if again:
            self._judge(t, enqueuer, again, now_ms, answers)

    def _floor(self, t: Transaction, arrived: Arrived, epoch: int, generation: int) -> None:
        """A device has seen a higher generation than we know:
        our store was restored, so nothing of this vehicle goes out.
        """
        device = arrived.device
        if epoch != device.epoch:
            return
        current = t.consents.generation(device.vehicle, device.epoch)
        self._saw(device.vehicle, generation, current)
        if generation <= current:
            return
        for record in t.consents.records(device.vehicle, device.epoch):
            t.consents.set_silent(record.id, True)
        t.consents.raise_generation(device.vehicle, device.epoch, above=generation)
        t.counters.add("behind_floor")
