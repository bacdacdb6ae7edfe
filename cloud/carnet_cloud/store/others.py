"""Other programs on the same store: what they must not do while a transaction is open, and the clock that all share.

Law: what a transaction decides from a consent is decided while nobody can change it; a narrowing waits for every
decision that has begun, and every decision that begins later sees it.

Order, so that no two wait for one another: journal, recipient, log, consents (all at once), wrapping keys, rows.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Protocol


class Others(Protocol):
    """What others must wait with until the transaction that asks has ended. Asking again costs little."""

    def keep_devices(self, devices: Collection[bytes]) -> None:
        """Nobody changes a consent of the vehicles that these devices sit in; others may read them too."""

    def keep_vehicle(self, vehicle: bytes) -> None:
        """Nobody changes a consent of this vehicle; others may read it too."""

    def keep_records(self, records: Collection[str]) -> None:
        """Nobody changes a consent of the vehicles of these records; others may read them too."""

    def change_vehicle(self, vehicle: bytes) -> None:
        """Nobody else reads or changes a consent of the vehicle."""

    def change_records(self, records: Collection[str]) -> None:
        """Nobody else reads or changes a consent of the vehicles of these records."""

    def narrow(self) -> None:
        """Nobody else writes the journal of narrowings or what of it the store has applied."""

    def forward(self, recipient: str) -> None:
        """Nobody else looks for what may be sent to this recipient."""

    def log(self, tenant: str) -> None:
        """Nobody else gives places in the log of this tenant."""

    def wrap(self) -> None:
        """Nobody changes the wrapping keys."""

    def rewrap(self) -> None:
        """Nobody else uses or changes the wrapping keys."""

    def serve(self, member: bytes) -> None:
        """Nobody takes over the shards of this receiver."""

    def take_over(self, member: bytes) -> bool:
        """This receiver commits nothing more of its shards; False if it is in the middle of a transaction."""

    def share(self) -> None:
        """Nobody else shares out the shards."""

    def tell_narrowed(self, record: str) -> None:
        """Once this transaction has committed, the other programs cut what they send under the record."""

    def now_ms(self) -> int:
        """The store's clock, the same for all."""


class NoOthers:
    """For a store that no other program can open: its transactions follow one another anyway."""

    def keep_devices(self, devices: Collection[bytes]) -> None: ...

    def keep_vehicle(self, vehicle: bytes) -> None: ...

    def keep_records(self, records: Collection[str]) -> None: ...

    def change_vehicle(self, vehicle: bytes) -> None: ...

    def change_records(self, records: Collection[str]) -> None: ...

    def narrow(self) -> None: ...

    def forward(self, recipient: str) -> None: ...

    def log(self, tenant: str) -> None: ...

    def wrap(self) -> None: ...

    def rewrap(self) -> None: ...

    def serve(self, member: bytes) -> None: ...

    def take_over(self, member: bytes) -> bool:  # noqa: ARG002 - there is nobody else
        return True

    def share(self) -> None: ...

    def tell_narrowed(self, record: str) -> None: ...

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
