"""A recipient's endpoint that is malicious or broken, and an event that nobody can send."""

from __future__ import annotations

import base64
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carnet.ids import device_text, format_id
from carnet_cloud.event import pseudonym
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease, LeaseOver, Leases
from carnet_cloud.recipients import Event, Outcome, Recipient, Webhook
from tests import consentkit as kit
from tests.cloud.kit import VEHICLE, Cloud, Unit

SECRET = "whsec_" + base64.b64encode(b"a secret that both sides know").decode()
EVENT = Event(b"e" * 16, b'{"id":"x","data":"' + b"d" * 40_000 + b'"}')
Behaviour = Callable[[socket.socket], None]
WAIT_S = 30.0


class Villain:
    """A server whose every connection does what ``behave`` says; counts what it was sent."""

    def __init__(self, behave: Behaviour) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._behave = behave
        self._callers: list[tuple[str, int]] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, caller = self._listener.accept()
            except OSError:
                return
            self._callers.append(caller)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._behave(connection)
            except OSError:
                return

    def connections(self) -> int:
        """How many were made before this call: one more is made, and they are accepted in their order."""
        with socket.create_connection(self._listener.getsockname()) as last:
            until(lambda: last.getsockname() in self._callers)
            return self._callers.index(last.getsockname())

    def close(self) -> None:
        self._listener.close()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


@pytest.fixture
def villain() -> Iterator[Callable[[Behaviour], Villain]]:
    made: list[Villain] = []

    def make(behave: Behaviour) -> Villain:
        made.append(Villain(behave))
        return made[-1]

    yield make
    for each in made:
        each.close()


def take_all(connection: socket.socket) -> None:
    """Read one request: its header and the 40 kB of its body."""
    got = b""
    while b"\r\n\r\n" not in got or len(got) < len(EVENT.body):
        got += connection.recv(65_536)


def new_lease() -> Lease:
    return Lease(EVENT.event_id, "rec", time.monotonic() * 1000, lambda: time.monotonic() * 1000, lambda: True)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"a"),
    ],
    ids=["header", "continue", "body"],
)
def test_a_recipient_that_never_ends_its_answer_is_cut(
    villain: Callable[[Behaviour], Villain], head: bytes, piece: bytes
) -> None:
    """No time-out of a single read ever fires; the age of the send does, or one recipient stopped the whole cloud."""
    well_under_way = threading.Event()

    def drip(connection: socket.socket) -> None:
        take_all(connection)
        connection.sendall(head)
        for count in itertools.count(1):
            connection.sendall(piece)
            if count == 10:
                well_under_way.set()
            time.sleep(0.01)

    leases, lease = Leases(), new_lease()
    leases.add([lease])
    webhook = Webhook(villain(drip).url, SECRET)
    outcomes: list[Outcome] = []
    sender = threading.Thread(target=lambda: outcomes.append(webhook.send(EVENT, lease, 1)), daemon=True)
    sender.start()
    assert well_under_way.wait(WAIT_S)
    assert sender.is_alive()
    assert leases.cut_begun_before(time.monotonic() * 1000) == 1
    sender.join(WAIT_S)
    assert outcomes == [Outcome.CUT]


def test_after_a_cut_no_write_opens_another_connection(villain: Callable[[Behaviour], Villain]) -> None:
    """A withdrawal between the last look at the lease and the write: the rest goes nowhere."""
    server = villain(take_all)
    webhook = Webhook(server.url, SECRET)
    cut_at = 3

    class Withdrawn(Lease):
        looks = 0

        def guard(self) -> None:
            super().guard()
            self.looks += 1
            if self.looks == cut_at:
                self.cut()

    lease = Withdrawn(EVENT.event_id, "rec", 0.0, lambda: 0.0, lambda: True)
    assert webhook.send(EVENT, lease, 1) is Outcome.CUT
    assert server.connections() == 1


