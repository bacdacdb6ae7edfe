"""Reading every other adapter (slcan, PCAN, Kvaser, udp_multicast, virtual …) through python-can,
with the same block out.

Law: the adapter is told to listen only where it can be told, nothing is ever sent, and a frame that no grant covers is
dropped before it is queued.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from carnet.logs import told
from carnet_agent.bus.canframe import BRS_AND_ESI, BUS_OFF, CLASSIC_SIZE_BYTES, FD_SIZE_BYTES, SLOT, data_frames
from carnet_agent.bus.filters import EXTENDED_FLAG, message_key
from carnet_agent.bus.reader import Backoff, BusCounters, Identifier
from carnet_agent.dbc.plan import Match
from carnet_agent.frames import FD_WIDTH, Frames
from carnet_agent.instant import Instant, boottime_ns

if TYPE_CHECKING:
    import can

OPTIONS_REFUSED = "options_refused"
SENTENCES = {OPTIONS_REFUSED: "python-can refuses its options: look at channel and options in the configuration"}
"""Faults that need more than a word."""
QUEUE_FRAMES_MAX = 16_384
"""Two seconds of a full bus; beyond it the newest frame is dropped and counted, as the kernel does."""
RECEIVE_TIMEOUT_S = 0.1
"""The longest a close waits for the adapter."""
RETRY_CHECK_S = 0.05
STALLED_READS = 200
"""Drains in which the thread took no step, ten seconds of a unit that is awake: then a driver's call hangs."""
CLOSE_S = 2.0
"""A thread that hangs in a driver is left to the end of the process."""

Queued = tuple[int, int, int, int, bytes, int]
"""Identifier with its format flag, length, CAN FD flags, datagram size, data padded to 64 bytes, BOOTTIME in ns."""

log = logging.getLogger(__name__)


def listen_only(interface: str) -> dict[str, Any]:
    """The options that keep this adapter from transmitting, acknowledgements included; empty if python-can has none.

    udp_multicast and virtual have no such mode and need none: they send only what the program gives them.
    """
    if interface in ("pcan", "systec"):
        from can import BusState

        return {"state": BusState.PASSIVE}
    modes: dict[str, dict[str, Any]] = {
        "slcan": {"listen_only": True},
        "vector": {"listen_only": True},
        "nixnet": {"listen_only": True},
        "cantact": {"monitor": True},
        "kvaser": {"driver_mode": False},  # DRIVER_MODE_SILENT
        "seeedstudio": {"operation_mode": "silent"},
    }
    return modes.get(interface, {})


def open_adapter(interface: str, channel: str, options: Mapping[str, Any]) -> Callable[[], can.BusABC]:
    """A function that opens this adapter; python-can is imported when it is first called."""

    def connect() -> can.BusABC:
        import can

        # warnings of its drivers repeat messages that they cannot read, and these are frames
        logging.getLogger("can").setLevel(logging.CRITICAL + 1)
        return can.Bus(channel=channel, interface=interface, **{**options, **listen_only(interface)})

    return connect


def refuses_options(error: Exception) -> bool:
    """Whether opening an adapter failed because of what the configuration hands to it."""
    return isinstance(error, ValueError | TypeError)


