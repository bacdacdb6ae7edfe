"""Every number of the cloud has a name, a meaning and a place, and nothing that names a car is among its labels."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric as Parsed
from prometheus_client.parser import text_string_to_metric_families

from carnet.errors import UnavailableError
from carnet.ids import device_text
from carnet.metrics import LABELS_MAX, Metric, families, family
from carnet_cloud import parts as wiring
from carnet_cloud import service as running
from carnet_cloud.config import load
from carnet_cloud.lease import Lease
from carnet_cloud.monitoring import metrics as of
from carnet_cloud.monitoring.exposition import Exposition
from carnet_cloud.monitoring.numbers import Numbers
from carnet_cloud.monitoring.readiness import Readiness
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.service import Service
from carnet_cloud.store.streams import Held
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, NOW_MS, Cloud, Unit
from tests.cloud.test_alive import RECIPIENT
from tests.cloud.test_commands import CONFIG, config
from tests.conftest import CHECKOUT
from tests.metricsdoc import described, told

__all__ = ["config"]  # a fixture

SOURCES = sorted((CHECKOUT / "cloud" / "carnet_cloud").rglob("*.py"))
COUNTED = {metric.counted: metric.name for metric in of.COUNTERS}


def added(tree: ast.AST) -> Iterator[str]:
    """Names that a module adds to the store's counters; what is put into one is told as ``*``."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("counters.add"):
            yield from names(call.args[0])


def names(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value):
            yield str(value)
        case ast.JoinedStr(values):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in values)
        case ast.IfExp(_, one, other):
            yield from names(one)
            yield from names(other)
        case _:
            yield ast.unparse(argument)


def test_every_counter_of_the_source_has_a_metric_and_every_metric_a_counter() -> None:
    found = {name for path in SOURCES for name in added(ast.parse(path.read_text()))}
    assert len(found) > 20
    assert set(COUNTED) - found == set()
    *_, unnamed = families(of.COUNTERS, dict.fromkeys(found, 1), of.UNNAMED)
    assert unnamed.numbers == {}


def test_a_counter_that_nobody_named_is_told_all_the_same() -> None:
    found = {each.metric.name: each.numbers for each in families(of.COUNTERS, {"new_one": 3}, of.UNNAMED)}
    assert found["carnet_cloud_unnamed"] == {("new_one",): 3}
    assert found["carnet_cloud_check_ins"] == {(): 0}
    assert found["carnet_cloud_samples_blocked"][("owner",)] == 0


def exposition(cloud: Cloud) -> Exposition:
    numbers = Numbers(
        cloud.store, [kit.RECIPIENT], Readiness({"store": lambda: True, "broker": lambda: False}),
        lambda: (True, 2, 3), {"keeper expired: store_unavailable": 4}, lambda: (1, 0.25), lambda: NOW_MS + 5000,
    )  # fmt: skip
    return Exposition(numbers)


def parsed(made: Exposition) -> dict[str, Parsed]:
    """By Prometheus' own parser, which refuses what is malformed."""
    text = made.text("")[0].decode()
    return {each.name: each for each in text_string_to_metric_families(text)}


def number(found: dict[str, Parsed], name: str, **labels: str) -> float:
    base = re.sub(r"_(total|bucket|sum|count)$", "", name)
    (value,) = [each.value for each in found[base].samples if (each.name, each.labels) == (name, labels)]
    return float(value)


@pytest.fixture
def busy(tmp_path: Path) -> Cloud:
    """A cloud that has taken two envelopes, refused one and holds one."""
    cloud = Cloud(tmp_path)
    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    cloud.send(unit.data())
    cloud.send(b"nothing")
    with cloud.store.transaction() as t:
        t.streams.hold(Held(DEVICE, b"streamaa", 9, b"sealed", "no_anchor", NOW_MS, NOW_MS + 1), b"bootboot")
    return cloud


def test_what_is_counted_and_what_waits_is_read_by_prometheus_parser(busy: Cloud) -> None:
    found = parsed(exposition(busy))
    assert number(found, "carnet_cloud_envelopes_received_total") == 3
    assert sum(sample.value for sample in found["carnet_cloud_envelopes_refused"].samples) == 1
    assert number(found, "carnet_cloud_events_enqueued_total") == number(found, "carnet_cloud_held_envelopes") == 1
    assert number(found, "carnet_cloud_outbox_events", recipient=kit.RECIPIENT, state="queued") == 1
    assert number(found, "carnet_cloud_outbox_oldest_age_seconds", recipient=kit.RECIPIENT) == 5
    assert number(found, "carnet_cloud_failures_total", loop="keeper expired", reason="store_unavailable") == 4
    assert number(found, "carnet_cloud_ready", part="broker") == 0
    assert number(found, "carnet_cloud_messages_dropped_total") == 2
    assert number(found, "carnet_cloud_lease_age_seconds") == 0.25


def test_every_kind_of_entry_that_a_record_can_have_is_counted(busy: Cloud) -> None:
    """The yes itself, and what the cloud adds to an ending; a kind that is never written down is not listed."""
    with busy.store.transaction() as t:
        given = t.consents.record(kit.RECORD_ID)
    assert given is not None
    busy.consents.event(kit.event("withdraw", [given.jws], busy.clock.ms), kit.RECORD_ID)
    found = parsed(exposition(busy))["carnet_cloud_consent_events"]
    counted = {each.labels["kind"]: each.value for each in found.samples}
    assert {kind: n for kind, n in counted.items() if n} == {"give": 1, "withdraw": 1, "silent": 1}
    assert {"refuse", "expire"}.isdisjoint(counted)


