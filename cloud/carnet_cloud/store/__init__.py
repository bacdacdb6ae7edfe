"""What the cloud remembers: one store, one writer, every change inside a transaction.

Law: everything that one commit promises (outbox, replay, counters, blocks) is written in that one transaction.
The tables are grouped by noun, a small file each; ``Transaction`` holds one of every group.
"""

from carnet_cloud.store.sqlite import Store, Transaction

__all__ = ["Store", "Transaction"]
