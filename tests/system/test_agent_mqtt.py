"""The unit's broker link on a real Mosquitto: what is handed over arrives, what ends is forgotten, nothing hangs."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carnet.ids import device_text
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.topics import filter_up, topic_down, topic_up
from carnet_agent import mqtt
from carnet_agent.mqtt import WINDOW, Arrived, BrokerLink, Down, Event, Up
from carnet_agent.service import STOP_S
from carnet_agent.settings import MqttSection
from tests.conftest import CHECKOUT
from tests.system.brokerclient import BrokerClient
from tests.system.mosquitto import PLAIN, Mosquitto, shipped
from tests.system.oldbroker import MQTT_5, REFUSALS, OldBroker

DEVICE = bytes(range(16))
NAME = device_text(DEVICE)
OTHER = bytes(range(1, 17))
WAIT_S = 15.0


def until(happened: Callable[[], bool]) -> None:
    """Wait for it; polling real processes cannot do without a little sleep."""
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """As it is shipped, with certificates."""
    with shipped(tmp_path_factory.mktemp("broker"), ["receiver-1"], [NAME]) as started:
        yield started


@pytest.fixture
def receiver(broker: Mosquitto) -> Iterator[BrokerClient]:
    """Subscribed to all units."""
    with BrokerClient(broker.port, broker.folder / "carnet", "receiver-1") as made:
        made.subscribe(filter_up("+"))
        yield made


@pytest.fixture
def link(broker: Mosquitto) -> Iterator[BrokerLink]:
    place = broker.folder / "carnet"
    made = BrokerLink(
        MqttSection(
            host="127.0.0.1",
            port=broker.port,
            ca_file=place / "ca.pem",
            cert_file=place / f"{NAME}.pem",
            key_file=place / f"{NAME}.key",
        ),
        DEVICE,
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Mosquitto]:
    """No certificates; one password."""
    passwords = tmp_path / "passwords"
    passwords.write_text(f"{NAME}:secret\n")
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    config = PLAIN.replace("allow_anonymous true", f"allow_anonymous false\npassword_file {passwords}")
    with Mosquitto(tmp_path, config) as started:
        yield started


def with_password(folder: Path, port: int, password: str = "secret") -> BrokerLink:
    """A link to a plain broker, not started."""
    file = folder / "password"
    file.write_text(password)
    file.chmod(0o600)
    return BrokerLink(MqttSection(host="127.0.0.1", port=port, password_file=file), DEVICE)


def gather(link: BrokerLink, events: list[Event], kind: type[Event], count: int = 1) -> None:
    def enough() -> bool:
        events.extend(link.take())
        return sum(isinstance(event, kind) for event in events) >= count

    until(enough)


def test_messages_go_both_ways_on_the_units_own_topics(link: BrokerLink, receiver: BrokerClient) -> None:
    """Up on the device's up topic, down from its down topic, by the certificate's name; a neighbour's never come."""
    events: list[Event] = []
    gather(link, events, Up)
    assert link.send(b"envelope")
    assert receiver.receive() == (topic_up(DEVICE), b"envelope")
    receiver.publish(topic_down(OTHER), b"not for us")
    receiver.publish(topic_down(DEVICE), b"answer")
    gather(link, events, Arrived)
    assert events == [Up(1), Arrived(b"answer")]


def test_far_more_than_a_window_arrives_in_order(link: BrokerLink, receiver: BrokerClient) -> None:
    """Only a window is with paho at any time; the rest waits here and nothing is lost or doubled."""
    gather(link, [], Up)
    sent = [number.to_bytes(2, "big") for number in range(4 * WINDOW)]
    assert all(link.send(payload) for payload in sent)
    assert [receiver.receive()[1] for _ in sent] == sent


def test_f17_the_largest_message_passes_and_a_larger_one_ends_nothing(link: BrokerLink, receiver: BrokerClient) -> None:
    """A message that the broker would refuse by hanging up is dropped and counted; the connection goes on."""
    gather(link, [], Up)
    assert link.send(b"x" * (MESSAGE_BYTES_MAX + 1000))
    assert link.send(b"y" * MESSAGE_BYTES_MAX)
    assert receiver.receive()[1] == b"y" * MESSAGE_BYTES_MAX
    assert link.counters["too_large_for_broker"] == 1
    assert link.counters["connections"] == 1


def test_f20_stop_waits_for_what_was_handed_over(link: BrokerLink, receiver: BrokerClient) -> None:
    gather(link, [], Up)
    sent = [bytes([number]) for number in range(4 * WINDOW)]
    assert all(link.send(payload) for payload in sent)
    link.stop(wait_s=WAIT_S)
    assert [receiver.receive()[1] for _ in sent] == sent


def test_a_broker_that_comes_back_is_found_again(tmp_path: Path, plain: Mosquitto) -> None:
    """Down, then Up with the next generation; in between nothing is taken."""
    made = with_password(tmp_path, plain.port)
    made.start()
    events: list[Event] = []
    gather(made, events, Up)
    plain.kill()
    gather(made, events, Down)
    assert not made.send(b"into the void")
    plain.start()
    gather(made, events, Up, 2)
    assert events == [Up(1), Down(1), Up(2)]
    made.stop()


