"""The end of the service: it stops taking, finishes what it has begun, hands the rest back. Within a bound.

Law: what was taken is committed and acknowledged or comes again; a send that is cut at the end is retried under its id
by whoever starts next. As long as anything may still be sent the consent API serves, so that an owner can withdraw, and
what other receivers narrow is heard.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from carnet_cloud.lease import Leases
from carnet_cloud.mqtt import BrokerLink

TAKEN_S_MAX = 2.0
"""For messages that have arrived to be judged, committed and answered."""
SENT_S_MAX = 4.0
"""For groups on their way to be finished, from the beginning; then their leases are cut."""
CUT_S_MAX = 1.0
SERVED_S_MAX = 2.0
"""For requests that the API has begun to answer. All together stay below the unit's TimeoutStopSec."""


@dataclass(frozen=True, slots=True)
class Threads:
    """What has to end, by what it does. ``api`` ends by ``stop_serving``, ``receiver`` by its event `taken`; what must
    not end before the senders, by `sent`.
    """

    receiver: threading.Thread
    senders: Sequence[threading.Thread]
    others: Sequence[threading.Thread]
    api: threading.Thread


def end(
    threads: Threads,
    link: BrokerLink,
    leases: Leases,
    taken: threading.Event,
    sent: threading.Event,
    stop_serving: Callable[[], None],
) -> list[str]:
    """Called when the loops have been told to stop; the names of threads that did not end in time."""
    started = time.monotonic()
    link.stop_taking()
    _wait(lambda: link.is_empty, started + TAKEN_S_MAX)
    taken.set()
    _join([threads.receiver], started + TAKEN_S_MAX)
    link.stop()
    if _join(threads.senders, started + SENT_S_MAX):
        leases.cut_begun_before(math.inf)
        _join(threads.senders, time.monotonic() + CUT_S_MAX)
    sent.set()
    stop_serving()
    _join([threads.api, *threads.others], time.monotonic() + SERVED_S_MAX)
    return [each.name for each in (threads.receiver, *threads.senders, *threads.others, threads.api) if each.is_alive()]


def _wait(happened: Callable[[], bool], until_s: float) -> None:
    while not happened() and time.monotonic() < until_s:
        time.sleep(0.01)


def _join(threads: Sequence[threading.Thread], until_s: float) -> bool:
    """Whether one of them still lives then."""
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return any(thread.is_alive() for thread in threads)
