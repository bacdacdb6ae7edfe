"""Fixtures of the cases inside the guest: a reader of vcan0 that wants everything, and a peer on the same bus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from carnet_agent.bus.socketcan import CanInterface, SocketReader
from carnet_agent.instant import Instant
from tests.system.guest.vcan import INTERFACE, Peer


@pytest.fixture
def peer() -> Iterator[Peer]:
    node = Peer()
    yield node
    node.close()


@pytest.fixture
def reader() -> Iterator[SocketReader]:
    opened = SocketReader(CanInterface(INTERFACE), bus=0)
    opened.set_identifiers(None)
    opened.read(Instant.now())
    assert opened.fault is None
    yield opened
    opened.close()
