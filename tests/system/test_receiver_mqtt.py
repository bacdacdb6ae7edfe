"""The receiver's broker link on real brokers: it hears its shards, and says that it is connected only when it does."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from carnet.topics import topic_down, topic_up
from carnet_cloud.config import MqttSection
from carnet_cloud.mqtt import BrokerLink
from tests.system.mosquitto import HOST, PLAIN, Mosquitto
from tests.system.oldbroker import MQTT_5, REFUSALS, OldBroker
from tests.system.road import until

FIRST, LAST, OTHER = bytes(16), b"\xff" * 16, b"\x7f" * 16
USERS = '[users.aaaaaaaaaaaaaaaaaaaaaaaaaa]\npassword = "secret"\nrole = "device"\n'


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, PLAIN) as started:
        yield started


def receiver(port: int, *shards: str) -> BrokerLink:
    """A link to a broker without names, not started."""
    return BrokerLink(MqttSection(host=HOST, port=port, shards=shards or ("+",)), "receiver")


def publish(port: int, *topics: str) -> None:
    """One message to each topic; every one confirmed by the broker when this returns."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(HOST, port)
    client.loop_start()
    for topic in topics:
        client.publish(topic, b"x", qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def heard(link: BrokerLink, count: int) -> list[str]:
    topics: list[str] = []

    def enough() -> bool:
        topics.extend(topic for topic, _ in link.take(10, 0.05))
        return len(topics) >= count

    until(enough)
    return topics


def test_a_receiver_of_two_shards_hears_these_and_no_third(broker: Mosquitto) -> None:
    """Another receiver has the others: two that work on one device would both number its events."""
    link = receiver(broker.port, "00", "ff")
    link.start()
    until(link.connected.is_set)
    publish(broker.port, topic_up(FIRST), topic_up(OTHER), topic_down(FIRST), topic_up(LAST))
    assert heard(link, 2) == [topic_up(FIRST), topic_up(LAST)]
    assert link.take(10, 0.05) == []
    link.stop()


def test_f21_a_connection_on_which_nothing_comes_shows_progress_all_the_same(broker: Mosquitto) -> None:
    """Or a quiet night would be taken for a thread that hangs."""
    link = receiver(broker.port)
    link.start()
    until(link.connected.is_set)
    for _ in range(2):
        before = link.progress_s
        until(lambda: link.progress_s > before)  # noqa: B023
    assert link.connected.is_set()
    link.stop()


def test_a_receiver_whose_subscription_is_refused_never_says_that_it_receives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker lets it in by a device's name; it may read that device's answers and nothing else."""
    users, password, ready = tmp_path / "users.toml", tmp_path / "password", tmp_path / "port"
    users.write_text(USERS)
    password.write_text("secret")
    password.chmod(0o600)
    words = ["broker", "--port", "0", "--ready-file", str(ready), "--users", str(users)]
    with subprocess.Popen([sys.executable, "-m", "carnet_simulator", *words], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        port = int(it.stdout.readline().split()[-1])
        section = MqttSection(host=HOST, port=port, username="a" * 26, password_file=password)
        link = BrokerLink(section, "receiver")
        with caplog.at_level(logging.WARNING):
            link.start()
            until(lambda: link.failed >= 2)
        assert not link.connected.is_set()
        link.stop()
        it.terminate()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "refuses the subscriptions" in said[0]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_broker_of_before_mqtt_5_is_spoken_to_in_3_1_1(broker: Mosquitto, refusal: bytes) -> None:
    """Nothing that we do needs version 5: what is published arrives, and what is answered leaves."""
    with OldBroker(broker.port, refusal) as old:
        link = receiver(old.port)
        link.start()
        until(link.connected.is_set)
        publish(broker.port, topic_up(FIRST))
        assert heard(link, 1) == [topic_up(FIRST)]
        assert old.versions[0] == MQTT_5 and old.versions[-1] != MQTT_5
        assert link.unanswered == (refusal == REFUSALS["by hanging up"])
        link.stop()


def test_a_receiver_that_was_refused_for_another_reason_keeps_to_mqtt_5(tmp_path: Path) -> None:
    """A wrong password is nobody's version."""
    passwords, wrong = tmp_path / "passwords", tmp_path / "wrong"
    passwords.write_text("receiver:secret\n")
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    wrong.write_text("guess")
    wrong.chmod(0o600)
    config = PLAIN.replace("allow_anonymous true", f"allow_anonymous false\npassword_file {passwords}")
    with Mosquitto(tmp_path, config) as broker:
        section = MqttSection(host=HOST, port=broker.port, username="receiver", password_file=wrong)
        link = BrokerLink(section, "receiver")
        link.start()
        until(lambda: any("refuses this receiver" in each for each in link._said))
        assert link._version == MQTT_5
        link.stop()


@pytest.mark.parametrize("shard", ["zz", "0", "000", "FF", "#", ""])
def test_a_shard_of_another_form_is_refused(shard: str) -> None:
    with pytest.raises(ValueError, match="shards"):
        MqttSection(host=HOST, shards=(shard,))