def test_an_early_hint_is_not_taken_for_the_next_events_answer(villain: Callable[[Behaviour], Villain]) -> None:
    """103 and then 200 on one connection: the 200 confirms nothing that was not sent yet."""

    def hint(connection: socket.socket) -> None:
        take_all(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        # until the other side goes: were it here that the connection ends, nothing could be taken for a next answer
        connection.recv(1)

    server = villain(hint)
    webhook = Webhook(server.url, SECRET)
    assert webhook.send(EVENT, new_lease(), 1) is Outcome.RETRY
    assert webhook.send(EVENT, new_lease(), 1) is Outcome.RETRY
    assert server.connections() == 2


def test_a_redirect_is_not_followed(villain: Callable[[Behaviour], Villain]) -> None:
    """Nobody moves an owner's data to another address by an answer."""
    other = villain(take_all)

    def redirect(connection: socket.socket) -> None:
        take_all(connection)
        connection.sendall(f"HTTP/1.1 307 Go\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode())

    assert Webhook(villain(redirect).url, SECRET).send(EVENT, new_lease(), 1) is Outcome.RETRY
    assert other.connections() == 0


# what waits before others


class Picky:
    """A recipient in memory that fails on chosen events."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.poison: bytes | None = None

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        if self.poison is None:
            self.poison = event.event_id
        if event.event_id == self.poison:
            raise AttributeError
        lease.guard()
        self.got.append(event.event_id)
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def make_forwarder(cloud: Cloud, recipient: Recipient) -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    return Forwarder(
        cloud.store, {kit.RECIPIENT: recipient}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01"
    )


def test_an_event_that_cannot_be_sent_holds_no_other_up(cloud: Cloud) -> None:
    """Its failure is counted, and it waits like one that nobody took."""
    unit, picky = Unit(), Picky()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema(), unit.data(), unit.data())
    forwarder = make_forwarder(cloud, picky)
    with pytest.raises(AttributeError):
        forwarder.step(kit.RECIPIENT)
    assert len(picky.got) == 1
    cloud.clock.ms += 450
    assert not forwarder.step(kit.RECIPIENT)
    assert cloud.counters()["send_failed"] == 1


def test_a_thousand_events_of_a_silent_record_stand_before_nobody(cloud: Cloud) -> None:
    """A restored store silences one record; the others of that recipient go on at once."""
    unit, picky = Unit(), Picky()
    picky.poison = b""
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema(), *(unit.data() for _ in range(20)))
    with cloud.store.transaction() as t:
        t.consents.set_silent(kit.RECORD_ID, True)
    forwarder = make_forwarder(cloud, picky)
    assert not forwarder.step(kit.RECIPIENT)
    with cloud.store.transaction() as t:
        assert t.outbox.due(kit.RECIPIENT, b"sender01", cloud.clock.ms, 10) == []
        t.consents.set_silent(kit.RECORD_ID, False)
    cloud.clock.ms += 10_000
    assert forwarder.step(kit.RECIPIENT)


def test_a_lost_key_costs_its_own_event_alone(cloud: Cloud) -> None:
    """A restored store holds events that no key opens; what came later under a new key still goes."""
    unit, picky = Unit(), Picky()
    picky.poison = b""
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema(), unit.data())
    with cloud.store.transaction() as t:
        t.outbox_keys.rewrap(kit.RECORD_ID, kit.RECIPIENT, *cloud.wrapping.wrap(b"k" * 32))
    cloud.clock.ms += 1000
    cloud.send(unit.data())
    forwarder = make_forwarder(cloud, picky)
    assert forwarder.step(kit.RECIPIENT)
    assert len(picky.got) == 1
    assert cloud.counters()["outbox_key_gone"] == 1


def test_a_withdrawal_right_after_a_lease_was_taken_finds_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the transaction and the send there is no moment in which a cut could miss the lease."""
    unit, picky = Unit(), Picky()
    picky.poison = b""
    cloud.enrol(unit)
    token = cloud.give()
    cloud.send(unit.schema(), unit.data())
    cloud.clock.ms += 1000

    def withdrawn_meanwhile(*_: object) -> bytes:
        cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
        return b"{}"

    monkeypatch.setattr("carnet_cloud.sending.render", withdrawn_meanwhile)
    with pytest.raises(LeaseOver):
        make_forwarder(cloud, picky).step(kit.RECIPIENT)
    assert picky.got == []


INSURER = format_id("rcp_", b"an insurer")
SECRETS = (b"p" * 32, b"q" * 32)


def subjects(cloud: Cloud, recipient: str) -> set[str]:
    """The names under which a recipient knows the vehicles of its events."""
    return {event["subject"] for event in cloud.events(recipient)}


def test_w23_two_recipients_cannot_join_their_data_by_the_vehicles_name(tmp_path: Path) -> None:
    """Each has its own name for the car, which stays the same over envelopes and records and is not the car's."""
    cloud, unit = Cloud(tmp_path, recipients=(kit.RECIPIENT, INSURER)), Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.give(id=kit.OTHER_RECORD_ID)
    theirs = kit.offer_bytes(id=format_id("off_", b"offer--two"), recipient=INSURER)
    cloud.offers.publish(theirs)
    insured = format_id("rec_", b"insured---")
    cloud.consents.give(kit.token(theirs, id=insured), kit.VEHICLE)
    cloud.send(unit.schema())
    for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID, insured, insured):
        cloud.send(unit.data(records=(record,)))
    assert (len(cloud.events()), len(cloud.events(INSURER))) == (2, 2)
    (shop,), (insurer,) = subjects(cloud, kit.RECIPIENT), subjects(cloud, INSURER)
    assert len({shop, insurer, kit.VEHICLE, device_text(unit.device)}) == 4


def test_w23_a_recipient_cannot_compute_the_name_that_another_one_has() -> None:
    """Without the cloud's secret nobody gets from a vehicle, which an owner may know, to a recipient's name for it."""
    names = {pseudonym(VEHICLE, recipient, secret) for recipient in (kit.RECIPIENT, INSURER) for secret in SECRETS}
    assert len(names) == 4


# an answer that its peer breaks off

HEAD = b"HTTP/1.1 %d OK\r\nX-Padding: some words\r\n"
WHOLE = {
    "no body": HEAD + b"Content-Length: 0\r\n\r\n",
    "a body": HEAD + b"Content-Length: 4\r\n\r\nwell",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n",
    "chunks and a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\nX-Sum: 1\r\n\r\n",
}
UNTIL_THE_END = HEAD + b"Connection: close\r\n\r\nwell"
"""Where such a body ends nobody can tell from it: its peer says so by ending the connection."""


def take_request(connection: socket.socket) -> bytes:
    """Read one request to its last byte, or what is left would reset the connection; its head."""
    stream = connection.makefile("rb")
    head = b"".join(iter(stream.readline, b"\r\n"))
    stream.read(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
    return head


def answers(text: bytes) -> Behaviour:
    """Takes a request, says so much and goes."""

    def behave(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(text)

    return behave


@pytest.mark.parametrize("status", [200, 202, 410])
@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_an_answer_that_is_broken_off_anywhere_is_none(
    villain: Callable[[Behaviour], Villain], text: bytes, status: int
) -> None:
    """Neither a yes nor a no: the same event comes again. Whole, it is what its status says."""
    text = text.replace(b"%d", b"%d" % status)
    for end in (*range(0, len(text), 7), len(text) - 1):
        webhook = Webhook(villain(answers(text[:end])).url, SECRET)
        assert webhook.send(EVENT, new_lease(), 1) is Outcome.RETRY, text[:end]
        webhook.close()
    whole = Webhook(villain(answers(text)).url, SECRET)
    assert whole.send(EVENT, new_lease(), 1) is (Outcome.REFUSED if status == 410 else Outcome.CONFIRMED)
    whole.close()


def test_a_body_that_lasts_until_the_end_of_the_connection_is_whole_once_its_head_is(
    villain: Callable[[Behaviour], Villain],
) -> None:
    text = UNTIL_THE_END.replace(b"%d", b"200")
    head = text.index(b"\r\n\r\n") + 4
    outcomes = {}
    for end in range(head - 4, len(text) + 1):
        webhook = Webhook(villain(answers(text[:end])).url, SECRET)
        outcomes[end] = webhook.send(EVENT, new_lease(), 1)
        webhook.close()
    assert {end for end, outcome in outcomes.items() if outcome is Outcome.CONFIRMED} == set(range(head, len(text) + 1))
    assert set(outcomes.values()) == {Outcome.CONFIRMED, Outcome.RETRY}


def test_a_body_that_is_longer_than_we_read_is_not_called_broken(villain: Callable[[Behaviour], Villain]) -> None:
    """Its head is whole and says yes; what else the recipient tells is nobody's business."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    webhook = Webhook(villain(answers(head + b"x" * 1_000_000)).url, SECRET)
    assert webhook.send(EVENT, new_lease(), 1) is Outcome.CONFIRMED
    webhook.close()


def test_an_answer_that_was_broken_off_brings_the_same_event_again_and_is_no_confirmation(
    cloud: Cloud, villain: Callable[[Behaviour], Villain]
) -> None:
    """Over the whole way: a second try has the first one's id, and only its answer counts in the statement."""
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        head = take_request(connection)
        seen.append(next(line for line in head.split(b"\r\n") if line.startswith(b"webhook-id")))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\n" if len(seen) == 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        )

    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema(), unit.data())
    webhook = Webhook(villain(behave).url, SECRET)
    forwarder = make_forwarder(cloud, webhook)
    told = []
    for _ in range(2):
        assert forwarder.step(kit.RECIPIENT)
        with cloud.store.transaction() as t:
            told += [delivery.outcome for delivery in t.outbox.deliveries(kit.RECORD_ID)]
        cloud.clock.ms += 3_600_000
    webhook.close()
    assert told == ["queued", "confirmed"]
    assert len(seen) == 2 and seen[0] == seen[1]
