"""Two and four receivers on one PostgreSQL behind a real Mosquitto: an owner withdraws, one is stopped and started
again under load, and one is killed.
Of the four one is frozen too, until the others have taken its shards, and then goes on.

Each is a process of its own. Nothing that a car sent is lost, nothing is forwarded under a second id, the shards of the
dead are served again within five seconds, and nothing goes out under a record once its withdrawal has returned.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from carnet_cloud.recipients.base import GROUP_MAX
from tests.store.backends import OnPostgres
from tests.system.mosquitto import Mosquitto
from tests.system.postgres import Postgres
from tests.system.receivers import CARS, Cars, Receivers, Recipient, keys_of, until

TAKE_OVER_S: Final = 5.0
LOAD_S: Final = 1.0


@dataclass
class Ordeal:
    """What was done and what came of it. Times are time.monotonic()."""

    cars: Cars
    got: list[tuple[float, str]]
    withdrawn_at: float = 0.0
    ended: dict[str, Any] = field(default_factory=dict)
    restarted_at: float = 0.0
    """When one had been stopped and started again, and every car had been answered since."""
    killed_at: float = 0.0
    take_over_s: float = 0.0
    answered_s: float = 0.0
    codes: list[int] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    thawed: bool = False
    """Whether one of them was frozen, lost its shards and has its share again."""
    left: int = 0
    """Receivers that the store still knows after all have ended."""

    @property
    def expected(self) -> set[str]:
        """The events of all records but the withdrawn one."""
        return {name for car in self.cars.cars[1:] for name in car.events}


@pytest.fixture(scope="module", params=[2, 4])
def ordeal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Ordeal]:
    folder = tmp_path_factory.mktemp("receivers")
    with ExitStack() as ends:
        broker = ends.enter_context(Mosquitto(folder))
        recipient = ends.enter_context(Recipient())
        receivers = Receivers(folder, OnPostgres(postgres), broker, request.param, recipient.port)
        ends.callback(receivers.close)
        ends.enter_context(keys_of(folder))
        cars = Cars(broker.port, receivers.enrol())
        ends.callback(cars.close)
        receivers.start()
        found = Ordeal(cars, recipient.got)
        torment(receivers, found)
        yield found


def torment(receivers: Receivers, found: Ordeal) -> None:
    """Load, a withdrawal, a kill, and then everything to its end."""
    cars = found.cars
    cars.begin()
    time.sleep(LOAD_S)
    found.ended = receivers.withdraw(1, cars.cars[0])
    found.withdrawn_at = time.monotonic()
    time.sleep(LOAD_S)
    found.codes = [receivers.restart(1)]
    at = time.monotonic()
    until(lambda: cars.answered_since(at), receivers.logs)
    found.restarted_at = time.monotonic()
    receivers.kill(0)
    found.killed_at = time.monotonic()
    found.take_over_s = until(lambda: receivers.shared() == len(receivers.programs), receivers.logs)
    until(lambda: cars.answered_since(found.killed_at), receivers.logs)
    found.answered_s = time.monotonic() - found.killed_at
    if len(receivers.programs) > 1:
        freeze(receivers, found)
    cars.sending.clear()
    until(lambda: cars.open() == 0, receivers.logs)
    until(lambda: found.expected <= {name for _, name in found.got}, receivers.logs)
    until(lambda: not receivers.health(1)["outbox"], receivers.logs)
    rows = receivers.place.rows("select outcome, count(*) from delivery group by outcome")
    found.outcomes = Counter({str(outcome): int(count) for outcome, count in rows})
    found.codes += receivers.stop()
    ((left,),) = receivers.place.rows("select count(*) from receiver")
    found.left = int(left)


def freeze(receivers: Receivers, found: Ordeal) -> None:
    """Stop the first that lives for longer than the others believe it, and let it go on behind its own back."""
    frozen, living = min(receivers.programs), len(receivers.programs)
    receivers.programs[frozen].send_signal(signal.SIGSTOP)
    until(lambda: receivers.shared() == living - 1, receivers.logs)
    at = time.monotonic()
    until(lambda: found.cars.answered_since(at), receivers.logs)
    receivers.programs[frozen].send_signal(signal.SIGCONT)
    until(lambda: receivers.shared() == living, receivers.logs)
    at = time.monotonic()
    until(lambda: found.cars.answered_since(at), receivers.logs)
    found.thawed = True


@pytest.mark.timeout(120)
def test_the_shards_of_a_killed_receiver_are_served_again_within_five_seconds(ordeal: Ordeal) -> None:
    assert ordeal.take_over_s < TAKE_OVER_S
    print(f"shards taken over after {ordeal.take_over_s:.2f} s, every car answered after {ordeal.answered_s:.2f} s")


def test_nothing_is_lost(ordeal: Ordeal) -> None:
    """Every envelope is acknowledged, and every event that it makes has come."""
    names = {name for _, name in ordeal.got}
    assert all(set(car.acknowledged) >= set(car.events.values()) for car in ordeal.cars.cars)
    assert ordeal.expected - names == set()
    assert len(ordeal.expected) > CARS * 10


def test_nothing_comes_under_a_second_id_and_only_what_was_in_the_air_comes_again(ordeal: Ordeal) -> None:
    """An event whose answer the killed receiver could not write down is sent again with its id."""
    known = {name for car in ordeal.cars.cars for name in car.events}
    names = Counter(name for _, name in ordeal.got)
    assert set(names) - known == set()
    repeated = [name for name, count in names.items() if count > 1]
    # a group of the one that was killed, and of the one that was frozen
    assert len(repeated) <= GROUP_MAX * (1 + ordeal.thawed)
    first = {name: at for at, name in reversed(ordeal.got)}
    assert ordeal.thawed or [name for name in repeated if first[name] > ordeal.killed_at] == []
    whole = [name for at, name in ordeal.got if at < ordeal.restarted_at]
    assert len(whole) == len(set(whole)), "a receiver that is stopped leaves nothing in the air"
    assert max(names.values()) <= 2 + ordeal.thawed


def test_nothing_goes_out_once_a_withdrawal_has_returned(ordeal: Ordeal) -> None:
    """From no receiver, although its car sends on; before it, something had."""
    times = [at for at, name in ordeal.got if name in ordeal.cars.cars[0].events]
    assert times
    assert max(times) < ordeal.withdrawn_at
    assert ordeal.ended["state"] == "withdrawn"
    assert max(ordeal.cars.cars[0].acknowledged.values()) > ordeal.withdrawn_at


def test_the_books_say_what_came(ordeal: Ordeal) -> None:
    confirmed = ordeal.outcomes["confirmed"]
    names = {name for _, name in ordeal.got}
    assert len(ordeal.expected) <= confirmed <= len(names)
    assert set(ordeal.outcomes) <= {"confirmed", "unknown", "destroyed"}


def test_receivers_that_are_stopped_give_their_shards_back(ordeal: Ordeal) -> None:
    assert set(ordeal.codes) == {0}
    assert ordeal.left == 0
