"""Every number of the agent has a name, a meaning and a place; the file that tells them is whole at every moment."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric as Parsed
from prometheus_client.parser import text_string_to_metric_families

from carnet.ids import device_text
from carnet.metrics import families
from carnet_agent import metrics as of
from carnet_agent.__main__ import main
from carnet_agent.bus.reader import BusCounters
from carnet_agent.exposition import Exposition
from carnet_agent.metrics import numbers
from tests import consentkit as kit
from tests.agent.agentkit import Rig, grants
from tests.agent.test_commands import running, unit
from tests.agent.units import Unit
from tests.cloud.kit import DEVICE
from tests.conftest import CHECKOUT
from tests.metricsdoc import described, told

__all__ = ["unit"]  # a fixture

AGENT = CHECKOUT / "agent" / "carnet_agent"
HEADING = "Metrics of the agent"


def counted(tree: ast.AST) -> Iterator[str]:
    """Names under which a module counts; what is put into one is told as ``*``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("counters"):
            yield from text(node.slice)
        elif (
            isinstance(node, ast.Call)
            and re.search(r"(self|link)\.(count|trouble)$", ast.unparse(node.func))
            and node.args
        ):
            yield from text(node.args[0])


def text(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(str(value)):
            yield value
        case ast.JoinedStr(values):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in values)
        case ast.Subscript(value):
            yield from text(value)


def of_source(*paths: Path) -> set[str]:
    return {name for path in paths for name in counted(ast.parse(path.read_text()))}


def facts(rig: Rig, **changes: Any) -> dict[str, Any]:
    """As the service tells them of a core."""
    buses = {"can0": {"fault": "absent", "frames": 7, "dropped": 2}, "can1": {"fault": None}}
    broker = {"fault": "no TLS", "connections": 3, "unconfirmed": 1, "refused_135": 2}
    failures = {"bus can0: OSError": 4}
    core = rig.agent.status()
    return {"running": True, **core, "buses": buses, "broker": broker, "failures": failures, **changes}


@pytest.fixture
def rig() -> Rig:
    """A unit with a consent, and readings that nobody has taken."""
    made = Rig(kit.GIVEN_MS + kit.DAY_MS)
    made.synchronised = True
    made.start()
    made.connect()
    made.grant(grants())
    made.pass_time(90_000)
    return made


def parsed(made: Exposition) -> dict[str, Parsed]:
    return {each.name: each for each in text_string_to_metric_families(made.text())}


def number(found: dict[str, Parsed], name: str, **labels: str) -> float:
    samples = found[name.removesuffix("_total")].samples
    (value,) = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
    return float(value)


def test_every_counter_of_the_core_has_a_metric(rig: Rig) -> None:
    shells = {AGENT / name for name in ("mqtt.py", "brokerclient.py")}
    names = of_source(*(set(AGENT.rglob("*.py")) - shells)) | set(rig.agent.counters())
    assert {"samples_lost_*", "down_*", "rows_waiting", "boots"} <= names
    *_, unnamed = families(of.CORE, dict.fromkeys(names, 1), of.UNNAMED)
    assert unnamed.numbers == {}
    starred = {metric.counted for metric in of.CORE if metric.counted.endswith("*")}
    # what the disk does and what is no reading are counted under names that are made up from a table
    assert starred - names == {"dropped_*"}


def test_every_counter_of_broker_and_bus_has_a_metric() -> None:
    named = {metric.counted for metric in of.BROKER}
    assert {"connections", "confirmed", "unconfirmed", "not_taken"} <= named & of_source(
        AGENT / "mqtt.py", AGENT / "brokerclient.py"
    )
    assert {metric.counted for metric in of.BUS} == {each.name for each in dataclasses.fields(BusCounters)}


def test_what_the_unit_says_is_read_by_prometheus_parser(rig: Rig) -> None:
    waiting = rig.agent.counters()["rows_waiting"]
    assert waiting > 0
    found = parsed(Exposition(numbers(facts(rig), rig.boot_ms)))
    assert number(found, "carnet_agent_running") == 1
    assert number(found, "carnet_agent_outbox_rows") == waiting
    assert number(found, "carnet_agent_unacknowledged_seconds") == 90
    assert number(found, "carnet_agent_grants", state="given") == 1
    assert number(found, "carnet_agent_bus_fault", bus="can0") == 1
    assert number(found, "carnet_agent_bus_fault", bus="can1") == 0
    assert number(found, "carnet_agent_bus_dropped_total", bus="can0") == 2
    assert number(found, "carnet_agent_broker_unconfirmed") == 1
    assert number(found, "carnet_agent_broker_troubles_total", reason="refused_135") == 2
    assert number(found, "carnet_agent_failures_total", where="bus can0", reason="OSError") == 4


