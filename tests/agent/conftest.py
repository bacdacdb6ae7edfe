"""An empty buffer in memory, for tests of one rule of it at a time."""

from __future__ import annotations

import sqlite3

import pytest

from carnet_agent.buffer import Buffer
from tests.agent.bufferkit import memory, opened


@pytest.fixture
def connection() -> sqlite3.Connection:
    return memory()


@pytest.fixture
def buffer(connection: sqlite3.Connection) -> Buffer:
    return opened(connection)
