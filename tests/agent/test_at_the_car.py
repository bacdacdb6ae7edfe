"""What somebody at the car sets over the local socket: the block read after the command returned has nothing of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet.errors import Error
from carnet.narrowing import Ceiling
from carnet.signals import Category, Sensitivity
from carnet_agent.bus.reader import BusCounters
from carnet_agent.ceilings import NOTHING, ceiling_of, document_of, stored
from carnet_agent.frames import Frames
from carnet_agent.instant import Instant
from carnet_agent.local import LocalServer, ask
from carnet_agent.service import Service
from tests.agent.agentkit import START_MS, Rig, grants
from tests.agent.test_service import FakeLink
from tests.cloud.kit import NOW_MS

ANSWER_S = 30.0


class Bus:
    """An adapter without filters of its own: each read is a second of everything that the car sends."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.counters = BusCounters()
        self.fault: str | None = None
        self.identifiers: Any = None

    def read(self, now: Instant) -> Frames:
        self.rig.boot_ms += 1000
        block = self.rig._source.frames_until(self.rig.boot_ms - START_MS)
        return Frames(
            block.bus,
            block.can_id,
            block.extended.astype(np.uint8),
            block.length,
            block.payload,
            block.time_ns + START_MS * 1_000_000,
        )

    def set_identifiers(self, identifiers: Any) -> None:
        self.identifiers = identifiers

    def close(self) -> None:
        return


class Unit:
    """A running agent with its local socket, one grant of speed and distance in force."""

    def __init__(self, state: Path, rig: Rig) -> None:
        self.rig = rig
        self.state = state
        rig.synchronised = True
        rig.start()
        rig.grant(grants())
        self.bus = Bus(rig)
        self.service = Service(rig.agent, {"can0": self.bus}, FakeLink(), lambda _: rig.moment())

    def drain(self) -> int:
        """Read the next block and close the window behind it; how many samples were kept of that."""
        before = self.rig.count("samples_waiting")
        self.service.drain()
        self.service.handle({"do": "flush"})
        return self.rig.count("samples_waiting") - before

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Over the socket, as a command does; the agent's thread waits in `step` as in its loop."""
        answers: list[dict[str, Any] | Error] = []

        def client() -> None:
            try:
                answers.append(ask(self.state, request, ANSWER_S))
            except Error as error:
                answers.append(error)

        server = LocalServer(self.state, self.service.handle)
        server.open()
        thread = threading.Thread(target=client)
        thread.start()
        while thread.is_alive():
            server.step(0.01)
        server.close()
        (answer,) = answers
        if isinstance(answer, Error):
            raise answer
        return answer


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path, Rig(NOW_MS))


def lowered(**changes: Any) -> dict[str, Any]:
    return {"do": "ceiling", "ceiling": document_of(Ceiling()) | changes}


NARROWINGS = {
    "off": {"do": "mode", "mode": "off"},
    "guest": {"do": "mode", "mode": "guest"},
    "no category": lowered(categories=[]),
    "another category": lowered(categories=["comfort"]),
    "low sensitivity": lowered(sensitivity="low"),
}


@pytest.mark.parametrize("request_", NARROWINGS.values(), ids=NARROWINGS)
def test_the_block_read_after_the_command_returned_has_nothing_that_it_forbids(
    unit: Unit, request_: dict[str, Any]
) -> None:
    """Also what the adapter had heard before; and the bus is asked for it no more."""
    assert unit.drain() > 0
    assert unit.drain() > 0
    unit.ask(request_)
    assert unit.bus.identifiers == ()
    for _ in range(3):
        assert unit.drain() == 0
    assert unit.rig.agent._collector.wanted.tolist() == []


def test_a_least_interval_thins_from_the_next_block_on(unit: Unit) -> None:
    assert min(unit.drain() for _ in range(5)) > 0
    unit.ask(lowered(interval_ms_min=dict.fromkeys(map(str, Category), 60_000)))
    assert sum(unit.drain() for _ in range(10)) <= 2


def test_a_ceiling_lasts_over_starts_and_is_taken_back_at_the_car(unit: Unit) -> None:
    unit.ask(lowered(categories=[]))
    unit.rig.start()
    assert unit.rig.agent.ceiling.categories == frozenset()
    assert unit.rig.identifiers == {"can0": ()}
    unit.service = Service(unit.rig.agent, {"can0": unit.bus}, FakeLink(), lambda _: unit.rig.moment())
    answer = unit.ask({"do": "ceiling", "ceiling": None})
    assert answer["ceiling"] == document_of(Ceiling())
    assert unit.drain() > 0


def test_no_command_gets_above_the_configuration(tmp_path: Path) -> None:
    """The configuration's is the highest there is; a category that it leaves out nobody brings back."""
    configured = Ceiling(frozenset({Category.ENERGY}), Sensitivity.LOW)
    unit = Unit(tmp_path, Rig(NOW_MS, ceiling=configured))
    for request in (lowered(), lowered(categories=["driving", "energy"]), {"do": "ceiling", "ceiling": None}):
        unit.ask(request)
        assert unit.rig.agent.ceiling == configured
        assert unit.drain() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        "all",
        document_of(Ceiling()) | {"categories": ["everything"]},
        document_of(Ceiling()) | {"categories": "driving"},
        document_of(Ceiling()) | {"sensitivity": 3},
        document_of(Ceiling()) | {"interval_ms_min": {"driving": 0}},
        document_of(Ceiling()) | {"interval_ms_min": {"driving": True}},
        document_of(Ceiling()) | {"interval_ms_min": {"all": 1}},
        document_of(Ceiling()) | {"interval_ms_min": []},
        document_of(Ceiling()) | {"more": 1},
    ],
    ids=str,
)
def test_a_ceiling_that_cannot_be_read_changes_nothing(unit: Unit, wrong: object) -> None:
    before = unit.rig.agent.ceiling
    with pytest.raises(Error):
        unit.ask({"do": "ceiling", "ceiling": wrong})
    assert unit.rig.agent.ceiling == before


def test_a_ceiling_comes_back_from_the_disk_and_a_damaged_one_lets_nothing_through() -> None:
    ceiling = Ceiling(frozenset({Category.ENERGY}), Sensitivity.PERSONAL, {Category.ENERGY: 5})
    assert ceiling_of(document_of(ceiling)) == ceiling
    assert stored(None) == Ceiling()
    assert stored(b"{") == NOTHING
