"""The contact with the cloud: when to check in, and whether an answer to the very last check-in has come.

Law: before a nonce-fresh answer on this connection nothing but a check-in is sent, and no row is freed.
"""

from __future__ import annotations

from carnet.ack import Ack

RETRY_FIRST_MS = 10_000
RETRY_MOST_MS = 300_000
REFRESH_MS = 1_800_000
"""After so long the clock has drifted by up to 0.9 s and the cloud may have forgotten something: check in again."""


class Contact:
    """Times in milliseconds of BOOTTIME."""

    def __init__(self) -> None:
        self.connected = False
        self.fresh = False
        """An answer to a check-in of this connection has come."""
        self._nonce = b""
        self._asked_ms = 0
        self._due_ms = 0
        self._wait_ms = RETRY_FIRST_MS

    def up(self, boot_ms: int) -> None:
        """The broker is there; nobody knows yet whether the cloud is."""
        self.down()
        self.connected = True
        self._due_ms = boot_ms

    def down(self) -> None:
        """The connection is gone, and with it what was asked."""
        self.connected = self.fresh = False
        self._nonce = b""
        self._wait_ms = RETRY_FIRST_MS

    def due(self, boot_ms: int) -> bool:
        """Whether to check in now."""
        return self.connected and boot_ms >= self._due_ms

    def hurry(self, boot_ms: int) -> None:
        """Something changed that the cloud should hear of: check in at this time at the latest. It is no repetition,
        so the next one comes as soon as after a first question.
        """
        self._due_ms = min(self._due_ms, boot_ms)
        self._wait_ms = RETRY_FIRST_MS

    def asked(self, nonce: bytes, boot_ms: int) -> None:
        """A check-in with this nonce is sent; answers to earlier ones do not count any more."""
        self._nonce, self._asked_ms = nonce, boot_ms
        self._due_ms = boot_ms + self._wait_ms
        self._wait_ms = min(self._wait_ms * 2, RETRY_MOST_MS)

    def answered(self, ack: Ack, boot_ms: int) -> int | None:
        """When we asked, if this answers the last check-in; None if not. A nonce counts once."""
        if not self.connected or not ack.answers(self._nonce):
            return None
        self.fresh = True
        self._nonce = b""
        self._wait_ms = RETRY_FIRST_MS
        self._due_ms = boot_ms + REFRESH_MS
        return self._asked_ms
