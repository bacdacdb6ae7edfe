"""What the cloud remembers: one store, every change inside a transaction.

Law: everything that one commit promises (outbox, replay, counters, blocks) is written in that one transaction.
The tables are grouped by noun, a small file each; ``Transaction`` holds one of every group.
"""

from carnet_cloud.store.contract import Store
from carnet_cloud.store.sqlite import SqliteStore
from carnet_cloud.store.transaction import Transaction

__all__ = ["SqliteStore", "Store", "Transaction"]
