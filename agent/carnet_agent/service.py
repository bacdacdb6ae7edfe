"""The agent at work: buses, core, broker and local socket in one loop that nothing outside can stop.

Law: the core is called from this thread alone. A bus, a broker or a disk that fails is counted and said once, and
the rest goes on; systemd hears that we are alive only while the loop turns, the core does its work and the broker's
thread moves.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final, Protocol

from carnet import systemd
from carnet.errors import ConfigError, Error, UnavailableError
from carnet.logs import told
from carnet.narrowing import Ceiling, Mode
from carnet_agent.buffer import is_damage
from carnet_agent.bus.reader import BusReader
from carnet_agent.ceilings import ceiling_of
from carnet_agent.effects import Effect, Note, Publish, SetIdentifiers
from carnet_agent.frames import Frames
from carnet_agent.instant import Instant
from carnet_agent.moment import Moment
from carnet_agent.mqtt import Arrived, Down, Event, Up

DRAIN_S: Final = 0.05
TICK_S: Final = 0.25
STALLED_S: Final = 60.0
"""So long the core may fail at everything, or the broker's thread stand still, before a restart is the better way."""
STOP_S: Final = 5.0
LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}

log = logging.getLogger("carnet.agent")


class Core(Protocol):
    """What the service calls of `carnet_agent.core.Agent`."""

    def on_start(self, now: Moment) -> Sequence[Effect]: ...
    def on_frames(self, frames: Frames, now: Moment) -> Sequence[Effect]: ...
    def on_down(self, payload: bytes, now: Moment) -> Sequence[Effect]: ...
    def on_connection(self, up: bool, now: Moment) -> Sequence[Effect]: ...
    def on_tick(self, now: Moment) -> Sequence[Effect]: ...
    def set_mode(self, mode: Mode, now: Moment) -> Sequence[Effect]: ...
    def set_ceiling(self, ceiling: Ceiling | None, now: Moment) -> Sequence[Effect]: ...
    def flush(self, reason: str, now: Moment) -> Sequence[Effect]: ...
    def status(self) -> dict[str, Any]: ...
    def ledger(self) -> list[dict[str, object]]: ...


class Link(Protocol):
    """What the service calls of `carnet_agent.mqtt.BrokerLink`."""

    counters: Counter[str]
    fault: str | None
    progress_s: float

    def start(self) -> None: ...
    def take(self) -> list[Event]: ...
    def send(self, payload: bytes) -> bool: ...
    def stop(self, wait_s: float = 0.0) -> None: ...


class Waiter(Protocol):
    """What the service calls of `carnet_agent.local.LocalServer`: it waits, and answers whoever asks meanwhile."""

    def step(self, timeout_s: float) -> None: ...


