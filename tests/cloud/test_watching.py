"""Whether the cloud is ready, and who may read its numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.errors import UnavailableError
from carnet_cloud.api import make_api
from carnet_cloud.config import load
from carnet_cloud.journal import Narrowing
from carnet_cloud.monitoring.readiness import FRESH_MS, Readiness, StoreProbe
from carnet_cloud.monitoring.watching import add_watching
from carnet_cloud.service import Service
from tests import consentkit as kit
from tests.cloud.kit import Cloud
from tests.cloud.test_alive import RECIPIENT
from tests.cloud.test_api import OPERATOR, TOKEN, Client, facts
from tests.cloud.test_commands import CONFIG, config

__all__ = ["config"]  # a fixture

READER = "a token that opens nothing but the metrics"
PARTS = {"store", "broker", "journal", "keys", "loops", "running"}


def watched(cloud: Cloud, parts: dict[str, Callable[[], bool]], *tokens: str) -> Client:
    api = make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell)
    add_watching(api, Readiness(parts), lambda accept: (b"carnet 1\n", "text/plain; version=0.0.4"), tokens)
    return Client(api)


def ready_unless(name: str, broken: list[str]) -> Callable[[], bool]:
    return lambda: name not in broken


def test_readyz_names_what_is_not_ready_and_nothing_else(tmp_path: Path) -> None:
    broken = ["broker", "keys"]
    parts = {name: ready_unless(name, broken) for name in sorted(PARTS)}
    client = watched(Cloud(tmp_path), parts)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"reason": "not_ready", "message": "not ready: broker, keys"},
    )
    broken.clear()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


def test_whoever_reaches_the_port_learns_states_and_no_number_and_costs_the_store_nothing(tmp_path: Path) -> None:
    """A count of what waits takes time that grows with it, and a withdrawal would wait for it."""
    cloud = Cloud(tmp_path)
    asked: list[str] = []
    client = watched(cloud, {"store": lambda: True, "broker": lambda: False})
    cloud.store._connection.set_trace_callback(asked.append)
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"store": True, "broker": False})
    assert client.get("/readyz").status_code == 503
    for headers in ({}, {"Authorization": f"Bearer {READER}"}):
        assert client.get("/v1/health", headers=headers).status_code == 401
    assert asked == []
    assert client.get("/v1/health", headers=OPERATOR).json() == facts()


def test_metrics_open_to_their_own_token_or_the_operators_and_to_no_other(tmp_path: Path) -> None:
    client = watched(Cloud(tmp_path), {}, TOKEN, READER)
    for headers in (OPERATOR, {"Authorization": f"Bearer {READER}"}):
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.text) == (200, "carnet 1\n")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for wrong in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {READER}x"}, {"Authorization": READER}):
        answer = client.get("/metrics", headers=wrong)
        assert (answer.status_code, answer.json()["reason"]) == (401, "metrics_token")


def test_without_a_token_in_the_configuration_nothing_opens_the_metrics(tmp_path: Path) -> None:
    client = watched(Cloud(tmp_path), {}, "", "")
    for headers in ({}, {"Authorization": "Bearer "}, OPERATOR):
        assert client.get("/metrics", headers=headers).status_code == 401


def test_the_metrics_token_opens_nothing_else(tmp_path: Path) -> None:
    client = watched(Cloud(tmp_path), {}, TOKEN, READER)
    answer = client.get("/v1/why", params={"path": "Vehicle.Speed"}, headers={"Authorization": f"Bearer {READER}"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "operator_token")


def test_a_store_that_was_not_written_lately_is_not_ready(tmp_path: Path) -> None:
    """Because writing failed, because it hangs, or because it was never tried; asking writes nothing."""
    cloud = Cloud(tmp_path)
    now_ms = [0.0]
    probe = StoreProbe(cloud.store, lambda: now_ms[0])
    assert not probe.is_fresh()
    probe.turn()
    before = cloud.counters()
    assert probe.is_fresh() and cloud.counters() == before
    now_ms[0] += FRESH_MS + 1
    assert not probe.is_fresh(), "it hangs"
    probe.turn()
    assert probe.is_fresh()
    pages = cloud.store._connection.execute("pragma page_count").fetchone()[0]
    cloud.store._connection.execute(f"pragma max_page_count = {pages}")
    with cloud.store.transaction() as t, pytest.raises(sqlite3.OperationalError):
        t.counters._db.execute("create table filler as select zeroblob(1000000)")
    cloud.store._connection.execute("pragma query_only = on")
    with pytest.raises(UnavailableError):
        probe.turn()
    assert not probe.is_fresh(), "it cannot be written"
    cloud.store._connection.execute("pragma query_only = off")
    probe.turn()
    assert probe.is_fresh()


def test_the_service_is_ready_part_by_part(config: Path) -> None:
    config.write_text(CONFIG + RECIPIENT)
    service = Service(load(config))
    try:
        readiness = service.parts.readiness

        def lacks() -> set[str]:
            return {name for name, ready in readiness.stands().items() if not ready}

        assert set(readiness.stands()) == PARTS
        assert lacks() == {"store", "broker", "journal"}
        service.parts.probe.turn()
        service.parts.link.connected.set()
        service.parts.consents.replay_journal()
        service._replayed = True
        assert lacks() == set()
        consents = service.parts.consents
        consents._journal.append(Narrowing(kit.RECORD_ID, "pause", "owner", 1))
        assert lacks() == {"journal"}, "a narrowing waits for its transaction"
        consents.replay_journal()
        assert lacks() == set()
        for key in (config.parent / "wrapping").glob("*.key"):
            key.unlink()
        service._loops.progress["keeper"] = -1000.0
        service.stop()
        assert lacks() == {"keys", "loops", "running"}
    finally:
        service.parts.store.close()
