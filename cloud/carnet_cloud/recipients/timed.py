"""A recipient whose sends are timed, for whoever watches. It answers as the one behind it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from carnet_cloud.lease import Lease
from carnet_cloud.recipients.base import Claim, Event, ForgetfulRecipient, Outcome, Recipient


class Timed:
    """``took`` is told the seconds of every send, whatever became of it."""

    def __init__(self, recipient: Recipient, took: Callable[[float], None]) -> None:
        self._recipient = recipient
        self._took = took

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        started = time.monotonic()
        try:
            return self._recipient.send(event, lease, now_s)
        finally:
            self._took(time.monotonic() - started)

    def finish(self) -> Outcome:
        return self._recipient.finish()

    def close(self) -> None:
        self._recipient.close()


class TimedForgetful(Timed):
    """One that can be told to forget: whoever asks for that must find it behind the clock, too."""

    def __init__(self, recipient: ForgetfulRecipient, took: Callable[[float], None]) -> None:
        super().__init__(recipient, took)
        self._forgetful = recipient

    def remember(self, claim: Claim) -> None:
        self._forgetful.remember(claim)

    def forget(self, record: str, paths: Collection[str], lease: Lease) -> bool:
        return self._forgetful.forget(record, paths, lease)


def timed(recipient: Recipient, took: Callable[[float], None]) -> Recipient:
    """The same recipient, with every send observed."""
    if isinstance(recipient, ForgetfulRecipient):
        return TimedForgetful(recipient, took)
    return Timed(recipient, took)
