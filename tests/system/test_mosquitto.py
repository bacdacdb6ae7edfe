"""The broker as we ship it: who may write and read which topic, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from tests.system.mosquitto import Mosquitto


def test_a_plain_broker_comes_back_on_its_port_after_a_kill(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        port = broker.port
        broker.kill()
        broker.start()
        assert broker.port == port