def test_sends_and_commits_are_timed(busy: Cloud) -> None:
    class Deaf:
        def send(self, event: Event, lease: object, now_s: int) -> Outcome:
            return Outcome.RETRY

        def finish(self) -> Outcome:
            return Outcome.CONFIRMED

        def close(self) -> None: ...

    made = exposition(busy)
    made.committed(7, 0.004)
    timed = made.timed(kit.RECIPIENT, Deaf())
    assert timed.send(Event(b"e", b"{}"), None, 1) is Outcome.RETRY  # type: ignore[arg-type]
    found = parsed(made)
    assert number(found, "carnet_cloud_commit_seconds_bucket", le="0.0025") == 0
    assert number(found, "carnet_cloud_commit_seconds_bucket", le="0.005") == 1
    assert number(found, "carnet_cloud_group_envelopes_sum") == 7
    assert number(found, "carnet_cloud_send_seconds_count", recipient=kit.RECIPIENT) == 1


def test_a_store_that_cannot_be_asked_takes_only_its_own_numbers_along(
    busy: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> None:
        raise UnavailableError("store_unavailable", "the store cannot be written")

    monkeypatch.setattr(busy.store, "_begin", begin)
    found = parsed(exposition(busy))
    assert "carnet_cloud_envelopes_received" not in found
    assert number(found, "carnet_cloud_broker_connected") == 1


def test_no_label_names_a_unit_a_vehicle_or_a_consent(busy: Cloud) -> None:
    text = exposition(busy).text("")[0].decode()
    for name in (device_text(DEVICE), DEVICE.hex(), kit.VEHICLE, kit.RECORD_ID, kit.RECORD_ID[4:], kit.SPEED):
        assert name not in text
    assert kit.RECIPIENT in text, "whom the operator has configured may be named"


def test_whoever_is_only_counted_fills_no_monitoring_system() -> None:
    """Reasons that somebody else invents are one number beyond the first, and nothing but a word is a label."""
    metric = Metric("m", "counter", "h", "refused_*", ("reason",), ("known",))
    (made, _) = families([metric], {f"refused_invented_{n:05}": 1 for n in range(5000)}, of.UNNAMED)
    assert len(made.numbers) == LABELS_MAX + 1 and ("known",) in made.numbers
    assert made.numbers[("other",)] == 5000 - (LABELS_MAX - 1)
    odd: dict[tuple[str, ...], float] = {
        (value,): 1.0 for value in ("", "48.137 11.575", "x" * 65, "a\nb", 'a"b', "1FAHP3EN6DW123456")
    }
    assert family(metric, odd).numbers == {("other",): 6}


def test_names_follow_prometheus_rules(busy: Cloud) -> None:
    """Snake case with the program's prefix, base units last, _total on what only rises, a sentence of help."""
    for each in parsed(exposition(busy)).values():
        if each.name.startswith("process_"):
            continue
        assert re.fullmatch(r"carnet_cloud_[a-z]+(_[a-z]+)*", each.name)
        assert re.fullmatch(r"[A-Z0-9].+\.", each.documentation), each.name
        assert not re.search(r"_(ms|kb|percent|total|count|sum|bucket)$", each.name)
        if each.type == "counter":
            assert all(sample.name == f"{each.name}_total" for sample in each.samples)


def test_the_document_lists_every_metric_with_its_meaning(busy: Cloud) -> None:
    text = exposition(busy).text("")[0].decode()
    assert described("Metrics of the cloud") == told(text, "carnet_cloud_")


def test_the_running_service_tells_its_oldest_lease_and_its_commits_in_seconds(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two leases the one that was taken first; of a commit the time from its beginning to its end."""
    config.write_text(CONFIG + RECIPIENT)
    service = Service(load(config))
    clock_ms = [100_000.0]
    for module in (wiring, running):
        monkeypatch.setattr(module, "monotonic_ms", lambda: clock_ms[0])
    try:
        parts = service.parts
        parts.leases.add(Lease(bytes([n]), "rec", taken_ms, lambda: 0.0, lambda: True) for n, taken_ms in
                         enumerate([98_000.0, 99_500.0]))  # fmt: skip
        monkeypatch.setattr(parts.link, "take", lambda *_: [("topic", b"nothing")] * 3)

        def slow(*_: object) -> list[object]:
            clock_ms[0] += 250
            return []

        monkeypatch.setattr(type(parts.receiver), "process", slow)
        before = parsed(parts.exposition)
        service._receive()
        found = parsed(parts.exposition)
    finally:
        service.parts.store.close()
    assert (number(before, "carnet_cloud_leases"), number(before, "carnet_cloud_lease_age_seconds")) == (2, 2)
    assert number(found, "carnet_cloud_lease_age_seconds") == 2.25
    assert number(found, "carnet_cloud_commit_seconds_sum") == 0.25
    assert number(found, "carnet_cloud_group_envelopes_sum") == 3


def test_the_running_service_tells_all_of_them(config: Path) -> None:
    config.write_text(CONFIG + RECIPIENT)
    service = Service(load(config))
    try:
        text = service.parts.exposition.text("")[0].decode()
        assert described("Metrics of the cloud") == told(text, "carnet_cloud_")
        assert "process_resident_memory_bytes" in text
    finally:
        service.parts.store.close()
