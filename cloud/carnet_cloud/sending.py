"""Hand a leased group to its recipient, one event after another, and tell what became of each.

Law 3: an event is begun only while its lease is young, and written only past the lease's guard. What a group has not
begun by then, or when one of its records ends, is put back unsent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from carnet.schema import Schema
from carnet_cloud import rendering
from carnet_cloud.event import Payload, unpack
from carnet_cloud.lease import BEGIN_MS, Lease, Leases
from carnet_cloud.recipients.base import Event, Outcome, Recipient
from carnet_cloud.rendering import read, render
from carnet_cloud.store.outbox import Queued

READ_AT_ONCE = 16
"""Columns of so many events are in memory together: a payload of 300 bytes may hold 2 MB of them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased event, opened, with the lease that lets it go."""

    queued: Queued
    plain: bytes
    lease: Lease


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an event; ``failure`` is an error that nobody thought of."""

    queued: Queued
    outcome: Outcome
    failure: Exception | None = None


Content = tuple[Payload, list[rendering.Content]]


class Sender:
    """Sends one group. ``now_ms`` is the server's clock, ``monotonic_ms`` the one that leases are measured by."""

    def __init__(
        self,
        recipient: Recipient,
        leases: Leases,
        schema_of: Callable[[bytes], Schema],
        now_ms: Callable[[], int],
        monotonic_ms: Callable[[], float],
    ) -> None:
        self._recipient = recipient
        self._leases = leases
        self._schema_of = cache(schema_of)
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def send(self, group: Sequence[Taken]) -> list[Sent]:
        """One outcome for every event of the group, in its order. None of the leases is needed afterwards."""
        # the last of each record is held the longest: a cut of the record finds it
        last_of_record = {taken.queued.record: taken.lease for taken in group}
        sent: list[Sent] = []
        try:
            for taken, content in self._read(group):
                if self._is_late(group[0].lease, is_first=not sent) or any(e.over for e in last_of_record.values()):
                    break
                sent.append(self._hand_over(taken, content))
                self._leases.remove([taken.lease])
            sent = self._finish(sent)
        finally:
            self._leases.remove(taken.lease for taken in group)
        return [*sent, *(Sent(taken.queued, Outcome.UNSENT) for taken in group[len(sent) :])]

    def _is_late(self, lease: Lease, *, is_first: bool) -> bool:
        """Whether no event may be begun any more; the first always may, and has its lease renewed if need be."""
        return not is_first and self._monotonic_ms() - lease.started_ms >= BEGIN_MS

    def _read(self, group: Sequence[Taken]) -> Iterator[tuple[Taken, Content | Exception]]:
        """Every event with its columns, which are read some events at a time."""
        for at in range(0, len(group), READ_AT_ONCE):
            some = group[at : at + READ_AT_ONCE]
            yield from zip(some, self._contents(some), strict=True)

    def _contents(self, some: Sequence[Taken]) -> list[Content | Exception]:
        payloads = [_unpacked(taken.plain) for taken in some]
        good = [payload for payload in payloads if isinstance(payload, Payload)]
        columns = iter(read(good, self._schema_of))
        contents: list[Content | Exception] = []
        for payload in payloads:
            if isinstance(payload, Exception):
                contents.append(payload)
                continue
            batches = next(columns)
            contents.append(batches if isinstance(batches, Exception) else (payload, batches))
        return contents

    def _hand_over(self, taken: Taken, content: Content | Exception) -> Sent:
        """Send one event. One that cannot be sent waits like one that nobody took, and holds no other up."""
        if isinstance(content, Exception):
            return Sent(taken.queued, Outcome.RETRY, content)
        try:
            event = Event(taken.queued.event_id, render(*content))
            self._leases.begin(taken.lease)
            return Sent(taken.queued, self._recipient.send(event, taken.lease, self._now_ms() // 1000))
        except Exception as failure:  # noqa: BLE001 - whatever it is, the others of the group go on; it is raised later
            return Sent(taken.queued, Outcome.RETRY, failure)

    def _finish(self, sent: list[Sent]) -> list[Sent]:
        """The outcome of what was only written."""
        if not any(each.outcome is Outcome.WRITTEN for each in sent):
            return sent
        outcome, failure = Outcome.RETRY, None
        try:
            outcome = self._recipient.finish()
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        written = Outcome.WRITTEN
        return [replace(e, outcome=outcome, failure=failure) if e.outcome is written else e for e in sent]


def _unpacked(plain: bytes) -> Payload | Exception:
    try:
        return unpack(plain)
    except Exception as error:  # noqa: BLE001 - what it is does not matter: it must not stop the others
        return error
