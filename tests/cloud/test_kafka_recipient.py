"""A Kafka topic as a recipient: what a report means, and that librdkafka lets nothing go behind a cut."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from pydantic import ValidationError

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.config import load
from carnet_cloud.lease import LEASE_MS, Lease
from carnet_cloud.recipients import Outcome
from carnet_cloud.recipients import kafka as product
from carnet_cloud.recipients.kafka import Cluster, Kafka
from carnet_cloud.recipients.opening import open_recipient
from carnet_cloud.recipientsections import KafkaRecipient
from tests.cloud.kafkakit import HOST, INIT_PRODUCER_ID, PRODUCE, TOPIC, KafkaEnd, brokers, kafka_end, listener
from tests.cloud.recipientkit import LIMIT_S, NOW_S, event, lease, lost_lease, until
from tests.cloud.test_commands import CONFIG, config
from tests.realparts import real_part

__all__ = ["config"]  # a fixture

LARGE = 600_000
BUFFERED_BYTES_MAX = 32_768
"""What the far side's system may have had in its own buffers when the cut came."""


@pytest.fixture
def end() -> Iterator[KafkaEnd]:
    with kafka_end() as found:
        real_part("librdkafka mock cluster", confluent_kafka.libversion()[0])
        yield found


@pytest.fixture
def adapter(end: KafkaEnd) -> Iterator[Kafka]:
    with contextlib.closing(Kafka(Cluster(brokers(end), {}), TOPIC, timeout_s=LIMIT_S)) as found:
        yield found


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_an_event_is_keyed_by_its_record_and_says_what_it_is(end: KafkaEnd, adapter: Kafka) -> None:
    """In structured mode, as the CloudEvents binding of Kafka says; one record is one partition, in its order."""
    for number in range(5):
        assert adapter.send(event(number), lease(), NOW_S) is Outcome.CONFIRMED
    reader = Consumer({"bootstrap.servers": f"{HOST}:{end.port}", "group.id": "x", "enable.partition.eof": True})
    partitions = reader.list_topics(TOPIC, LIMIT_S).topics[TOPIC].partitions
    reader.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
    found, ended = [], 0
    while ended < len(partitions):
        message = reader.poll(LIMIT_S)
        assert message is not None
        ended += message.error() is not None
        found += [message] if message.error() is None else []
    reader.close()
    assert [each.value() for each in found] == [event(number).body for number in range(5)]
    assert {(each.key(), each.partition()) for each in found} == {(b"rec", found[0].partition())}
    assert found[0].headers() == [("content-type", b"application/cloudevents+json; charset=utf-8")]


def test_the_librarys_own_retries_are_idempotent(end: KafkaEnd, adapter: Kafka) -> None:
    """It has asked for a producer's id, which librdkafka does with all replicas confirming and not otherwise."""
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    assert INIT_PRODUCER_ID in end.kinds


def test_what_the_cluster_would_not_take_is_refused_for_good(end: KafkaEnd, adapter: Kafka) -> None:
    """Too large for it, say; a smaller one goes."""
    end.answers = [KafkaError.MSG_SIZE_TOO_LARGE]
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.REFUSED
    assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED


def test_a_list_of_rights_is_somebodys_to_mend(end: KafkaEnd, adapter: Kafka) -> None:
    end.answers = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.RETRY
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED


def test_a_cluster_that_is_away_is_tried_again() -> None:
    with contextlib.closing(Kafka(Cluster(("127.0.0.1:9",), {}), TOPIC, timeout_s=0.2)) as gone:
        assert gone.send(event(1), lease(), NOW_S) is Outcome.RETRY
        assert gone.send(event(1), lost_lease(), NOW_S) is Outcome.CUT


# a cut


def test_a_cut_in_the_middle_of_a_message_leaves_the_cluster_without_it(end: KafkaEnd, adapter: Kafka) -> None:
    """However much of it lies in buffers of ours: librdkafka alone would let a message through that it has begun."""
    assert adapter.send(event(0), lease(), NOW_S) is Outcome.CONFIRMED
    end.dam.clear()
    time.sleep(0.01)
    passed, under = end.passed, lease()
    timer = threading.Timer(0.2, under.cut)
    timer.start()
    assert adapter.send(event(1, LARGE), under, NOW_S) is Outcome.CUT
    timer.join()
    end.dam.set()
    assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
    assert end.bodies() == [event(0).body, event(2).body]
    assert end.passed - passed < BUFFERED_BYTES_MAX