def test_a_broker_that_confirms_nothing_holds_one_window(tmp_path: Path, plain: Mosquitto) -> None:
    """paho gets no more than that, however much waits: what it has is lost with the connection."""
    made = with_password(tmp_path, plain.port)
    made.start()
    gather(made, [], Up)
    assert plain._process is not None
    plain._process.send_signal(signal.SIGSTOP)
    try:
        assert all(made.send(bytes([number])) for number in range(4 * WINDOW))
        until(lambda: made.counters["unconfirmed"] > 0)
        until(lambda: len(made.outgoing) <= 3 * WINDOW)
        assert made.counters["unconfirmed"] == WINDOW
    finally:
        plain._process.send_signal(signal.SIGCONT)
        made.stop()


def test_f11_a_broker_that_falls_silent_is_left_and_found_again(
    tmp_path: Path, plain: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands and nothing comes: after the keep-alive it is given up, and another one is made."""
    monkeypatch.setattr("carnet_agent.mqtt.KEEPALIVE_S", 1)
    made = with_password(tmp_path, plain.port)
    made.start()
    events: list[Event] = []
    gather(made, events, Up)
    assert plain._process is not None
    plain._process.send_signal(signal.SIGSTOP)
    try:
        gather(made, events, Down)
        assert not made.send(b"into the void")
    finally:
        plain._process.send_signal(signal.SIGCONT)
    gather(made, events, Up, 2)
    made.stop()


def test_a_wrong_password_is_counted_and_tried_again(tmp_path: Path, plain: Mosquitto) -> None:
    """The thread lives on; the version is not blamed."""
    made = with_password(tmp_path, plain.port, "wrong")
    made.start()
    until(lambda: any(name.startswith("refused_") for name in made.counters))
    assert not made.connected.is_set()
    assert made.counters["other_version"] == made.counters["unanswered"] == 0
    assert "look at mqtt.username, mqtt.password_file" in (made.fault or "")
    made.stop()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_broker_of_before_mqtt_5_is_spoken_to_in_3_1_1(tmp_path: Path, plain: Mosquitto, refusal: bytes) -> None:
    """Nothing that we do needs version 5: what is sent arrives and is confirmed."""
    with OldBroker(plain.port, refusal) as old:
        made = with_password(tmp_path, old.port)
        made.start()
        gather(made, [], Up)
        assert made.send(b"envelope")
        until(lambda: made.counters["confirmed"] == 1)
        assert old.versions[0] == MQTT_5 and old.versions[-1] != MQTT_5
        counted = "unanswered" if refusal == REFUSALS["by hanging up"] else "other_version"
        assert made.counters[counted] == 1 and made.counters["other_version"] + made.counters["unanswered"] == 1
        assert made.fault is None
        made.stop()


class Impatient(threading.Event):
    """Notes how long somebody would have waited, and lets it go on at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            self.waits.append(timeout)
        return self.is_set()


def test_f19_units_that_lost_one_broker_come_back_scattered_over_a_minute(tmp_path: Path) -> None:
    """Full jitter: anything from nothing to a limit that doubles from a second to a minute, each time anew.

    Chance is not handed in here; of 200 draws none from one quarter of the minute would be one case in 10 to the 25.
    """
    units = [with_password(tmp_path, 9) for _ in range(2)]
    noted = [Impatient(), Impatient()]
    for unit, stopping in zip(units, noted, strict=True):
        unit.stopping = stopping
        unit.start()
    until(lambda: all(len(each.waits) >= 206 for each in noted))
    for unit in units:
        unit.stop()
    for waits in (each.waits[:206] for each in noted):
        assert all(0 <= wait <= 2**number for number, wait in enumerate(waits[:6]))
        assert {int(wait // 15) for wait in waits[6:]} == {0, 1, 2, 3}
        assert len(set(waits)) == len(waits)
    assert not set(noted[0].waits) & set(noted[1].waits)


def test_a_port_where_nobody_listens_is_no_error(tmp_path: Path) -> None:
    """A car is often where there is no broker."""
    made = with_password(tmp_path, 9)
    made.start()
    until(lambda: made.counters["failed_ConnectionRefusedError"] >= 1)
    assert made.take() == []
    made.stop()


def test_a_stop_waits_for_no_name_that_is_being_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is on the disk by then; with what a stop waits for the broker it is less than systemd allows."""
    over, begun = threading.Event(), threading.Event()

    class LookingUp:
        def __init__(self, *_: object) -> None: ...

        def run(self) -> None:
            begun.set()
            over.wait(WAIT_S)

    monkeypatch.setattr(mqtt, "Connection", LookingUp)
    made = BrokerLink(MqttSection(host="127.0.0.1"), DEVICE)
    made.start()
    assert begun.wait(WAIT_S)
    started = time.monotonic()
    made.stop(STOP_S)
    assert time.monotonic() - started < mqtt.JOIN_S_MAX + STOP_S
    over.set()
    unit = (CHECKOUT / "systemd" / "carnet-agent.service").read_text()
    assert float(unit.partition("TimeoutStopSec=")[2].split()[0]) > STOP_S + mqtt.JOIN_S_MAX
