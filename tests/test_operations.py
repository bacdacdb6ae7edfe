"""What the operations document and the alerts ask for exists: metrics with these labels, alerts, reasons, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from carnet.metrics import Metric
from carnet_agent import metrics as agent
from carnet_cloud.__main__ import main
from carnet_cloud.monitoring import metrics as cloud
from tests.conftest import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = (CHECKOUT / "systemd" / "prometheus" / "carnet.rules.yml").read_text(encoding="utf-8")
FOREIGN = {"up", "node_textfile_mtime_seconds"}
NAME = re.compile(r"\b(?:carnet_(?:cloud|agent)_\w+)\b")
SELECTOR = re.compile(r"(carnet_(?:cloud|agent)_\w+)\{([^}]*)\}")
ALERT = re.compile(r"- alert: (\w+)\n\s+expr: (.+)\n")


def named(metric: Metric) -> str:
    return metric.name + ("_total" if metric.kind == "counter" else "")


METRICS = {
    named(each): set(each.labels)
    for each in (
        *(*cloud.COUNTERS, *cloud.OTHERS, *cloud.GAUGES),
        *(*agent.STATES, *agent.CORE, *agent.BROKER, *agent.BUS, agent.FAILURES, agent.UNNAMED),
    )
} | {f"{name}{end}": {"le", "recipient"} for name in cloud.HISTOGRAMS for end in ("", "_bucket", "_sum", "_count")}
ALERTS = dict(ALERT.findall(RULES))
SOURCE = "\n".join(
    path.read_text() for folder in ("carnet", "cloud", "agent") for path in sorted((CHECKOUT / folder).rglob("*.py"))
)


@pytest.mark.parametrize("text", [RULES, DOCUMENT], ids=["rules", "document"])
def test_every_metric_that_is_asked_for_exists_with_its_labels_and_values(text: str) -> None:
    """A reason that no program says would make an alert that never comes."""
    assert {name for name in NAME.findall(text) if name not in METRICS} == set()
    for name, selectors in SELECTOR.findall(text):
        for label, values in re.findall(r'(\w+)(?:=~?|!=)"([^"]*)"', selectors):
            assert label in METRICS[name], (name, label)
            for value in values.replace("\\|", "|").split("|"):
                assert f'"{value}"' in SOURCE or set(value.split()) <= set(re.findall(r'"(\w+)"', SOURCE)), value


def test_there_is_an_alert_for_both_programs_and_each_says_what_it_means() -> None:
    assert len(ALERTS) == RULES.count("- alert:") == RULES.count("summary:") > 15
    assert any("carnet_agent_" in expression for expression in ALERTS.values())


def test_the_alerts_of_the_document_are_those_that_are_shipped() -> None:
    rows = re.findall(r"^\| (Carnet\w+) \| `(.+?)` \|", DOCUMENT, re.MULTILINE)
    assert len(rows) > 6
    for name, expression in rows:
        assert expression.replace("\\|", "|") in ALERTS[name]


def test_every_command_of_ours_in_the_document_is_one() -> None:
    words = set(re.findall(r"carnet-cloud (\w+)\b", DOCUMENT)) - {"run"}
    assert {"backup", "restore", "end", "why", "enrol"} <= words
    for word in words:
        with pytest.raises(SystemExit) as left:
            main([word, "--help"])
        assert left.value.code == 0, word


def test_every_event_of_the_log_is_described() -> None:
    """Those that a line of code names, and none that no code names."""
    rows = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.partition("\n## Logs\n")[2].partition("\n## ")[0], re.MULTILINE))
    said = set(re.findall(r'\btold\(\s*"(\w+)"', SOURCE))
    assert len(said) > 8
    assert said - rows == set()
    assert {row for row in rows if f'"{row}"' not in SOURCE} == set()


def test_files_that_are_installed_are_there() -> None:
    for name in re.findall(r"(?:/opt/carnet/|\s)(systemd/[\w./-]+)", DOCUMENT):
        assert (CHECKOUT / Path(name)).exists(), name
