"""Who looks into the cloud's log learns which recipient takes nothing and why: once, and once that it is over."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import mqtt5
import pytest
from confluent_kafka import KafkaError

from carnet.errors import UnavailableError
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.monitoring.troubles import WELL_MS, Troubles
from carnet_cloud.recipients import Event, JsonLines, Mqtt, Outcome, Recipient, Webhook
from carnet_cloud.recipients.homeassistant import HomeAssistant
from carnet_cloud.recipients.kafka import Cluster, Kafka
from carnet_cloud.recipients.mqttconnection import Broker
from tests import consentkit as kit
from tests.cloud.forwardkit import Listener, cloud, listener, queued, unit
from tests.cloud.kafkakit import TOPIC, brokers, kafka_end
from tests.cloud.kit import Cloud, Unit
from tests.cloud.recipientkit import NOW_S, SECRET, event, http_end, lease, mqtt_end

__all__ = ["cloud", "listener", "unit"]  # fixtures

R = kit.RECIPIENT
SENT = event(1)


class Log:
    """What was said: (event, reason) of each line."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        caplog.set_level(logging.INFO, "carnet.cloud")

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(getattr(each, "event", ""), getattr(each, "reason", "")) for each in self._caplog.records]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


class Clock:
    ms = 0.0

    def __call__(self) -> float:
        return self.ms


def test_each_reason_is_said_once_until_it_is_over(log: Log) -> None:
    clock = Clock()
    troubles = Troubles({R: Listener()}, clock)
    for outcome in (Outcome.RETRY, Outcome.RETRY, Outcome.REFUSED, Outcome.RETRY):
        troubles.seen(R, [outcome])
    first = [("recipient_trouble", "unanswered"), ("recipient_trouble", "refused")]
    assert log.lines == first
    clock.ms += WELL_MS
    troubles.seen(R, [Outcome.UNSENT])
    assert log.lines == first
    troubles.seen(R, [Outcome.CONFIRMED])
    troubles.seen(R, [Outcome.CONFIRMED])
    troubles.seen(R, [Outcome.RETRY])
    assert log.lines[2:] == [("recipient_recovered", ""), ("recipient_trouble", "unanswered")]


def test_one_that_falters_fills_no_log(log: Log) -> None:
    """Yes and no in turn, all day."""
    clock = Clock()
    troubles = Troubles({R: Listener()}, clock)
    for _ in range(1000):
        clock.ms += WELL_MS / 10
        troubles.seen(R, [Outcome.CONFIRMED])
        troubles.seen(R, [Outcome.RETRY, Outcome.CONFIRMED])
    assert len(log.lines) == 1


def test_a_send_that_a_withdrawal_cuts_is_no_trouble_but_one_after_another_is(log: Log) -> None:
    troubles = Troubles({R: Listener()}, Clock())
    for outcomes in ([Outcome.CUT], [Outcome.CONFIRMED], [Outcome.CUT]):
        troubles.seen(R, outcomes)
    assert log.lines == []
    troubles.seen(R, [Outcome.CUT])
    assert log.lines == [("recipient_trouble", "cut")]


def test_a_forwarder_tells_but_not_of_errors_of_ours(cloud: Cloud, unit: Unit, listener: Listener, log: Log) -> None:
    """Those its loop tells."""
    troubles = Troubles({R: listener}, cloud.clock.monotonic_ms)
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends: dict[str, Recipient] = {R: listener}
    forwarder = Forwarder(
        cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01", seen=troubles.seen
    )
    queued(cloud, unit, 2)
    listener.during = _fail
    with pytest.raises(UnavailableError):
        forwarder.step(R)
    assert log.lines == []
    listener.during, listener.outcome = lambda _: None, Outcome.RETRY
    cloud.clock.ms += 10_000
    assert forwarder.step(R)
    assert log.lines == [("recipient_trouble", "unanswered")]


def _fail(_: int) -> None:
    raise UnavailableError("ours", "of our own making")


def reason(recipient: Recipient, sent: Event = SENT) -> str:
    """What the log would say of one event."""
    assert recipient.send(sent, lease(), NOW_S) in (Outcome.RETRY, Outcome.WRITTEN)
    recipient.finish()
    trouble = getattr(recipient, "trouble", None)
    recipient.close()
    assert trouble is not None and sent.name not in trouble.sentence
    return str(trouble.reason)


