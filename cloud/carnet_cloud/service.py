"""The cloud's programs put together: broker link, receiver, forwarders, consent API, in threads that can be watched.

Law: every loop says when it made progress; systemd hears that we are alive only if all of them did.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from carnet import systemd
from carnet.errors import UnavailableError
from carnet.logs import told
from carnet.topics import shard_name
from carnet_cloud.apiserver import ApiServer
from carnet_cloud.config import CloudConfig
from carnet_cloud.monitoring.readiness import PROBE_S
from carnet_cloud.parts import Parts, Running, build, monotonic_ms, now_ms
from carnet_cloud.running.ending import Threads, end
from carnet_cloud.running.keeper import Keeper, duties, finish_sales
from carnet_cloud.running.keyfolder import read
from carnet_cloud.running.loops import IDLE_S, Loops
from carnet_cloud.running.membership import TURN_S, Membership

GROUP_MAX = 256
GROUP_WAIT_S = 0.05
SEQUENCE_S = 1.0
"""How long a leaf waits for its place if nobody woke the sequencer."""
HOUSEKEEPING_S = 60.0
HOUSEKEEPING_AGAIN_S = 5.0
"""After a turn in which a duty failed."""
SEND_S_MAX = 15.0
"""A send that takes longer is cut, whatever its recipient still says."""

log = logging.getLogger("carnet.cloud")


class Service:
    """Built from a configuration; ``run`` returns after SIGTERM or SIGINT with everything closed."""

    def __init__(self, config: CloudConfig) -> None:
        self._config = config
        self._stop = threading.Event()
        self._taken = threading.Event()
        """The receiver has nothing more to take."""
        self._sent = threading.Event()
        """The forwarders have nothing more in the air."""
        self._work = threading.Event()
        self._replayed = False
        """Whether what the journal says has been applied."""
        self._to_log = threading.Event()
        self._loops = Loops(self._stop)
        self._parts = parts = build(
            config,
            read(config.keys.folder),
            Running(
                self.facts,
                lambda: self._replayed,
                self._stop.is_set,
                self._stalled,
                lambda _tenant: self._to_log.set(),
                self._loops,
            ),
        )
        rounds = duties(parts.store, parts.consents, parts.receiver, parts.wrapping, now_ms, monotonic_ms, os.urandom)
        self._keeper = Keeper(rounds, lambda duty, error: self._loops.tell(f"keeper {duty}", error))

    @property
    def parts(self) -> Parts:
        return self._parts

    def run(self) -> None:
        """Serve until told to stop. UnavailableError ``api_listen`` if the consent API has no port."""
        parts = self._parts
        opened = self._api_socket()
        mended = parts.consents.replay_journal()
        half = parts.consents.finish_endings() + finish_sales(parts.store, parts.consents)
        logged = parts.sequencer.start()
        self._replayed = True
        extra = told("start", narrowings=mended, endings=half, leaves=logged)
        log.info(
            "start: %d narrowings applied from the journal, %d endings finished, %d leaves got their place in the log",
            mended, half, logged, extra=extra,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        if parts.membership is not None:
            parts.link.serve([shard_name(each) for each in parts.membership.turn()])
        parts.link.start()
        threads = self._threads()
        server = ApiServer(parts.api, self._loops.alive("api"))
        api = threading.Thread(target=server.run, args=([opened],), name="api", daemon=True)
        for thread in [*threads, api]:
            thread.start()
        self._watch(parts)
        by_name = {thread.name: thread for thread in threads}
        senders = [thread for name, thread in by_name.items() if name.startswith("forward")]
        others = [by_name[name] for name in ("keeper", "sequencer", "probe", "sharing") if name in by_name]
        left = end(
            Threads(by_name["receiver"], senders, others, api),
            parts.link,
            parts.leases,
            self._taken,
            self._sent,
            server.stop,
        )
        if parts.membership is not None:
            self._leave(parts.membership)
        self._close(left)

    def _close(self, left: Sequence[str]) -> None:
        """Give everything back. What is ``left`` of the loops finds its recipient and the store closed."""
        for recipient in self._parts.recipients.values():
            recipient.close()
        self._parts.store.close()
        if left:
            extra = told("stopped", "not_in_time", threads=len(left))
            log.warning("stopped; did not end in time: %s", ", ".join(left), extra=extra)
        else:
            log.info("stopped", extra=told("stopped"))

    def stop(self) -> None:
        self._stop.set()

    def _api_socket(self) -> socket.socket:
        """Taken before anything else works: a cloud whose owners cannot withdraw must not forward."""
        host, _, port = self._config.api.listen.rpartition(":")
        try:
            return socket.create_server((host, int(port)))
        except (OSError, OverflowError) as e:
            why = getattr(e, "strerror", None) or e
            self._parts.store.close()
            raise UnavailableError("api_listen", f"api.listen: cannot listen on {host}:{port}: {why}") from e

    # loops

    def _threads(self) -> list[threading.Thread]:
        """The loops of this module, not started."""
        names = sorted(self._parts.forwarders)
        sharing = self._parts.membership
        return [
            self._loops.thread("receiver", self._receive, self._taken),
            *([self._loops.thread("sharing", self._share(sharing), self._sent)] if sharing else []),
            self._loops.thread("keeper", self._keep),
            self._loops.thread("sequencer", self._sequence),
            self._loops.thread("probe", self._probe),
            *(self._loops.thread(f"forward {number}", self._forward(name)) for number, name in enumerate(names)),
        ]

    def _receive(self) -> None:
        parts = self._parts
        messages = parts.link.take(GROUP_MAX, GROUP_WAIT_S)
        started_ms = monotonic_ms()
        answers = parts.receiver.process(messages, now_ms()) if messages else []
        if messages:
            parts.exposition.committed(len(messages), (monotonic_ms() - started_ms) / 1000)
        for message in [*answers, *parts.pusher.due(now_ms())]:
            parts.link.publish(message)
        if messages:
            self._work.set()

    def _forward(self, recipient: str) -> Callable[[], None]:
        forwarder = self._parts.forwarders[recipient]

        def step() -> None:
            if not forwarder.step(recipient):
                self._work.wait(IDLE_S)
                self._work.clear()

        return step

    def _share(self, membership: Membership) -> Callable[[], None]:
        """Serve this receiver's shards until the service ends, and cut what is sent under a record that another program
        narrows until nothing is sent any more.
        """
        leases, link = self._parts.leases, self._parts.link

        def step() -> None:
            if not self._stop.is_set():
                link.serve([shard_name(each) for each in membership.turn()])
            for record in membership.narrowed(TURN_S):
                leases.cut(record)

        return step

    def _leave(self, membership: Membership) -> None:
        try:
            membership.leave()
        except UnavailableError as error:
            self._loops.tell("sharing", error)

    def _probe(self) -> None:
        """See now and then that the store can be written."""
        self._parts.probe.turn()
        self._loops.rest("probe", PROBE_S)

    def _sequence(self) -> None:
        """As soon as an entry was written."""
        self._to_log.wait(SEQUENCE_S)
        self._to_log.clear()
        while self._parts.sequencer.turns(lambda error: self._loops.tell("sequencer", error)):
            pass

    def _keep(self) -> None:
        """Once a minute, and sooner after a failure."""
        self._loops.rest("keeper", HOUSEKEEPING_S if self._keeper.turn() else HOUSEKEEPING_AGAIN_S)

    def _watch(self, parts: Parts) -> None:
        """READY at once, for the consent API serves without a broker; then alive while every loop makes progress."""
        connected = False
        systemd.notify("READY=1\nSTATUS=waiting for the broker")
        interval = systemd.watchdog_interval_s() or 5.0
        while not self._stop.wait(min(0.5, interval)):
            if connected != parts.link.connected.is_set():
                connected = not connected
                systemd.notify(f"STATUS={'receiving' if connected else 'waiting for the broker'}")
                sentence = "ready: connected to the broker" if connected else "the broker is gone; trying again"
                log.info(sentence, extra=told("broker_connected" if connected else "broker_lost"))
            parts.leases.cut_begun_before(monotonic_ms() - SEND_S_MAX * 1000)
            if not self._stalled():
                systemd.notify("WATCHDOG=1")
        systemd.notify("STOPPING=1")

    def _stalled(self) -> list[str]:
        return self._loops.stalled({"mqtt": self._parts.link.progress_s})

    def facts(self) -> dict[str, Any]:
        """What ``/v1/health`` answers."""
        with self._parts.store.transaction() as t:
            return {
                "connected": self._parts.link.connected.is_set(),
                "outbox": t.outbox.depth(),
                "counters": t.counters.all(),
                "link": {name: getattr(self._parts.link, name) for name in ("dropped", "failed", "unanswered")},
                "failures": dict(sorted(self._loops.counted.items())),
            }
