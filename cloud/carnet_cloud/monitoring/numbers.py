"""All numbers of the running cloud at one moment, under their metrics.

Law: a store that cannot be asked takes only its own numbers along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from carnet.errors import UnavailableError
from carnet.metrics import Family, Metric, families, family
from carnet_cloud.monitoring import metrics as of
from carnet_cloud.monitoring.readiness import Readiness
from carnet_cloud.store import Store


@dataclass(frozen=True, slots=True)
class Numbers:
    """``link``: (connected, dropped, failed) of the connection to the broker; ``failures``: of loops, since the start;
    ``leases``: (how many, since when the oldest in seconds).
    """

    store: Store
    recipients: Iterable[str]
    readiness: Readiness
    link: Callable[[], tuple[bool, int, int]]
    failures: Mapping[str, int]
    leases: Callable[[], tuple[int, float]]
    now_ms: Callable[[], int]

    def __call__(self) -> Iterator[Family]:
        yield from self._stored()
        connected, dropped, failed = self.link()
        leases, age_s = self.leases()
        yield family(of.FAILURES, {_loop_and_reason(name): n for name, n in _copy(self.failures)})
        yield family(of.READY, {(part,): ready for part, ready in self.readiness.stands().items()})
        single: tuple[tuple[Metric, float], ...] = (
            (of.CONNECTED, connected),
            (of.DROPPED, dropped),
            (of.BROKER_FAILED, failed),
            (of.LEASES, leases),
            (of.LEASE_AGE, age_s),
        )
        yield from (family(metric, {(): number}) for metric, number in single)

    def _stored(self) -> list[Family]:
        try:
            with self.store.transaction() as t:
                counted = dict(t.counters.all())
                queues = [t.waiting.queue(recipient) for recipient in self.recipients]
                held = t.waiting.held()
        except UnavailableError:
            return []
        now_ms = self.now_ms()
        ages: dict[tuple[str, ...], float] = {
            (q.recipient,): max(0, now_ms - q.oldest_ms) / 1000 if q.oldest_ms else 0 for q in queues
        }
        events: dict[tuple[str, ...], float] = {
            (q.recipient, state): getattr(q, state) for q in queues for state in ("queued", "leased")
        }
        return [
            *families(of.COUNTERS, counted, of.UNNAMED),
            family(of.OUTBOX, events),
            family(of.OLDEST, ages),
            family(of.HELD, {(): held}),
        ]


def _copy(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Other threads count meanwhile."""
    return list(counts.items())


def _loop_and_reason(name: str) -> tuple[str, str]:
    """The two sides of ``keeper expired: store_unavailable``."""
    loop, _, reason = name.partition(": ")
    return loop, reason