class Service:
    """One agent. ``readers`` are the buses by name, in the order of their numbers in a block of frames."""

    def __init__(
        self, core: Core, readers: Mapping[str, BusReader], link: Link, clock: Callable[[Instant], Moment]
    ) -> None:
        self._core = core
        self._readers = dict(readers)
        self._link = link
        self._clock = clock
        self._stopping = False
        self._drained = Instant.now()
        self._worked_s = time.monotonic()
        """When the core last did what it was called for."""
        self.failures: Counter[str] = Counter()
        self.damaged = False
        """The disk has damaged what the core reads from it; `run` ends, for only a start can put that aside."""

    def run(self, waiter: Waiter) -> None:
        """Work until `stop`; then everything collected is on the disk and the broker has had time to take it."""
        self._link.start()
        self._drained = Instant.now()
        self._do("start", self._core.on_start)
        systemd.notify("READY=1\nSTATUS=collecting")
        watchdog_s = systemd.watchdog_interval_s() or STALLED_S
        next_drain = next_tick = next_alive = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if now >= next_drain:
                self.drain()
                # A loop that was held up does not catch up with empty turns.
                next_drain = max(next_drain + DRAIN_S, now)
            if now >= next_tick:
                self._do("tick", self._core.on_tick)
                next_tick = now + TICK_S
            if now >= next_alive and now - min(self._link.progress_s, self._worked_s) < STALLED_S:
                systemd.notify("WATCHDOG=1")
                next_alive = now + watchdog_s
            waiter.step(next_drain - time.monotonic())
        self._close()

    def stop(self) -> None:
        """End `run` after the present turn; may be called by a signal handler."""
        self._stopping = True

    def drain(self) -> None:
        """One turn: what the buses and the broker have brought.

        A message may end what is collected and begin it anew for others. Its moment is that of a drain which is
        done after it has come, so that no frame falls between the two: all that was captured before has been
        collected, and the rest comes after.
        """
        events = self._link.take()
        self._read_buses()
        for event in events:
            self._on_event(event)

    def _read_buses(self) -> None:
        """All that was captured before this moment, which is that of all calls of the core until the next one."""
        self._drained = Instant.now()
        for name, reader in self._readers.items():
            try:
                frames = reader.read(self._drained)
            except Exception as error:  # noqa: BLE001  a driver may raise what it likes; only its bus is lost
                self._failed(f"bus {name}", error)
                continue
            if len(frames):
                self._do("frames", partial(self._core.on_frames, frames))

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the local socket (`_handle` has what it does). Raises nothing but `carnet.errors.Error`."""
        try:
            return self._handle(request)
        except Error:
            raise
        except Exception as error:
            self._failed("request", error)
            raise UnavailableError("request_failed", "the agent could not do that; its log says why") from error

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "status":
                return self.facts()
            case "mode":
                mode = request.get("mode")
                if mode not in list(Mode):
                    raise ConfigError("mode_unknown", f"a mode is one of {', '.join(Mode)}")
                self._carry_out(self._core.set_mode(Mode(mode), self._now()))
                return {"mode": mode}
            case "ceiling":
                asked = request.get("ceiling")
                ceiling = None if asked is None else ceiling_of(asked)
                self._carry_out(self._core.set_ceiling(ceiling, self._now()))
                return {"ceiling": self._core.status()["ceiling"]}
            case "ledger":
                return {"sealed": self._core.ledger()}
            case "flush":
                self._carry_out(self._core.flush("asked", self._now()))
                return {"flushed": True}
            case _:
                raise ConfigError("request_unknown", "a request does status, mode, ceiling, ledger or flush")

    def _now(self) -> Moment:
        """The present, with all that was captured before it collected."""
        self._read_buses()
        return self._clock(self._drained)

    def facts(self) -> dict[str, Any]:
        """What ``status`` shows."""
        return {
            "running": True,
            **self._core.status(),
            "buses": {
                name: {"fault": reader.fault, **{k: v for k, v in asdict(reader.counters).items() if v}}
                for name, reader in self._readers.items()
            },
            "broker": {"fault": self._link.fault, **dict(sorted(self._link.counters.items()))},
            "failures": dict(sorted(self.failures.items())),
        }

    def _on_event(self, event: Event) -> None:
        match event:
            case Arrived(payload):
                self._do("down", partial(self._core.on_down, payload))
            case Up():
                log.info("connected to the broker", extra=told("broker_connected"))
                self._do("connection", partial(self._core.on_connection, True))
            case Down():
                log.info("no connection to the broker", extra=told("broker_lost"))
                self._do("connection", partial(self._core.on_connection, False))

    def _do(self, what: str, call: Callable[[Moment], Sequence[Effect]]) -> None:
        """Let the core work and carry out what it asks; what it refuses is counted and the loop goes on."""
        try:
            self._carry_out(call(self._clock(self._drained)))
            self._worked_s = time.monotonic()
        except Exception as error:  # noqa: BLE001  a unit must outlive what nobody thought of
            self._failed(what, error)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish():
                    self._link.send(effect.payload)
                case SetIdentifiers():
                    for name, reader in self._readers.items():
                        reader.set_identifiers(effect.identifiers.get(name, ()))
                case Note():
                    level = LEVELS.get(effect.level, logging.WARNING)
                    log.log(level, "%s", effect.text, extra=told(effect.event, effect.reason))

    def _failed(self, where: str, error: Exception) -> None:
        """Count, and say once: the kind for what is not ours, whose sentence could hold anything."""
        outcome = "the agent goes on"
        if isinstance(error, Error):
            reason, sentence = error.reason, str(error)
        elif isinstance(error, sqlite3.Error):
            reason, sentence = getattr(error, "sqlite_errorname", "sqlite"), "the disk does not take what is written"
            if is_damage(error):
                sentence, outcome = (
                    "the disk has damaged what was written",
                    "the agent ends, to look through it at a start",
                )
                self.damaged = self._stopping = True
        else:
            reason, sentence = type(error).__name__, "unexpected"
        self.failures[f"{where}: {reason}"] += 1
        if self.failures[f"{where}: {reason}"] == 1:
            extra = told("failure", reason)
            log.error("%s: %s: %s; %s (said once, counted on)", where, reason, sentence, outcome, extra=extra)

    def _close(self) -> None:
        systemd.notify("STOPPING=1\nSTATUS=writing what is open")
        self.drain()
        self._do("flush", partial(self._core.flush, "stop"))
        self._link.stop(STOP_S)
        for reader in self._readers.values():
            reader.close()
        log.info("stopped", extra=told("stopped"))
