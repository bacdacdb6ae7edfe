"""The receiver: envelopes in, events into the outbox, signed answers out; one group of messages is one transaction.

Law 5: an acknowledgement is returned only from a transaction that has committed, and names exactly what it made durable
or found durable. Pure of sockets, threads and clocks: the caller hands in time and publishes what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from carnet.bodies import CheckIn, DestructionReceipt, Gap, Health, SchemaBody
from carnet.box import Prelude
from carnet.down import Refusal, SchemaRequest
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError, RemoteError, UnavailableError
from carnet.hashes import SCHEMA, digest
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet
from carnet.narrowing import Mode
from carnet.schema import Schema
from carnet.topics import parse_up, shard_of
from carnet_cloud.answers import Answers, Message
from carnet_cloud.boxes import OpenBox, SchemaMissing, open_boxes, read_boxes, schemas_of
from carnet_cloud.enqueue import Enqueuer, Outlet
from carnet_cloud.floor import hold_floor, hold_log_floor
from carnet_cloud.intake import Arrived, Seen, authenticate, replay
from carnet_cloud.judging import TimeUnknown
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.devices import Device
from carnet_cloud.store.streams import Held
from carnet_cloud.timing import HOLD_MS, learn_anchor

ALL_SHARDS = range(256)
STREAMS_MAX = 256
HELD_AT_ONCE = 256
HELD_MAX = 1024
"""Envelopes of one device that may wait for their time."""
SCHEMA_BYTES_MAX = 1 << 26
"""Of all schemas of one device."""
BOXES_AT_ONCE = 16
"""Columns of so many boxes are in memory together: one box of 300 bytes may hold 2 MB of them."""
ANSWERS_MAX = 1 << 17
"""Questions to the gate (columns times records) in one envelope: a hundred times what a car asks."""


def all_shards(_: object = None) -> Collection[int]:
    """What a receiver serves that has its store for itself."""
    return ALL_SHARDS


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


@dataclass(slots=True)
class _Work:
    """What a group leaves to do: data to judge, and (device, boot id) of clocks that became better."""

    waiting: list[_Waiting] = field(default_factory=list)
    better_clocks: set[tuple[bytes, bytes]] = field(default_factory=set)


class Receiver:
    """``process`` is called by one thread with whatever has come in since the last call."""

    def __init__(
        self,
        store: Store,
        keys: CloudKeys,
        outlet: Outlet,
        random: Callable[[int], bytes],
        saw: Callable[[bytes, int, int], None] = lambda *_: None,
        behind: Callable[[bytes, int], None] = lambda *_: None,
        serving: Callable[[Transaction], Collection[int]] = all_shards,
    ) -> None:
        """``saw`` is told (vehicle, generation that its unit has, generation that is current) as boxes name them;
        ``behind`` (vehicle, now) when a check-in was answered with a grant set, which may get lost. ``serving`` gives
        the shards that are this receiver's in a transaction; what others serve is left to them.
        """
        self._store = store
        self._saw = saw
        self._behind = behind
        self._serving = serving
        self._keys = keys
        self._outlet = outlet
        self._random = random

    def process(self, messages: Sequence[tuple[str, bytes]], now_ms: int) -> list[Message]:
        """Take a group of (topic, payload) in one transaction; the answers to publish, once it has committed.

        UnavailableError when the store cannot be written: then nothing of the group was taken and nothing is answered.
        A message that fails in a way nobody thought of is set aside, without an answer, and takes no other with it.
        """
        try:
            return self._group(messages, now_ms)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - what it is does not matter: it must not stop the other messages
            if len(messages) > 1:
                half = len(messages) // 2
                return [*self.process(messages[:half], now_ms), *self.process(messages[half:], now_ms)]
            with self._store.transaction() as t:
                t.counters.add("failed_unexpected")
            return []

    def _group(self, messages: Sequence[tuple[str, bytes]], now_ms: int) -> list[Message]:
        answers = Answers(self._keys.sign, self._keys.public, self._random)
        with self._store.transaction() as t:
            messages = self._served(t, messages)
            t.others.keep_devices(_senders(messages))
            work = _Work()
            for topic, payload in messages:
                self._take(t, topic, payload, now_ms, answers, work)
            enqueuer = Enqueuer(self._outlet, t)
            for piece in _pieces(work.waiting):
                self._judge(t, enqueuer, piece, now_ms, answers, work)
            for device, boot_id in sorted(work.better_clocks):
                self._release(t, enqueuer, device, boot_id, now_ms, answers)
            return answers.close(t, now_ms)

    def _served(self, t: Transaction, messages: Sequence[tuple[str, bytes]]) -> Sequence[tuple[str, bytes]]:
        """Those of this receiver's shards. The others were its own when they came; their cars send them again."""
        shards = self._serving(t)
        if len(shards) == len(ALL_SHARDS):
            return messages
        served = [message for message in messages if shard_of(message[0]) in shards]
        t.counters.add("shard_of_another", len(messages) - len(served))
        return served

    def sweep(self, now_ms: int) -> int:
        """Destroy what has waited too long for its time; how many envelopes."""
        with self._store.transaction() as t:
            late = t.streams.held_past(now_ms, HELD_AT_ONCE)
            for held in late:
                t.streams.release(held.device, held.stream, held.seq)
            t.counters.add("held_destroyed", len(late))
            return len(late)

    # one message

    def _take(self, t: Transaction, topic: str, payload: bytes, now_ms: int, answers: Answers, work: _Work) -> None:
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
            self._open(t, arrived, now_ms, answers, work)
        except SchemaMissing as error:
            t.counters.add("deferred_schema_missing")
            answers.seal(arrived.device, SchemaRequest(error.hashes))
        except UnavailableError as error:
            t.counters.add(f"deferred_{error.reason}")
        except RemoteError as error:
            self._refuse(t, arrived, error.reason, now_ms, answers)

    def _open(self, t: Transaction, arrived: Arrived, now_ms: int, answers: Answers, work: _Work) -> None:
        header = arrived.envelope.header
        if header.seq == 0:
            self._check_in(t, arrived, now_ms, answers, work)
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
        self._require_room(t, arrived)
        boxes = open_boxes(arrived.envelope, self._keys.seal)
        # whatever comes of the rest, and before anything of the group is judged: how records stand is read once
        if boxes:
            self._floor(t, arrived, boxes[0].prelude, answers)
        if header.type is EnvelopeType.DATA:
            schemas = schemas_of(t, header.device, boxes)
            _require_bounds(boxes, schemas)
            work.waiting.append(_Waiting(arrived, list(zip(boxes, schemas, strict=True)), now_ms, False))
        else:
            self._note(t, arrived, boxes[0].body, now_ms)
        self._remember(t, arrived, now_ms)
        answers.acknowledge(arrived)

    def _require_room(self, t: Transaction, arrived: Arrived) -> None:
        """UnavailableError if the device keeps more open here than any honest one does: it has to wait."""
        device, stream, _ = arrived.key
        if not t.streams.is_begun(device, stream) and t.streams.count(device) >= STREAMS_MAX:
            raise UnavailableError("streams_excess", "the device has begun too many streams")
        if arrived.envelope.header.type is EnvelopeType.DATA and t.streams.held_count(device) >= HELD_MAX:
            raise UnavailableError("held_excess", "too much of the device waits here for its time")

    def _check_in(self, t: Transaction, arrived: Arrived, now_ms: int, answers: Answers, work: _Work) -> None:
        (box,) = open_boxes(arrived.envelope, self._keys.seal)
        check_in = CheckIn.parse(box.body)
        t.counters.add("check_ins")
        self._floor(t, arrived, box.prelude, answers)
        t.streams.set_mode(arrived.device.device, Mode(check_in.mode), now_ms)
        _, is_better = learn_anchor(t, arrived.device.device, [box], now_ms)
        if is_better:
            work.better_clocks.add((arrived.device.device, box.prelude.boot_id))
        if answers.check_in(t, arrived, check_in, box.prelude):
            self._behind(arrived.device.vehicle, now_ms)

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
            if t.streams.schema_bytes(header.device) + len(document) > SCHEMA_BYTES_MAX:
                raise RemoteError("schemas_excess", "the device has sent more schemas than any car has")
            t.streams.add_schema(header.device, digest(SCHEMA, document), document)
        elif header.type is EnvelopeType.DESTRUCTION_RECEIPT:
            DestructionReceipt.parse(body)
            t.streams.report(header.device, "destruction", header.stream, header.seq, body, now_ms, keep=True)
        else:
            Health.parse(body)
            t.streams.report(header.device, "health", header.stream, header.seq, body, now_ms, keep=False)

    def _remember(self, t: Transaction, arrived: Arrived, now_ms: int) -> None:
        envelope = arrived.envelope
        t.streams.begin(*arrived.key[:2], now_ms)
        t.streams.remember(*arrived.key, envelope.manifest_hash, envelope.header.prev)

    def _refuse(self, t: Transaction, arrived: Arrived, reason: str, now_ms: int, answers: Answers) -> None:
        """A good signature over what can never be read: say so, or the device would send it for ever."""
        t.counters.add(f"refused_{reason}")
        envelope = arrived.envelope
        if envelope.header.seq == 0:
            return
        self._remember(t, arrived, now_ms)
        refusal = Refusal(envelope.header.stream, envelope.header.seq, envelope.manifest_hash, reason)
        answers.seal(arrived.device, refusal)
        answers.touch(arrived)

    # all data envelopes of the group together

    def _judge(
        self, t: Transaction, enqueuer: Enqueuer, waiting: list[_Waiting], now_ms: int, answers: Answers, work: _Work
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
            device, boot_id = each.arrived.device.device, good[0].prelude.boot_id
            opened = [box for box, _ in each.boxes]
            anchor, is_better = learn_anchor(t, device, opened, each.received_ms)
            if is_better and not each.was_held:
                work.better_clocks.add((device, boot_id))
            if anchor is None:
                self._hold(t, each, "no_anchor", boot_id)
                continue
            try:
                enqueuer.enqueue(each.arrived, good, anchor, each.received_ms, now_ms)
            except TimeUnknown as unknown:
                self._hold(t, each, str(unknown), boot_id)
                continue
            if each.was_held:
                t.streams.release(*each.arrived.key)

    def _hold(self, t: Transaction, each: _Waiting, reason: str, boot_id: bytes) -> None:
        """Keep the sealed envelope until its time is known; it is durable, so it is acknowledged."""
        if each.was_held:
            return
        t.counters.add(f"held_{reason}")
        device, stream, seq = each.arrived.key
        until_ms = each.received_ms + HOLD_MS
        t.streams.hold(Held(device, stream, seq, each.arrived.data, reason, each.received_ms, until_ms), boot_id)

    def _release(
        self, t: Transaction, enqueuer: Enqueuer, device: bytes, boot_id: bytes, now_ms: int, answers: Answers
    ) -> None:
        """A better clock has come: judge again what waited for it."""
        known, after = t.devices.get(device), (b"", 0)
        while known and (some := t.streams.held(device, boot_id, after, HELD_AT_ONCE)):
            after = some[-1].stream, some[-1].seq
            again = [each for each in (self._held_again(t, known, held) for held in some) if each is not None]
            for piece in _pieces(again):
                self._judge(t, enqueuer, piece, now_ms, answers, _Work())

    def _held_again(self, t: Transaction, device: Device, held: Held) -> _Waiting | None:
        """A held envelope, opened once more; None if its key has gone meanwhile: then it waits on."""
        envelope = parse_envelope(held.envelope)
        try:
            boxes = open_boxes(envelope, self._keys.seal)
            schemas = schemas_of(t, held.device, boxes)
        except UnavailableError:
            return None
        arrived = Arrived(device, envelope, held.envelope)
        return _Waiting(arrived, list(zip(boxes, schemas, strict=True)), held.received_ms, True)

    def _floor(self, t: Transaction, arrived: Arrived, prelude: Prelude, answers: Answers) -> None:
        """A device has seen a higher generation or a larger log than we know: our store was restored, so nothing of
        this vehicle goes out.
        """
        device = arrived.device
        if prelude.epoch != device.epoch:
            return
        self._saw(device.vehicle, prelude.generation, t.consents.generation(device.vehicle, device.epoch))
        hold_floor(t, device.vehicle, device.epoch, prelude.generation)
        if prelude.log_size > answers.log_size(t, device.tenant):
            hold_log_floor(t, device.vehicle, device.epoch, prelude.log_size)


def _senders(messages: Sequence[tuple[str, bytes]]) -> set[bytes]:
    """The devices whose topics these are; a topic of another form is refused in its turn."""
    found = set()
    for topic, _ in messages:
        with suppress(FormatError):
            found.add(parse_up(topic))
    return found


def _pieces(waiting: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Envelopes in their order, together at most BOXES_AT_ONCE boxes, or one envelope."""
    piece: list[_Waiting] = []
    count = 0
    for each in waiting:
        if piece and count + len(each.boxes) > BOXES_AT_ONCE:
            yield piece
            piece, count = [], 0
        piece.append(each)
        count += len(each.boxes)
    if piece:
        yield piece


def _require_bounds(boxes: Sequence[OpenBox], schemas: Sequence[Schema]) -> None:
    """RemoteError for what no honest unit sends, and what would cost or break more than its own data."""
    questions = (len(schema.columns) * len(box.prelude.records) for box, schema in zip(boxes, schemas, strict=True))
    if sum(questions) > ANSWERS_MAX:
        raise RemoteError("envelope_cost", "the envelope asks for too many columns under too many records")