class PythonCanReader:
    """One bus behind python-can. A thread takes messages out of the adapter; ``read`` empties a bounded queue."""

    def __init__(
        self,
        connect: Callable[[], can.BusABC],
        bus: int,
        match: Match = "id",
        *,
        clock_ns: Callable[[], int] = boottime_ns,
        queue_frames_max: int = QUEUE_FRAMES_MAX,
        name: str = "",
    ) -> None:
        """``name``: the bus's in the configuration, for the log."""
        self._connect = connect
        self._bus = bus
        self._name = name or f"bus {bus}"
        self._match = match
        self._clock_ns = clock_ns
        self._queue_frames_max = queue_frames_max
        self._identifiers: frozenset[Identifier] | None = frozenset()
        self._wanted: frozenset[int] | None = frozenset()
        self._queue: deque[Queued] = deque()
        self._lock = threading.Lock()
        self._adapter: can.BusABC | None = None
        self._backoff = Backoff()
        self._fault: str | None = "not_open_yet"
        self._counters = BusCounters()
        self._steps = self._steps_seen = self._still_reads = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def counters(self) -> BusCounters:
        return self._counters

    @property
    def fault(self) -> str | None:
        return "stalled" if self._still_reads >= STALLED_READS else self._fault

    def start(self) -> PythonCanReader:
        """Begin to take messages, in a thread of its own: an adapter's receive call may wait."""
        self._thread = threading.Thread(target=self._run, name=f"bus-{self._bus}", daemon=True)
        self._thread.start()
        return self

    def read(self, now: Instant) -> Frames:
        self._watch()
        with self._lock:
            queued, self._queue = self._queue, deque()
        if not queued:
            return Frames.empty()
        identifiers, lengths, flags, sizes, data, times = zip(*queued, strict=True)
        slots = np.zeros(len(queued), SLOT)
        slots["id"], slots["length"], slots["flags"] = identifiers, lengths, flags
        slots["data"] = np.frombuffer(b"".join(data), np.uint8).reshape(-1, FD_WIDTH)
        time_ns = np.minimum(np.array(times, np.int64), now.boot_ns)
        return data_frames(slots, np.array(sizes, np.uint32), time_ns, self._bus, self._counters)

    def set_identifiers(self, identifiers: Collection[Identifier] | None) -> None:
        wanted = None if identifiers is None else frozenset(identifiers)
        narrowed = wanted is not None and (self._identifiers is None or not self._identifiers <= wanted)
        with self._lock:
            self._identifiers = wanted
            self._wanted = (
                None if wanted is None else frozenset(message_key(*identifier, self._match) for identifier in wanted)
            )
            if narrowed:
                self._counters.discarded += len(self._queue)
                self._queue.clear()

    def close(self) -> None:
        self._stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(CLOSE_S)
            if thread.is_alive():
                return
        self._release()

    def step(self) -> None:
        """Open the adapter if it is closed and due, else take one message; never raises because of the adapter."""
        self._steps += 1
        if self._adapter is None and not self._open():
            return
        assert self._adapter is not None
        try:
            message = self._adapter.recv(RECEIVE_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001  drivers raise what they like; only the bus is lost, never the agent
            self._counters.interrupted += 1
            self._failed(error)
            return
        if message is not None:
            self._backoff.succeeded()
            self._take(message, self._clock_ns())

    def _watch(self) -> None:
        """Count it if the thread has not moved for many drains; what waits in a driver cannot be interrupted."""
        moved = self._steps != self._steps_seen
        self._steps_seen = self._steps
        self._still_reads = 0 if moved or self._thread is None else self._still_reads + 1
        if self._still_reads == STALLED_READS:
            self._counters.stalled += 1
            extra = told("bus_fault", "stalled", bus=self._bus)
            log.warning("%s: stalled: the adapter's driver does not return", self._name, extra=extra)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.step()
            if self._adapter is None:
                self._stopped.wait(RETRY_CHECK_S)

    def _take(self, message: can.Message, time_ns: int) -> None:
        if message.is_error_frame:
            self._counters.error_frames += 1
            self._counters.bus_off += bool(message.arbitration_id & BUS_OFF)
            return
        if message.is_remote_frame:
            self._counters.remote_frames += 1
            return
        extended = message.is_extended_id
        flags = BRS_AND_ESI & (message.bitrate_switch | message.error_state_indicator << 1)
        queued = (
            message.arbitration_id | (EXTENDED_FLAG if extended else 0),
            min(len(message.data), 255),  # what does not fit a frame is refused as malformed, not cut
            flags,
            FD_SIZE_BYTES if message.is_fd else CLASSIC_SIZE_BYTES,
            bytes(message.data[:FD_WIDTH]).ljust(FD_WIDTH, b"\0"),
            time_ns,
        )
        with self._lock:
            if (
                self._wanted is not None
                and message_key(message.arbitration_id, extended, self._match) not in self._wanted
            ):
                return
            if len(self._queue) >= self._queue_frames_max:
                self._counters.dropped += 1
            else:
                self._queue.append(queued)

    def _open(self) -> bool:
        if not self._backoff.due(self._clock_ns()):
            return False
        try:
            self._adapter = self._connect()
        except Exception as error:  # noqa: BLE001  see step
            self._counters.open_failed += 1
            self._failed(error, OPTIONS_REFUSED if refuses_options(error) else "")
            return False
        self._counters.opened += 1
        self._note(None)
        return True

    def _failed(self, error: Exception, fault: str = "") -> None:
        # Only the kind is noted: a driver's sentence may hold frame data.
        self._release()
        self._backoff.failed(self._clock_ns())
        self._note(fault or type(error).__name__)

    def _release(self) -> None:
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            try:
                adapter.shutdown()
            except Exception as error:  # noqa: BLE001  the adapter is given up either way
                log.debug("bus %d: shutdown failed: %s", self._bus, type(error).__name__)

    def _note(self, fault: str | None) -> None:
        if fault != self._fault:
            self._fault = fault
            level, event = (logging.INFO, "bus_receiving") if fault is None else (logging.WARNING, "bus_fault")
            sentence = SENTENCES.get(fault or "receiving", fault or "receiving")
            log.log(level, "%s: %s", self._name, sentence, extra=told(event, fault or "", bus=self._bus))
