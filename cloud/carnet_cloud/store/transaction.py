"""The tables by noun, all inside one open transaction."""

from __future__ import annotations

from dataclasses import dataclass

from carnet_cloud.store.blocks import Blocks
from carnet_cloud.store.consents import Consents
from carnet_cloud.store.counters import Counters
from carnet_cloud.store.database import Database
from carnet_cloud.store.devices import Devices
from carnet_cloud.store.farewells import Farewells
from carnet_cloud.store.ledger import Ledger
from carnet_cloud.store.others import Others
from carnet_cloud.store.outbox import Outbox
from carnet_cloud.store.outboxkeys import OutboxKeys
from carnet_cloud.store.replays import Replays
from carnet_cloud.store.shards import Shards
from carnet_cloud.store.shown import Shown
from carnet_cloud.store.streams import Streams
from carnet_cloud.store.tallies import Tallies
from carnet_cloud.store.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of every group of tables; used only between the begin and the end of the transaction that gave it."""

    devices: Devices
    consents: Consents
    streams: Streams
    outbox: Outbox
    outbox_keys: OutboxKeys
    replays: Replays
    farewells: Farewells
    shown: Shown
    blocks: Blocks
    counters: Counters
    shards: Shards
    others: Others
    waiting: Waiting
    ledger: Ledger
    tallies: Tallies

    @classmethod
    def over(cls, db: Database, others: Others) -> Transaction:
        """The tables of a database that ``others`` may be using too."""
        return cls(
            Devices(db),
            Consents(db),
            Streams(db),
            Outbox(db),
            OutboxKeys(db),
            Replays(db),
            Farewells(db),
            Shown(db),
            Blocks(db),
            Counters(db),
            Shards(db),
            others,
            Waiting(db),
            Ledger(db),
            Tallies(db),
        )
