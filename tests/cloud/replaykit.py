"""A recipient that has been sent events of two records, and may ask for them again.

The fixture is imported by name into the files that use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from carnet.ids import format_id
from carnet_cloud.forward import Forwarder
from carnet_cloud.recipients import Recipient
from carnet_cloud.replay import Replaying, Report
from carnet_cloud.statement import statement_of
from tests import consentkit as kit
from tests.cloud.forwardkit import OTHER, Listener, make_forwarder
from tests.cloud.kit import VEHICLE, Cloud, Unit

WINDOW_MS = 6 * 3_600_000
OFFER = kit.offer_bytes(replay_ms=WINDOW_MS)
INSURER = format_id("rcp_", b"an insurer")


@dataclass
class Shop:
    """A cloud with one recipient that has been sent some events of two records, and may ask for them again."""

    cloud: Cloud
    unit: Unit
    tokens: dict[str, str]
    listener: Listener = field(default_factory=Listener)

    def __post_init__(self) -> None:
        self.forwarder: Forwarder = make_forwarder(self.cloud, self.listener)
        self.replaying = Replaying(self.cloud.store, self.cloud.book.standing, self.cloud.clock.now_ms)

    def send(self, count: int, *records: str) -> None:
        """Envelopes a second apart, forwarded until nothing is due."""
        for _ in range(count):
            self.cloud.clock.ms += 1000
            self.cloud.send(self.unit.data(records=records or (kit.RECORD_ID,)))
        self.forward()

    def forward(self, adapter: Recipient | None = None) -> None:
        forwarder = make_forwarder(self.cloud, adapter) if adapter else self.forwarder
        while forwarder.step(kit.RECIPIENT):
            pass

    def ask(self, first: bytes | None = None) -> Report:
        return self.replaying.ask(kit.RECIPIENT, (self.listener.got[0] if first is None else first).hex())

    def report(self) -> Report:
        found = self.replaying.report(kit.RECIPIENT)
        parts = found.sent + found.waiting + sum(found.blocked.values()) + found.destroyed + found.refused
        assert found.asked == parts + found.unknown
        return found

    def happen(self, kind: str, record: str = kit.RECORD_ID) -> None:
        entry = kit.event(kind, [self.tokens[record]], self.cloud.clock.ms, record=record)
        self.cloud.consents.event(entry, record)

    def count(self, which: str) -> int:
        """How many rows of the outbox are so."""
        with self.cloud.store.transaction() as t:
            return int(t.counters._db.execute(f"select count(*) from outbox where {which}").fetchone()[0])

    def statement(self, record: str = kit.RECORD_ID) -> dict[str, Any]:
        with self.cloud.store.transaction() as t:
            found = statement_of(t, VEHICLE, (1,), self.cloud.clock.ms)
        return next(each for each in found["records"] if each["record"] == record)


def opened(folder: Path, offer: bytes) -> Shop:
    cloud, unit = Cloud(folder, recipients=(kit.RECIPIENT, INSURER)), Unit()
    cloud.enrol(unit)
    cloud.offers.publish(offer)
    tokens = {record: kit.token(offer, id=record) for record in (kit.RECORD_ID, OTHER)}
    for token in tokens.values():
        cloud.consents.give(token, kit.VEHICLE)
    cloud.send(unit.schema())
    return Shop(cloud, unit, tokens)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return opened(tmp_path, OFFER)
