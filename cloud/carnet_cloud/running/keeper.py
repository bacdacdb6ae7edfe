"""The cloud's housekeeping: what has ended or waited too long goes, and the wrapping keys change.

Law: no duty waits for another. One that fails is told and comes again at the next turn; all others are done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from carnet_cloud.consents import Consents
from carnet_cloud.core import Receiver
from carnet_cloud.histories import of_earlier_epochs
from carnet_cloud.ledger.accounts import day_accounts, end_expired
from carnet_cloud.replay import end_windows
from carnet_cloud.store import Store, Transaction
from carnet_cloud.wrapping import ROTATE_MS, Wrapping

AT_ONCE = 1000
"""Of what has ended or is over by itself, in one transaction."""
SPELL_MS = 3_000
"""How long a duty goes on that finds more of it: a thousand a turn would never end the days of a large fleet, and a
keeper that comes to nothing else for STALLED_S has the service started again.
"""

Duty = Callable[[], object]


class Keeper:
    """Does its duties in their order; ``failed`` is told the name of one that raised, and what."""

    def __init__(self, duties: Mapping[str, Duty], failed: Callable[[str, Exception], object]) -> None:
        self._duties = duties
        self._failed = failed

    def turn(self) -> bool:
        """Whether every duty was done."""
        done = True
        for name, duty in self._duties.items():
            try:
                duty()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other duties are done
                done = False
                self._failed(name, error)
        return done


def finish_sales(store: Store, consents: Consents) -> int:
    """End what stands of vehicles that have changed hands while no service ran (`carnet_cloud.enrol.enrol`); how many
    records. All vehicles are looked at: for a start, and seldom besides.
    """
    with store.transaction() as t:
        vehicles = [vehicle for vehicle in t.consents.sold() if of_earlier_epochs(t, vehicle)]
    return sum(consents.end_tenures(vehicle) for vehicle in vehicles)


def duties(
    store: Store,
    consents: Consents,
    receiver: Receiver,
    wrapping: Wrapping,
    now_ms: Callable[[], int],
    monotonic_ms: Callable[[], float],
    random: Callable[[int], bytes],
) -> dict[str, Duty]:
    """What there is to do, by name. ``random``: for the salts of accounts.

    The store is scrubbed after the keys have changed, so that no old one is left.
    """

    def all_of(some: Callable[[Transaction], int]) -> Duty:
        """AT_ONCE in a transaction, others come in between; what is left after SPELL_MS the next turn does."""

        def duty() -> None:
            started_ms, count = monotonic_ms(), AT_ONCE
            while count >= AT_ONCE and monotonic_ms() - started_ms < SPELL_MS:
                with store.transaction() as t:
                    count = some(t)

        return duty

    return {
        "endings": consents.finish_endings,
        "sales": _hourly(lambda: finish_sales(store, consents), monotonic_ms),
        "expired": all_of(lambda t: end_expired(t, random, now_ms(), AT_ONCE)),
        "accounts": all_of(lambda t: day_accounts(t, random, now_ms(), AT_ONCE)),
        "held": lambda: receiver.sweep(now_ms()),
        "windows": all_of(lambda t: end_windows(t, now_ms(), AT_ONCE)),
        "wrapping": _hourly(lambda: wrapping.rotate(store, now_ms()), monotonic_ms),
        "scrub": _hourly(store.scrub, monotonic_ms),
    }


def _hourly(duty: Duty, monotonic_ms: Callable[[], float]) -> Duty:
    """At the first turn and then once an hour; after a failure at the next turn."""
    done_ms: float | None = None

    def due() -> None:
        nonlocal done_ms
        now_ms = monotonic_ms()
        if done_ms is None or now_ms - done_ms >= ROTATE_MS:
            duty()
            done_ms = now_ms

    return due