def test_an_adapter_says_what_it_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who must be called differs."""
    assert reason(Webhook("http://127.0.0.1:9/", SECRET, timeout_s=1)) == "unreachable"
    assert reason(Mqtt(Broker("127.0.0.1", 9, "us"), "a/b", timeout_s=1)) == "unreachable"
    with http_end() as end:
        end.answers = [503, "close"]
        assert reason(Webhook(end.url, SECRET)) == "status_503"
        assert reason(Webhook(end.url, SECRET)) in ("answer_broken", "unreachable")
    file = JsonLines(tmp_path / "events.jsonl")
    monkeypatch.setattr("carnet_cloud.recipients.jsonlines.os.fsync", _full)
    assert reason(file) == "file"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (16, "unheard"),
        (135, "puback_135"),
        ("busy", "puback_151"),
        ("broken", "answer_broken"),
        ("close", "answer_broken"),
    ],
)
def test_of_a_topic_it_is_what_its_broker_answers(answer: str | int, word: str) -> None:
    with mqtt_end() as end:
        end.answers = [answer]
        assert reason(Mqtt(end.broker, "a/b")) == word


@pytest.mark.parametrize(
    ("code", "word"),
    [("BAD_USER_NAME_OR_PASSWORD", "login"), ("NOT_AUTHORIZED", "login"), ("BAD_AUTHENTICATION_METHOD", "login"),
     ("SERVER_BUSY", "connack_137")],
)  # fmt: skip
def test_or_why_its_broker_lets_us_not_in(code: str, word: str) -> None:
    with mqtt_end(mqtt5.ConnAckPacket(reason_code=getattr(mqtt5.ConnAckReasonCode, code))) as end:
        assert reason(Mqtt(end.broker, "a/b")) == word


COLUMN = {"path": "Vehicle.Speed", "unit": "km/h", "t_ms": [1], "v": [1]}
HOMES = Event(
    bytes(16),
    json.dumps({"id": "e", "subject": "s", "data": {"record": "r", "generation": 1, "columns": [COLUMN]}}).encode(),
)


def test_a_home_says_what_its_broker_lacks() -> None:
    with mqtt_end(mqtt5.ConnAckPacket(retain_available=False)) as end:
        assert reason(HomeAssistant(end.broker, "homeassistant", "carnet"), HOMES) == "not_retained"


def test_a_home_to_which_nobody_listens_lacks_nothing() -> None:
    """Its broker keeps what comes: another event of the group that failed did not fail for that."""
    with mqtt_end() as end:
        end.answers = [16, 16]
        adapter = HomeAssistant(end.broker, "homeassistant", "carnet")
        assert adapter.send(HOMES, lease(), NOW_S) is Outcome.CONFIRMED
        assert adapter.trouble is None
        adapter.close()


def test_a_cluster_is_away_or_says_why_it_does_not_take_an_event() -> None:
    gone = Kafka(Cluster(("127.0.0.1:9",), {}), "events", timeout_s=0.2)
    assert reason(gone) == "unreachable"
    with kafka_end() as end:
        end.answers = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
        assert reason(Kafka(Cluster(brokers(end), {}), TOPIC)) == "kafka_topic_authorization_failed"


@pytest.mark.parametrize("kind", ["topic", "cluster"])
def test_why_one_event_of_a_group_failed_is_still_known_when_the_next_went_well(kind: str, log: Log) -> None:
    """The group is told of as a whole; and of one that went well nothing is said."""
    with mqtt_end() if kind == "topic" else kafka_end() as end:
        adapter: Mqtt | Kafka
        if kind == "topic":
            end.answers, adapter, word = ["busy"], Mqtt(end.broker, "a/b"), "puback_151"
        else:
            adapter, word = Kafka(Cluster(brokers(end), {}), TOPIC), "kafka_topic_authorization_failed"
            end.answers = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
        troubles = Troubles({R: adapter}, Clock())
        outcomes = [adapter.send(event(number), lease(), NOW_S) for number in range(2)]
        adapter.close()
        assert outcomes == [Outcome.RETRY, Outcome.CONFIRMED]
        troubles.seen(R, outcomes[1:])
        assert log.lines == []
        troubles.seen(R, outcomes)
        assert log.lines == [("recipient_trouble", word)]


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
