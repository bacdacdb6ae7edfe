"""Grant sets on their way to cars: sent at every change, and again until the car has named their generation."""

from __future__ import annotations

import threading
from collections.abc import Callable

from carnet.down import GrantSetMessage, seal_down
from carnet.keys import SigningKey
from carnet.topics import topic_down
from carnet_cloud.answers import Message
from carnet_cloud.grantsets import grant_set_bytes
from carnet_cloud.store import Store

REPEAT_MS = 5_000
REPEATS_MAX = 12


class Pusher:
    """``changed`` may be called by any thread; ``due`` by the one that publishes."""

    def __init__(self, store: Store, key: SigningKey, random: Callable[[int], bytes]) -> None:
        self._store = store
        self._key = key
        self._random = random
        self._turn = threading.Lock()
        self._waiting: dict[bytes, tuple[int, int]] = {}

    def changed(self, vehicle: bytes) -> None:
        """The vehicle's set has a new generation: send it now."""
        with self._turn:
            self._waiting[vehicle] = (0, 0)

    def behind(self, vehicle: bytes, now_ms: int) -> None:
        """A check-in was just answered with the set: should that be lost, the car would ask again in half an hour."""
        with self._turn:
            self._waiting.setdefault(vehicle, (now_ms + REPEAT_MS, 1))

    def seen(self, vehicle: bytes, generation: int, current: int) -> None:
        """A car has named a generation; the current one need not be sent any more."""
        if generation >= current:
            with self._turn:
                self._waiting.pop(vehicle, None)

    def due(self, now_ms: int) -> list[Message]:
        """The messages to publish now, for every active unit of a vehicle that waits."""
        messages: list[Message] = []
        with self._turn:
            ready = [(v, tries) for v, (next_ms, tries) in sorted(self._waiting.items()) if next_ms <= now_ms]
            for vehicle, tries in ready:
                self._waiting[vehicle] = (now_ms + REPEAT_MS * (tries + 1), tries + 1)
                if tries + 1 >= REPEATS_MAX:
                    # the next check-in brings it
                    del self._waiting[vehicle]
        for vehicle, _ in ready:
            messages += self._messages(vehicle)
        return messages

    def _messages(self, vehicle: bytes) -> list[Message]:
        with self._store.transaction() as t:
            found: list[Message] = []
            for device in t.devices.of_vehicle(vehicle):
                if device.state != "active":
                    continue
                message = GrantSetMessage(grant_set_bytes(t, vehicle, device.epoch))
                sealed = seal_down(message, device.device, self._key, device.receive_key, self._random(32))
                found.append((topic_down(device.device), sealed))
            return found
