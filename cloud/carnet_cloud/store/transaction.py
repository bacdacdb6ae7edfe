"""The tables by noun, all inside one open transaction."""

from __future__ import annotations

from dataclasses import dataclass

from carnet_cloud.store.blocks import Blocks
from carnet_cloud.store.consents import Consents
from carnet_cloud.store.counters import Counters
from carnet_cloud.store.database import Database
from carnet_cloud.store.devices import Devices
from carnet_cloud.store.outbox import Outbox
from carnet_cloud.store.streams import Streams
from carnet_cloud.store.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of every group of tables; used only between the begin and the end of the transaction that gave it."""

    devices: Devices
    consents: Consents
    streams: Streams
    outbox: Outbox
    blocks: Blocks
    counters: Counters
    waiting: Waiting

    @classmethod
    def over(cls, db: Database) -> Transaction:
        """The tables of a database."""
        return cls(Devices(db), Consents(db), Streams(db), Outbox(db), Blocks(db), Counters(db), Waiting(db))
