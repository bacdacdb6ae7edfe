"""The cloud's programs put together: broker link, receiver, forwarders, consent API, in threads that can be watched.

Law: every loop says when it made progress; systemd hears that we are alive only if all of them did.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from carnet import systemd
from carnet.errors import UnavailableError
from carnet.logs import told
from carnet.topics import shard_name
from carnet_cloud.api import Door, check_token, make_api
from carnet_cloud.apiserver import ApiServer
from carnet_cloud.backup import Spool
from carnet_cloud.config import CloudConfig, FileRecipient, WebhookRecipient, read_catalogue
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.core import Receiver, all_shards
from carnet_cloud.ending import Threads, end
from carnet_cloud.enqueue import Outlet
from carnet_cloud.exposition import Exposition
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.keeper import Keeper, duties
from carnet_cloud.keyfolder import KeyFolder, read, read_secret
from carnet_cloud.lease import Leases
from carnet_cloud.loops import IDLE_S, Loops
from carnet_cloud.membership import TURN_S, Membership
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.numbers import Numbers
from carnet_cloud.offers import Offers
from carnet_cloud.opening import open_company, open_store
from carnet_cloud.pending import pending_in
from carnet_cloud.push import Pusher
from carnet_cloud.readiness import PROBE_S, Readiness, StoreProbe
from carnet_cloud.recipients import JsonLines, Recipient, Webhook
from carnet_cloud.store import Store, Transaction
from carnet_cloud.watching import add_backups, add_watching
from carnet_cloud.why import Answer, why
from carnet_cloud.wrapping import Wrapping

GROUP_MAX = 256
GROUP_WAIT_S = 0.05
HOUSEKEEPING_S = 60.0
HOUSEKEEPING_AGAIN_S = 5.0
"""After a turn in which a duty failed."""
SEND_S_MAX = 15.0
"""A send that takes longer is cut, whatever its recipient still says."""

log = logging.getLogger("carnet.cloud")


def now_ms() -> int:
    """The server's clock."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> float:
    """For leases and drains."""
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that outlives a loop."""

    store: Store
    receiver: Receiver
    consents: Consents
    pusher: Pusher
    forwarders: dict[str, Forwarder]
    leases: Leases
    recipients: dict[str, Recipient]
    wrapping: Wrapping
    link: BrokerLink
    api: FastAPI
    membership: Membership | None
    """Among the receivers on this store, if there can be others."""
    probe: StoreProbe
    exposition: Exposition


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
        self._loops = Loops(self._stop)
        self._parts = parts = self._build(read(config.keys.folder))
        rounds = duties(parts.store, parts.consents, parts.receiver, parts.wrapping, now_ms, monotonic_ms)
        self._keeper = Keeper(rounds, lambda duty, error: self._loops.tell(f"keeper {duty}", error))

    @property
    def parts(self) -> Parts:
        return self._parts

    def run(self) -> None:
        """Serve until told to stop. UnavailableError ``api_listen`` if the consent API has no port."""
        parts = self._parts
        opened = self._api_socket()
        mended = parts.consents.replay_journal()
        half = parts.consents.finish_endings()
        self._replayed = True
        extra = told("start", narrowings=mended, endings=half)
        log.info("start: %d narrowings applied from the journal, %d endings finished", mended, half, extra=extra)
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
        others = [by_name[name] for name in ("keeper", "probe", "sharing") if name in by_name]
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

    # building

    def _build(self, keys: KeyFolder) -> Parts:
        config = self._config
        # what can be wrong with files comes before anything is opened
        catalogue = read_catalogue(config.catalogue)
        token, reader = (_token(file) for file in (config.api.operator_token_file, config.api.metrics_token_file))
        link = BrokerLink(config.mqtt, f"receiver-{secrets.token_hex(4)}")
        recipients = {each.id: _recipient(each) for each in config.recipient}
        opened = open_store(config.store, os.urandom(16), now_ms())
        store = opened.store
        company = open_company(config.store, store, now_ms())
        owner = secrets.token_bytes(8)
        membership = Membership(company, owner) if company else None
        journal = Journal(config.store.journal, store.incarnation, new_store=opened.is_new)
        if membership is not None:
            membership.require_journal(store, journal.covers)
            store.on_return = journal.returned
        wrapping = Wrapping(config.store.wrapping_keys, os.urandom)
        book = GrantBook(recipients, pending_in(store, journal))
        leases = Leases()
        probe = StoreProbe(store, monotonic_ms, journal.applied)
        readiness = self._readiness(probe, link, journal, wrapping)
        numbers = Numbers(
            store, tuple(recipients), readiness, link.state, self._loops.counted, lambda: _held(leases), now_ms
        )
        exposition = Exposition(numbers)
        recipients = {name: exposition.timed(name, recipient) for name, recipient in recipients.items()}
        pusher = Pusher(store, keys.keys.sign, os.urandom)
        outlet = Outlet(book, catalogue, wrapping, keys.pseudonym, os.urandom)
        serving = membership.serving if membership else all_shards
        receiver = Receiver(store, keys.keys, outlet, os.urandom, pusher.seen, pusher.behind, serving)
        waits = Waits(now_ms, monotonic_ms, lambda: time.sleep(0.005))
        consents = Consents(store, journal, leases, waits, self._changed(pusher))
        clocks = Clocks(now_ms, monotonic_ms, random.random)
        forwarders = {
            name: Forwarder(store, recipients, wrapping, leases, book.may_send, clocks, owner) for name in recipients
        }

        def explain(t: Transaction, vehicle: bytes, path: str, now: int) -> list[Answer]:
            return why(t, book, catalogue, vehicle, path, now)

        offers = Offers(store, catalogue, {each.id: each.name for each in config.recipient}, now_ms)
        api = make_api(store, consents, offers, token, now_ms, self.facts, explain)
        add_watching(api, readiness, exposition.text, (token, reader))
        add_backups(api, Door(store, consents, token, now_ms), Spool(store, config.store.path).fill)
        return Parts(
            store,
            receiver,
            consents,
            pusher,
            forwarders,
            leases,
            recipients,
            wrapping,
            link,
            api,
            membership,
            probe,
            exposition,
        )

    def _readiness(self, probe: StoreProbe, link: BrokerLink, journal: Journal, wrapping: Wrapping) -> Readiness:
        """What ``/readyz`` asks for."""
        return Readiness(
            {
                "store": probe.is_fresh,
                "broker": link.connected.is_set,
                "journal": lambda: self._replayed and not journal.pending,
                "keys": wrapping.is_there,
                "loops": lambda: not self._stalled(),
                "running": lambda: not self._stop.is_set(),
            }
        )

    def _changed(self, pusher: Pusher) -> Callable[[bytes], None]:
        def changed(vehicle: bytes) -> None:
            pusher.changed(vehicle)
            try:
                for message in pusher.due(now_ms()):
                    self._parts.link.publish(message)
            except Exception as error:  # noqa: BLE001 - a withdrawal is finished whether the car can be told or not
                self._loops.count("push", type(error).__name__)

        return changed

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
        """What ``/healthz`` answers."""
        with self._parts.store.transaction() as t:
            return {
                "connected": self._parts.link.connected.is_set(),
                "outbox": t.outbox.depth(),
                "counters": t.counters.all(),
                "link": {name: getattr(self._parts.link, name) for name in ("dropped", "failed", "unanswered")},
                "failures": dict(sorted(self._loops.counted.items())),
            }


def _token(file: Path | None) -> str:
    """What a token's file holds; empty without one, which opens nothing."""
    return check_token(read_secret(file).decode()) if file else ""


def _held(leases: Leases) -> tuple[int, float]:
    """How many leases are held, and the age of the oldest in seconds."""
    taken_ms = leases.taken_ms()
    return len(taken_ms), max(0.0, monotonic_ms() - min(taken_ms)) / 1000 if taken_ms else 0.0


def _recipient(config: FileRecipient | WebhookRecipient) -> Recipient:
    if isinstance(config, FileRecipient):
        return JsonLines(config.path)
    return Webhook(config.url, read_secret(config.secret_file).decode().strip())
