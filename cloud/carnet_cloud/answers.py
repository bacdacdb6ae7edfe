"""What a group of messages is answered with: acknowledgements by stream, refusals, and what a check-in lacks.

Law: built inside the transaction, published only after it has committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from carnet.ack import NO_NONCE, RANGES_MAX, Ack
from carnet.bodies import CheckIn
from carnet.down import GrantSetMessage, Refusal, SealedMessage, seal_down, sign_ack
from carnet.grantsets import GENERATION_MAX
from carnet.keys import SigningKey
from carnet.keyset import KeySet
from carnet.topics import topic_down
from carnet_cloud.grantsets import grant_set_bytes
from carnet_cloud.intake import Arrived
from carnet_cloud.store import Transaction
from carnet_cloud.store.devices import Device
from carnet_cloud.store.streams import Stream

Message = tuple[str, bytes]
SCAN_MAX = 8192


@dataclass(slots=True)
class _StreamAnswer:
    seqs: set[int] = field(default_factory=set)
    nonce: bytes = NO_NONCE
    advanced: bool = False


class Answers:
    """Collects while the group is taken; ``close`` moves the watermarks and signs."""

    def __init__(self, key: SigningKey, key_set: KeySet, random: Callable[[int], bytes]) -> None:
        self._key = key
        self._key_set = key_set
        self._random = random
        self._streams: dict[tuple[bytes, bytes], _StreamAnswer] = {}
        self._sealed: list[tuple[Device, SealedMessage]] = []

    def acknowledge(self, arrived: Arrived) -> None:
        """This number is durable, or will be when the transaction commits."""
        device, stream, seq = arrived.key
        self._of(device, stream).seqs.add(seq)

    def touch(self, arrived: Arrived) -> None:
        """The stream moved although this number is not acknowledged (it is refused)."""
        self._of(*arrived.key[:2])

    def refuse(self, arrived: Arrived, reason: str) -> None:
        """Refuse what was already noted as durable."""
        device, stream, seq = arrived.key
        self._of(device, stream).seqs.discard(seq)
        self.seal(arrived.device, Refusal(stream, seq, arrived.envelope.manifest_hash, reason))

    def seal(self, device: Device, message: SealedMessage) -> None:
        self._sealed.append((device, message))

    def check_in(self, t: Transaction, arrived: Arrived, check_in: CheckIn, epoch: int, generation: int) -> bool:
        """Echo the nonce and send everything that differs; whether the grant set may.

        Under the last generation it may always: that number says nothing any more.

        A number beyond the unit's head is named too: a unit whose disk forgot it must not use it for anything else.
        """
        device, stream, _ = arrived.key
        self._of(device, stream).seqs.update(t.streams.last_after(device, stream, check_in.head_seq))
        self._of(device, stream).nonce = check_in.nonce
        if check_in.key_set < self._key_set.version:
            self.seal(arrived.device, self._key_set)
        current = t.consents.generation(arrived.device.vehicle, arrived.device.epoch)
        if epoch != arrived.device.epoch or generation == current < GENERATION_MAX:
            return False
        self.seal(arrived.device, GrantSetMessage(grant_set_bytes(t, arrived.device.vehicle, arrived.device.epoch)))
        return True

    def close(self, t: Transaction, now_ms: int) -> list[Message]:
        """The signed messages of the whole group."""
        messages = []
        for (device, stream), answer in sorted(self._streams.items()):
            value = _advance(t, device, stream, now_ms)
            for ranges in _ranges(sorted(answer.seqs)):
                ack = Ack(stream, value.watermark, value.head, now_ms, answer.nonce, ranges)
                messages.append((topic_down(device), sign_ack(ack, device, self._key)))
        for to, message in self._sealed:
            sealed = seal_down(message, to.device, self._key, to.receive_key, self._random(32))
            messages.append((topic_down(to.device), sealed))
        return messages

    def _of(self, device: bytes, stream: bytes) -> _StreamAnswer:
        return self._streams.setdefault((device, stream), _StreamAnswer())


def _advance(t: Transaction, device: bytes, stream: bytes, now_ms: int) -> Stream:
    """Move the watermark over all that is known without a hole, numbers named in gaps included."""
    value = t.streams.get(device, stream)
    watermark, head = value.watermark, value.head
    known = dict(t.streams.seen_after(device, stream, watermark, SCAN_MAX))
    while True:
        following = watermark + 1
        if following in known:
            watermark, head = following, known[following]
            continue
        last = t.streams.gap_over(device, stream, following)
        if not last:
            break
        watermark, head = last, bytes(32)
    if watermark != value.watermark:
        value = Stream(watermark, head)
        t.streams.set(device, stream, value, now_ms)
        t.streams.forget_below(device, stream, watermark)
    return value


def _ranges(seqs: list[int]) -> list[tuple[tuple[int, int], ...]]:
    """Rising numbers as ranges, in pieces of at most RANGES_MAX; one empty piece if there are none."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return [tuple(ranges[at : at + RANGES_MAX]) for at in range(0, len(ranges), RANGES_MAX)] or [()]
