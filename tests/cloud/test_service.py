"""The service's own loops, without a broker: what it cuts."""

from __future__ import annotations

import base64
import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carnet import jws
from carnet_cloud import service
from carnet_cloud.config import load
from carnet_cloud.lease import Lease
from carnet_cloud.ledger.receipts import Receipts
from carnet_cloud.parts import Parts, monotonic_ms, now_ms
from carnet_cloud.recipients import Event, Outcome, Webhook
from carnet_cloud.recipients.base import ForgetfulRecipient
from carnet_cloud.running.opening import open_store
from carnet_cloud.service import Service
from carnet_cloud.store.devices import Device
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, VEHICLE
from tests.cloud.recipientkit import until
from tests.cloud.test_commands import CONFIG, config

__all__ = ["config"]  # a fixture

LIMIT_S = 30.0
RECEIPT_S_MAX = 2.0


@pytest.fixture
def watched(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that watches, with sends of at most 0.3 s."""
    monkeypatch.setattr(service, "SEND_S_MAX", 0.3)
    assert config.read_text() == CONFIG
    found = Service(load(config))
    thread = threading.Thread(target=found._watch, args=(found.parts,), daemon=True)
    thread.start()
    yield found
    found.stop()
    thread.join(LIMIT_S)
    found.parts.store.close()


def hang(_: socket.socket, is_over: threading.Event) -> None:
    """Take the request and say nothing."""
    is_over.wait(LIMIT_S)


def drip(peer: socket.socket, is_over: threading.Event) -> None:
    """Answer a byte every 20 ms, so that no time-out of a read ever comes."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    with contextlib.suppress(OSError):
        for _ in range(int(LIMIT_S / 0.02)):
            if is_over.wait(0.02):
                return
            peer.sendall(b"x")


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_recipient_that_never_finishes_is_cut_by_the_service(
    watched: Service, answer: Callable[[socket.socket, threading.Event], None]
) -> None:
    """Its lease is good and is renewed whenever asked: the service ends it, long before the adapter would."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            peer, _ = listening.accept()
            with peer:
                answer(peer, is_over)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        secret = "whsec_" + base64.b64encode(bytes(32)).decode()
        webhook = Webhook(f"http://127.0.0.1:{listening.getsockname()[1]}/", secret, timeout_s=LIMIT_S)
        lease = Lease(b"e", "rec", monotonic_ms(), monotonic_ms, lambda: True, math.inf)
        watched.parts.leases.add([lease])
        started = time.monotonic()
        outcome = webhook.send(Event(b"e", b"{}"), lease, 1)
        took_s = time.monotonic() - started
        is_over.set()
        server.join(LIMIT_S)
    assert outcome is Outcome.CUT
    assert took_s < LIMIT_S / 2


def test_a_give_has_its_receipt_within_two_seconds(config: Path) -> None:
    """Its entry wakes the sequencer; that it looks soon without being woken, tests/cloud/test_sequencer.py shows."""
    found = Service(load(config))
    parts, owner = found.parts, kit.OWNER_KEY.public
    with parts.store.transaction() as t:
        t.devices.add(Device(DEVICE, VEHICLE, kit.TENANT, 1, bytes(32), bytes(32), "active"), 1)
        t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(owner), owner)
        t.consents.add_offer(kit.OFFER_ID, kit.TENANT, kit.RECIPIENT, kit.OFFER, 1)
    now = now_ms()
    token = kit.token(given_ms=now, not_before_ms=now, expires_ms=now + kit.DAY_MS)
    started = time.monotonic()
    parts.consents.give(token, kit.VEHICLE)
    assert found._to_log.is_set()
    (sequencer,) = (thread for thread in found._threads() if thread.name == "sequencer")
    sequencer.start()
    until(lambda: bool(receipts(parts)))
    assert time.monotonic() - started < RECEIPT_S_MAX
    found.stop()
    sequencer.join(LIMIT_S)
    parts.store.close()


def receipts(parts: Parts) -> list[object]:
    """What the cloud has to show for the record by now."""
    with parts.store.transaction() as t:
        stored, log = t.consents.record(kit.RECORD_ID), parts.sequencer._key.public
        assert stored is not None
        answer = Receipts(log).of(t, stored, -1)["receipts"]
    assert isinstance(answer, list)
    return answer


def test_a_home_assistant_of_the_configuration_can_be_told_to_forget(config: Path) -> None:
    """Whatever the service puts around it."""
    table = 'kind = "homeassistant"\nid = "rcp_aaaaaaaaaaaaaaaa"\nname = "Home"\nhost = "127.0.0.1"\nport = 9\n'
    config.write_text(f"{CONFIG}[[recipient]]\n{table}")
    parts = Service(load(config)).parts
    assert isinstance(parts.recipients["rcp_aaaaaaaaaaaaaaaa"], ForgetfulRecipient)
    parts.store.close()


def test_a_store_that_a_command_made_before_the_first_start_lacks_no_journal(config: Path) -> None:
    """Enrolling the first unit makes it, and nobody has said yes to anything: no alarm on a new installation."""
    open_store(load(config).store, b"i" * 16, 1).store.close()
    parts = Service(load(config)).parts
    parts.consents.replay_journal()
    with parts.store.transaction() as t:
        assert not dict(t.counters.all()).get("journal_missing")
    parts.store.close()
