"""A recipient behind a real Mosquitto with TLS: what it hears is what a file would hold, once each."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import certificates
from carnet_cloud.recipients import Event, JsonLines, Mqtt, Outcome, Recipient
from carnet_cloud.recipients.opening import open_recipient
from carnet_cloud.recipientsections import HomeAssistantRecipient, MqttRecipient
from tests import consentkit as kit
from tests.cloud.recipientkit import NOW_S, Way, event, lease
from tests.system.mosquitto import HOST, Mosquitto

WAIT_S = 20.0
TOPIC = "their/events"
CONFIG = """\
listener {port} 127.0.0.1
cafile {folder}/tls/ca.pem
certfile {folder}/tls/broker.pem
keyfile {folder}/tls/broker.key
require_certificate true
use_identity_as_username true
persistence true
persistence_location {folder}/
max_packet_size 300000
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    place = tmp_path / "tls"
    certificates.make_authority(place)
    certificates.make_broker(place, [HOST])
    for name in ("carnet", "their-reader"):
        certificates.issue(place, name, name, certificates.CLIENT)
    with Mosquitto(tmp_path, CONFIG) as started:
        yield started


def section(broker: Mosquitto, ca: str = "ca.pem") -> MqttRecipient:
    place = broker.folder / "tls"
    (place / "carnet.key").chmod(0o600)
    return MqttRecipient(
        kind="mqtt", id=kit.RECIPIENT, name="Shop", host=HOST, port=broker.port, topic=TOPIC,
        ca_file=place / ca, cert_file=place / "carnet.pem", key_file=place / "carnet.key",
    )  # fmt: skip


