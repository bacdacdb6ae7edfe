"""What a group of messages is answered with: acknowledgements by stream, refusals, and what a check-in lacks.

Law: built inside the transaction, published only after it has committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from carnet.ack import NO_NONCE, RANGES_MAX, Ack
from carnet.bodies import CheckIn
from carnet.box import Prelude
from carnet.down import GrantSetMessage, Refusal, SealedMessage, seal_down, sign_ack
from carnet.grantsets import GENERATION_MAX
from carnet.growth import Growth
from carnet.keys import SigningKey
from carnet.keyset import KeySet
from carnet.topics import topic_down
from carnet_cloud.grantsets import grant_set_bytes
from carnet_cloud.intake import Arrived
from carnet_cloud.ledger.receipts import growth_of
from carnet_cloud.store import Transaction
from carnet_cloud.store.devices import Device
from carnet_cloud.store.ledger import StoredLog
from carnet_cloud.store.streams import Stream

Message = tuple[str, bytes]
SCAN_MAX = 8192


@dataclass(slots=True)
class _StreamAnswer:
    tenant: str
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
        self._logs: dict[str, StoredLog | None] = {}

    def acknowledge(self, arrived: Arrived) -> None:
        """This number is durable, or will be when the transaction commits."""
        self._of(arrived).seqs.add(arrived.key[2])

    def touch(self, arrived: Arrived) -> None:
        """The stream moved although this number is not acknowledged (it is refused)."""
        self._of(arrived)

    def refuse(self, arrived: Arrived, reason: str) -> None:
        """Refuse what was already noted as durable."""
        _, stream, seq = arrived.key
        self._of(arrived).seqs.discard(seq)
        self.seal(arrived.device, Refusal(stream, seq, arrived.envelope.manifest_hash, reason))

    def seal(self, device: Device, message: SealedMessage) -> None:
        self._sealed.append((device, message))

    def check_in(self, t: Transaction, arrived: Arrived, check_in: CheckIn, prelude: Prelude) -> bool:
        """Echo the nonce and send everything that differs; whether the grant set may.

        Under the last generation it may always: that number says nothing any more.

        A number beyond the unit's head is named too: a unit whose disk forgot it must not use it for anything else.
        """
        device, stream, _ = arrived.key
        answer = self._of(arrived)
        answer.seqs.update(t.streams.last_after(device, stream, check_in.head_seq))
        answer.nonce = check_in.nonce
        if check_in.key_set < self._key_set.version:
            self.seal(arrived.device, self._key_set)
        log = self._log(t, arrived.device.tenant)
        if log is not None and 0 < prelude.log_size < log.size:
            path = growth_of(t, log, prelude.log_size, log.size)
            self.seal(arrived.device, Growth(prelude.log_size, path, log.checkpoint))
        current = t.consents.generation(arrived.device.vehicle, arrived.device.epoch)
        if prelude.epoch != arrived.device.epoch or prelude.generation == current < GENERATION_MAX:
            return False
        self.seal(arrived.device, GrantSetMessage(grant_set_bytes(t, arrived.device.vehicle, arrived.device.epoch)))
        return True

    def close(self, t: Transaction, now_ms: int) -> list[Message]:
        """The signed messages of the whole group."""
        messages = []
        for (device, stream), answer in sorted(self._streams.items()):
            value = _advance(t, device, stream, now_ms)
            log = self._log(t, answer.tenant)
            head = (log.size, log.root) if log else ()
            for ranges in _ranges(sorted(answer.seqs)):
                ack = Ack(stream, value.watermark, value.head, now_ms, answer.nonce, ranges, *head)
                messages.append((topic_down(device), sign_ack(ack, device, self._key)))
        for to, message in self._sealed:
            sealed = seal_down(message, to.device, self._key, to.receive_key, self._random(32))
            messages.append((topic_down(to.device), sealed))
        return messages

    def log_size(self, t: Transaction, tenant: str) -> int:
        """How large the tenant's log is now."""
        log = self._log(t, tenant)
        return log.size if log else 0

    def _log(self, t: Transaction, tenant: str) -> StoredLog | None:
        if tenant not in self._logs:
            self._logs[tenant] = t.ledger.log(tenant)
        return self._logs[tenant]

    def _of(self, arrived: Arrived) -> _StreamAnswer:
        return self._streams.setdefault(arrived.key[:2], _StreamAnswer(arrived.device.tenant))


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