def test_nothing_that_names_the_unit_or_a_consent_is_told(rig: Rig) -> None:
    said = Exposition(numbers(facts(rig), rig.boot_ms)).text()
    assert kit.RECORD_ID in json.dumps(facts(rig)), "status itself names the records"
    for name in (device_text(DEVICE), DEVICE.hex(), kit.VEHICLE, kit.RECORD_ID, kit.RECIPIENT, kit.SPEED):
        assert name not in said


def test_names_follow_prometheus_rules(rig: Rig) -> None:
    for each in parsed(Exposition(numbers(facts(rig), rig.boot_ms))).values():
        assert re.fullmatch(r"carnet_agent_[a-z]+(_[a-z]+)*", each.name)
        assert re.fullmatch(r"[A-Z0-9].+\.", each.documentation), each.name
        assert not re.search(r"_(ms|kb|percent|total|count|sum|bucket)$", each.name)


def test_the_document_lists_every_metric_with_its_meaning(rig: Rig) -> None:
    assert described(HEADING) == told(Exposition(numbers(facts(rig), 0)).text(), "carnet_agent_")


def test_status_writes_the_numbers_of_the_running_agent(
    unit: Unit, rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carnet.prom"
    capsys.readouterr()
    with running(unit, facts(rig)):
        assert main(["status", "--prometheus", str(file), "--config", str(unit.config)]) == 0
        assert capsys.readouterr().out == ""
        assert main(["status", "--prometheus", "--config", str(unit.config)]) == 0
    said = capsys.readouterr().out
    assert described(HEADING) == told(said, "carnet_agent_") == told(file.read_text(), "carnet_agent_")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("carnet.prom")] == ["carnet.prom"]


def test_status_says_whether_the_unit_is_ready_and_what_it_lacks(
    unit: Unit, rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"can0": {"fault": None}, "can1": {"fault": None}}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"buses": good, "connected": True, "contact": True}, 0, "ready"),
        ({"buses": good, "connected": True, "contact": False}, 1, "not ready: cloud"),
        ({"connected": False, "contact": False}, 1, "not ready: bus can0, broker"),
    ]
    for changes, code, sentence in cases:
        capsys.readouterr()
        with running(unit, facts(rig, **changes)):
            assert main(["status", "--ready", "--config", str(unit.config)]) == code
        assert capsys.readouterr().out == f"{sentence}\n"
    assert main(["status", "--ready", "--config", str(unit.config)]) == 1
    assert capsys.readouterr().out == "not ready: agent\n"


def test_an_agent_that_does_not_run_is_told_too(unit: Unit, tmp_path: Path) -> None:
    file = tmp_path / "carnet.prom"
    assert main(["status", "--prometheus", str(file), "--config", str(unit.config)]) == 1
    assert "carnet_agent_running 0.0" in file.read_text()


def test_a_file_that_cannot_be_written_is_one_sentence(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--prometheus", str(unit.config.parent / "no" / "x"), "--config", str(unit.config)]) == 1
    assert "cannot be written: No such file" in capsys.readouterr().err


def test_no_reader_sees_half_a_file(tmp_path: Path) -> None:
    """It is replaced: whoever reads meanwhile sees the old or the new one, each of them whole."""
    file = tmp_path / "carnet.prom"
    made = Exposition(numbers({"running": False, "buffer": {"rows_waiting": 1}}, 0))
    made.write(file)
    whole, over = file.read_text(), threading.Event()

    def rewrite() -> None:
        while not over.is_set():
            made.write(file)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        assert {file.read_text() for _ in range(300)} == {whole}
    finally:
        over.set()
        thread.join()


def test_the_running_agent_does_not_load_the_library() -> None:
    script = "import sys, carnet_agent.commands.run; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=False).returncode == 0
