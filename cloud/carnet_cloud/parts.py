"""The cloud's parts put together: everything that outlives a loop, built from a configuration.

Law: what can be wrong with files is found before anything is opened; nothing here starts.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from carnet.keys import SigningKey
from carnet_cloud.api import Door, check_token, make_api
from carnet_cloud.config import ApiSection, CloudConfig, read_catalogue
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.core import Receiver, all_shards
from carnet_cloud.enqueue import Outlet
from carnet_cloud.entries import Entries
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.ledger.receipts import Receipts
from carnet_cloud.ledger.sequencer import Sequencer
from carnet_cloud.monitoring.exposition import Exposition
from carnet_cloud.monitoring.numbers import Numbers
from carnet_cloud.monitoring.readiness import Readiness, StoreProbe
from carnet_cloud.monitoring.troubles import Troubles
from carnet_cloud.monitoring.watching import add_backups, add_watching
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.offers import Offers
from carnet_cloud.pending import pending_in
from carnet_cloud.push import Pusher
from carnet_cloud.recipients import Recipient
from carnet_cloud.recipients.opening import open_recipient
from carnet_cloud.replay import Replaying
from carnet_cloud.replayapi import add_replays
from carnet_cloud.running.backup import Spool
from carnet_cloud.running.keyfolder import KeyFolder, read_secret
from carnet_cloud.running.loops import Loops
from carnet_cloud.running.membership import Membership
from carnet_cloud.running.opening import open_company, open_store
from carnet_cloud.store import Store, Transaction
from carnet_cloud.why import Answer, why
from carnet_cloud.wrapping import Wrapping


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
    sequencer: Sequencer
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
    readiness: Readiness
    exposition: Exposition


@dataclass(frozen=True, slots=True)
class Running:
    """What the parts ask and tell the service that runs them."""

    facts: Callable[[], dict[str, Any]]
    is_replayed: Callable[[], bool]
    """Whether what the journal says has been applied."""
    is_stopping: Callable[[], bool]
    stalled: Callable[[], list[str]]
    wrote_entry: Callable[[str], None]
    """An entry of this tenant waits for its place in the log."""
    loops: Loops


def build(config: CloudConfig, keys: KeyFolder, running: Running) -> Parts:
    """ConfigError or UnavailableError if a file, the store or the journal cannot be used."""
    # what can be wrong with files comes before anything is opened
    catalogue = read_catalogue(config.catalogue)
    tokens = _tokens(config.api)
    link = BrokerLink(config.mqtt, f"receiver-{secrets.token_hex(4)}")
    recipient_tokens = {one.id: _token(one.token_file, f"recipient {one.id}.token_file") for one in config.recipient}
    owner = secrets.token_bytes(8)
    beside = owner.hex() if config.store.url else ""
    recipients = {each.id: open_recipient(each, beside) for each in config.recipient}
    opened = open_store(config.store, os.urandom(16), now_ms())
    store = opened.store
    company = open_company(config.store, store, now_ms())
    membership = Membership(company, owner) if company else None
    journal = Journal(config.store.journal, store.incarnation, new_store=opened.is_new)
    if membership is not None:
        membership.require_journal(store, journal.covers)
        store.on_return = journal.returned
    wrapping = Wrapping(config.store.wrapping_keys, os.urandom)
    book = GrantBook(recipients, pending_in(store, journal))
    leases = Leases()
    probe = StoreProbe(store, monotonic_ms, journal.applied)
    readiness = _readiness(running, probe, link, journal, wrapping)
    exposition = _exposition(running, store, recipients, readiness, link, leases)
    troubles = Troubles(recipients, monotonic_ms)
    recipients = {name: exposition.timed(name, recipient) for name, recipient in recipients.items()}
    pusher = Pusher(store, keys.keys.sign, os.urandom)
    outlet = Outlet(book, catalogue, wrapping, keys.pseudonym, os.urandom)
    serving = membership.serving if membership else all_shards
    receiver = Receiver(store, keys.keys, outlet, os.urandom, pusher.seen, pusher.behind, serving)
    waits = Waits(now_ms, monotonic_ms, lambda: time.sleep(0.005))
    changed = _changed(pusher, link, running.loops)
    consents = Consents(store, journal, leases, waits, changed, Entries(os.urandom), running.wrote_entry)
    clocks = Clocks(now_ms, monotonic_ms, random.random)
    sender = partial(Forwarder, store, recipients, wrapping, leases, book.may_send, clocks, owner, seen=troubles.seen)
    forwarders = {name: sender() for name in recipients}

    def explain(t: Transaction, vehicle: bytes, path: str, now: int) -> list[Answer]:
        return why(t, book, catalogue, vehicle, path, now)

    offers = Offers(store, catalogue, {each.id: each.name for each in config.recipient}, now_ms)
    api = make_api(store, consents, offers, tokens[0], now_ms, running.facts, explain, Receipts(keys.log.public))
    add_watching(api, readiness, exposition.text, tokens)
    add_backups(api, Door(store, consents, tokens[0], now_ms), Spool(store, config.store.path).fill)
    add_replays(api, Replaying(store, book.standing, now_ms), recipient_tokens)
    return Parts(
        store=store,
        receiver=receiver,
        consents=consents,
        sequencer=_sequencer(config, store, keys.log, owner, changed),
        pusher=pusher,
        forwarders=forwarders,
        leases=leases,
        recipients=recipients,
        wrapping=wrapping,
        link=link,
        api=api,
        membership=membership,
        probe=probe,
        readiness=readiness,
        exposition=exposition,
    )


def _sequencer(
    config: CloudConfig, store: Store, key: SigningKey, owner: bytes, changed: Callable[[bytes], None]
) -> Sequencer:
    name = config.ledger.name or f"carnet/{key.kid.hex()}/log"
    return Sequencer(store, key, name, owner, LogHashes(config.store.journal.parent), os.urandom, now_ms, changed)


def _readiness(
    running: Running, probe: StoreProbe, link: BrokerLink, journal: Journal, wrapping: Wrapping
) -> Readiness:
    """What ``/readyz`` asks for."""
    return Readiness(
        {
            "store": probe.is_fresh,
            "broker": link.connected.is_set,
            "journal": lambda: running.is_replayed() and not journal.pending,
            "keys": wrapping.is_there,
            "loops": lambda: not running.stalled(),
            "running": lambda: not running.is_stopping(),
        }
    )


def _exposition(
    running: Running,
    store: Store,
    recipients: Collection[str],
    readiness: Readiness,
    link: BrokerLink,
    leases: Leases,
) -> Exposition:
    """What ``/metrics`` tells."""
    counted = running.loops.counted
    return Exposition(Numbers(store, tuple(recipients), readiness, link.state, counted, lambda: _held(leases), now_ms))


def _changed(pusher: Pusher, link: BrokerLink, loops: Loops) -> Callable[[bytes], None]:
    """What tells a vehicle at once that its grants are others."""

    def changed(vehicle: bytes) -> None:
        pusher.changed(vehicle)
        try:
            for message in pusher.due(now_ms()):
                link.publish(message)
        except Exception as error:  # noqa: BLE001 - a withdrawal is finished whether the car can be told or not
            loops.count("push", type(error).__name__)

    return changed


def _tokens(api: ApiSection) -> tuple[str, str]:
    """The operator's, and the one that opens the metrics."""
    operator = _token(api.operator_token_file, "api.operator_token_file")
    return operator, _token(api.metrics_token_file, "api.metrics_token_file")


def _token(file: Path | None, setting: str) -> str:
    """What a token's file holds; empty without one, which opens nothing."""
    return check_token(read_secret(file, setting).decode()) if file else ""


def _held(leases: Leases) -> tuple[int, float]:
    """How many leases are held, and the age of the oldest in seconds."""
    taken_ms = leases.taken_ms()
    return len(taken_ms), max(0.0, monotonic_ms() - min(taken_ms)) / 1000 if taken_ms else 0.0