def test_what_another_program_withdraws_is_cut_within_the_lease(end: KafkaEnd, adapter: Kafka) -> None:
    """It cannot reach our lease: it waits for it to run out."""

    def now_ms() -> float:
        return time.monotonic() * 1000

    assert adapter.send(event(0), lease(), NOW_S) is Outcome.CONFIRMED
    end.dam.clear()
    time.sleep(0.01)
    started = now_ms()
    under = Lease(b"e", "rec", started, now_ms, lambda: False, math.inf)
    assert adapter.send(event(1, LARGE), under, NOW_S) is Outcome.CUT
    assert now_ms() - started < LEASE_MS
    end.dam.set()
    assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
    assert end.bodies() == [event(0).body, event(2).body]


def test_behind_a_cut_no_message_gets_into_librdkafkas_hands(
    end: KafkaEnd, adapter: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Withdrawn between the last look at the lease and the hand-over."""
    assert adapter.send(event(0), lease(), NOW_S) is Outcome.CONFIRMED
    hand_over = product._Open._hand_over

    def cut_before(opened: product._Open, *arguments: Any) -> None:
        opened.cut()
        hand_over(opened, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(product._Open, "_hand_over", cut_before)
        assert adapter.send(event(1), lease(), NOW_S) is Outcome.CUT
    assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
    assert end.bodies() == [event(0).body, event(2).body]


def test_a_cut_takes_the_message_out_of_librdkafkas_queues_at_once(end: KafkaEnd, adapter: Kafka) -> None:
    """Before the sender has woken up to end it: or it would be sent on the next connection."""
    assert adapter.send(event(0), lease(), NOW_S) is Outcome.CONFIRMED
    end.asked.clear()
    end.answers = ["hang"]
    opened, reports = adapter._open, list[KafkaError | None]()
    assert opened is not None
    opened._hand_over(event(1), lease(), reports)
    assert end.asked.wait(LIMIT_S)
    opened.cut()

    def told() -> bool:
        opened._poll()
        return bool(reports)

    until(told)
    assert reports[0] is not None
    assert reports[0].code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


def test_after_a_cut_no_thread_of_it_is_left(end: KafkaEnd, adapter: Kafka) -> None:
    """Nobody lives who could try again by himself; and a store that fails leaves none either, nor the message."""

    def fail() -> bool:
        raise UnavailableError("store_unavailable", "full")

    before = threads()
    end.answers = ["hang", "hang"]
    under = lease()
    timer = threading.Timer(0.2, under.cut)
    timer.start()
    assert adapter.send(event(1), under, NOW_S) is Outcome.CUT
    timer.join()
    with pytest.raises(UnavailableError):
        adapter.send(event(2), Lease(b"e", "rec", 0.0, ticking(), fail), NOW_S)
    end.over.set()
    until(lambda: threads() <= before)


def ticking() -> Callable[[], float]:
    """Right for the first two looks, and then late enough for a renewal."""
    times = iter([0.0, 0.0])
    return lambda: next(times, LEASE_MS * 0.75)


# configuration


TABLE = """
[[recipient]]
kind = "kafka"
id = "rcp_aaaaaaaaaaaaaaaa"
name = "Fleet"
topic = "their-events"
"""


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ('brokers = ["127.0.0.1:9092", "kafka.example:9092"]', "a broker on another machine needs ca_file"),
        ('brokers = ["127.0.0.1:9092"]\ncert_file = "a.pem"', "belong together"),
        ('brokers = ["127.0.0.1:9092"]\nusername = "carnet"', "username and password_file belong together"),
        ('brokers = ["127.0.0.1"]', "recipient"),
        ("brokers = []", "recipient"),
    ],
)
def test_a_cluster_that_would_leak_is_refused(config: Path, more: str, word: str) -> None:
    config.write_text(CONFIG + TABLE + more)
    with pytest.raises(ConfigError, match=word):
        load(config)


def test_a_cluster_on_this_machine_that_names_another_one_gets_nothing(
    end: KafkaEnd, adapter: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka goes where the cluster says; without TLS that is this machine or nowhere."""
    monkeypatch.setattr(product, "is_loopback", lambda _: False)
    with pytest.raises(ConfigError, match="it needs ca_file"):
        adapter.send(event(1), lease(), NOW_S)
    assert end.bodies() == []


def test_nor_does_one_that_names_another_machine_later(
    end: KafkaEnd, adapter: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine is 127.0.0.2 here: it is asked nothing, and goes on when the cluster is on this one again."""
    monkeypatch.setattr(product, "is_loopback", lambda host: host == HOST)
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    here = end.named
    with listener(end, "127.0.0.2") as end.named:
        end.kinds.clear()
        for _ in range(2):
            with pytest.raises(ConfigError, match="it needs ca_file"):
                adapter.send(event(2), lease(), NOW_S)
        assert PRODUCE not in end.kinds
    end.named = here
    assert adapter.send(event(3), lease(), NOW_S) is Outcome.CONFIRMED
    assert end.bodies() == [event(1).body, event(3).body]


def test_nor_one_that_names_it_while_a_message_waits_to_be_tried_again(
    end: KafkaEnd, adapter: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader says that it is none any more, and librdkafka asks where the new one is."""
    monkeypatch.setattr(product, "is_loopback", lambda host: host == HOST)
    assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    with listener(end, "127.0.0.2") as elsewhere:
        end.answers = ["busy"]
        hand_over = product._Open._hand_over

        def moved(opened: product._Open, *arguments: Any) -> None:
            end.named = elsewhere
            hand_over(opened, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(product._Open, "_hand_over", moved)
            with pytest.raises(ConfigError, match="it needs ca_file"):
                adapter.send(event(2), lease(), NOW_S)
        assert end.answers == []
    assert end.produced == 2


def test_where_connections_cannot_be_found_nothing_is_sent(
    end: KafkaEnd, adapter: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that gives buffers of its own sizes: no cut could reach them."""
    monkeypatch.setattr(product, "can_bear", lambda _: False)
    with pytest.raises(ConfigError, match="cannot be told from others"):
        adapter.send(event(1), lease(), NOW_S)
    assert end.bodies() == []


def test_a_cut_leaves_the_connections_of_another_recipient_alone(end: KafkaEnd, adapter: Kafka) -> None:
    """At the same cluster."""
    with contextlib.closing(Kafka(Cluster(brokers(end), {}), TOPIC, timeout_s=LIMIT_S)) as other:
        for each in (adapter, other):
            assert each.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
        cut, untouched = adapter._open, other._open
        assert cut is not None
        assert untouched is not None
        cut.cut()
        connections = end.connections
        assert other.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
        assert (other._open, end.connections) == (untouched, connections)


def test_a_login_becomes_librdkafkas_own_words(tmp_path: Path) -> None:
    """The password out of its file; a wrong mechanism is refused."""
    secret = tmp_path / "password"
    secret.write_text("their secret\n")
    secret.chmod(0o600)
    table = {"kind": "kafka", "id": "rcp_aaaaaaaaaaaaaaaa", "name": "x", "brokers": ["[::1]:9"], "topic": "t"}
    section = KafkaRecipient.model_validate(table | {"username": "carnet", "password_file": secret})
    adapter = open_recipient(section)
    assert isinstance(adapter, Kafka)
    assert adapter._cluster.login == {
        "security.protocol": "sasl_plaintext", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "carnet", "sasl.password": "their secret",
    }  # fmt: skip
    with pytest.raises(ValidationError):
        KafkaRecipient.model_validate(table | {"mechanism": "ROT13"})


def test_without_the_extra_one_sentence_says_what_to_install(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(CONFIG + TABLE + 'brokers = ["127.0.0.1:9"]')
    (section,) = load(config).recipient
    monkeypatch.delitem(sys.modules, "carnet_cloud.recipients.kafka")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"-m pip install confluent-kafka") as refused:
        open_recipient(section)
    assert refused.value.reason == "kafka_missing"
    monkeypatch.undo()
    importlib.import_module("carnet_cloud.recipients.kafka")