class Reader:
    """The recipient's own subscriber, whose session the broker keeps."""

    def __init__(self, broker: Mosquitto, topic: str = TOPIC, name: str = "their-reader") -> None:
        self.heard: queue.Queue[bytes] = queue.Queue()
        place = broker.folder / "tls"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.tls_set(str(place / "ca.pem"), str(place / "their-reader.pem"), str(place / "their-reader.key"))
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = 3600
        self._subscribed: queue.Queue[int] = queue.Queue()
        self._client.on_subscribe = lambda *_: self._subscribed.put(1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_message = lambda _client, _data, message: self.heard.put(bytes(message.payload))
        self._client.connect(HOST, broker.port, clean_start=False, properties=kept)
        self._client.loop_start()
        self._subscribed.get(timeout=WAIT_S)

    def wait_until_back(self) -> None:
        self._subscribed.get(timeout=WAIT_S)

    def take(self, count: int) -> list[bytes]:
        return [self.heard.get(timeout=WAIT_S) for _ in range(count)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def reader(broker: Mosquitto) -> Iterator[Reader]:
    with contextlib.closing(Reader(broker)) as found:
        yield found


@pytest.fixture
def adapter(broker: Mosquitto) -> Iterator[Recipient]:
    with contextlib.closing(open_recipient(section(broker))) as found:
        yield found


def test_the_reader_hears_what_a_file_would_hold(adapter: Recipient, reader: Reader, tmp_path: Path) -> None:
    """And after a withdrawal nothing."""
    path = tmp_path / "beside" / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        assert Way(tmp_path / "one", file, 20).forwarder.step(kit.RECIPIENT)
    way = Way(tmp_path / "two", adapter, 20)
    while way.outcomes().get("queued"):
        assert way.forwarder.step(kit.RECIPIENT)
    assert reader.take(20) == path.read_bytes().splitlines()
    way.withdraw()
    assert not way.forwarder.step(kit.RECIPIENT)
    assert way.outcomes() == {"confirmed": 20}
    # what comes next on the wire is another event, so nothing came between
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    assert reader.take(1) == [event(1).body]


def test_a_broker_that_was_away_gets_the_rest_when_it_is_back(
    broker: Mosquitto, adapter: Recipient, reader: Reader, tmp_path: Path
) -> None:
    """Nothing was kept for it meanwhile but in the outbox."""
    way = Way(tmp_path / "way", adapter, 6)
    assert way.forwarder.step(kit.RECIPIENT)
    heard = set(reader.take(6))
    broker.stop()
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.RETRY
    broker.start()
    reader.wait_until_back()
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    # what the reader had not confirmed to its broker, the broker repeats
    came = next(body for body in iter(lambda: reader.take(1)[0], b"") if body not in heard)
    assert came == event(1).body
    assert len(heard) == 6
    assert way.outcomes() == {"confirmed": 6}


def test_two_receivers_do_not_throw_one_another_out(broker: Mosquitto, reader: Reader) -> None:
    """A broker ends the older of two connections with one client id."""
    with contextlib.ExitStack() as both:
        found = [both.enter_context(contextlib.closing(open_recipient(section(broker), name))) for name in ("1", "2")]
        links = [adapter._link for adapter in found if isinstance(adapter, Mqtt)]
        for number in range(6):
            assert found[number % 2].send(event(number), lease(), NOW_S) is Outcome.CONFIRMED
        assert [link.made for link in links] == [1, 1]
    assert len(reader.take(6)) == 6


def test_with_nobody_subscribed_nothing_is_confirmed(adapter: Recipient) -> None:
    """Mosquitto says so, and throws the message away."""
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.RETRY


def test_more_than_the_broker_takes_is_refused_and_the_rest_goes_on(adapter: Recipient, reader: Reader) -> None:
    assert adapter.send(event(1, 400_000), lease(), NOW_S) is Outcome.REFUSED
    assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
    assert reader.take(1) == [event(2).body]


def test_another_authority_gets_nothing(broker: Mosquitto, reader: Reader, tmp_path: Path) -> None:
    """A broker that shows a certificate of somebody else is not the recipient's."""
    other = tmp_path / "other"
    certificates.make_authority(other)
    (other / "ca.pem").rename(broker.folder / "tls" / "other.pem")
    with contextlib.closing(open_recipient(section(broker, "other.pem"))) as adapter:
        assert adapter.send(event(1), lease(), NOW_S) is Outcome.RETRY
    assert reader.heard.empty()


def test_what_home_assistant_shows_is_gone_from_a_real_broker_after_a_withdrawal(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """Retained there while the consent lasts, and whoever subscribes afterwards is told of nothing. What is older than
    that changes nothing, also from a receiver that was started again.
    """
    place = broker.folder / "tls"
    (place / "carnet.key").chmod(0o600)
    home = HomeAssistantRecipient(
        kind="homeassistant", id=kit.RECIPIENT, name="Home", host=HOST, port=broker.port,
        ca_file=place / "ca.pem", cert_file=place / "carnet.pem", key_file=place / "carnet.key",
    )  # fmt: skip
    with contextlib.closing(open_recipient(home)) as adapter:
        way = Way(tmp_path / "way", adapter, 2)
        assert way.forwarder.step(kit.RECIPIENT)
        with contextlib.closing(Reader(broker, "#")) as first:
            assert all(first.take(4))
        with contextlib.closing(open_recipient(home, "again")) as started_again:
            way.forwarder_of(started_again, b"sender02")
            older = {"path": kit.SPEED, "unit": "km/h", "t_ms": [1], "v": [99]}
            data = {"record": kit.RECORD_ID, "generation": 1, "columns": [older]}
            body = json.dumps({"id": "00", "subject": "x", "data": data}).encode()
            assert started_again.send(Event(b"0", body), lease(), NOW_S) is Outcome.CONFIRMED
        with contextlib.closing(Reader(broker, "carnet/#", "between")) as between:
            assert all(json.loads(each)["value"] != 99 for each in between.take(2))
        way.withdraw()
        assert way.forwarder.step(kit.RECIPIENT)
        with contextlib.closing(Reader(broker, "#", "new")) as second:
            with contextlib.closing(open_recipient(section(broker))) as other:
                assert other.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
            assert second.take(1) == [event(1).body]
