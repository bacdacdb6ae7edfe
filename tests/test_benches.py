"""Every figure that we state has a command beside it, and the commands that are cheap still work."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from bench.rig.barchart import draw
from bench.rig.charts import charts
from bench.rig.slow import HOST, Slow
from tests.conftest import CHECKOUT

BENCHES = sorted(path.name for path in (CHECKOUT / "bench").glob("*.py"))
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
LINES = [json.loads(line) for line in (CHECKOUT / "docs" / "rivals.jsonl").read_text(encoding="utf-8").splitlines()]
CHARTS = charts(LINES)
CHEAP = ("log.py", "mqttclient.py", "onwire.py", "receiver_rivals.py", "withdraw.py")
"""Those that need no broker, no tracer, no other environment and no captures."""

CLOSE_WAIT = bytes([8])
"""State of a connection that the other side has ended (``tcpi_state``)."""


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_stands_in_the_document_with_its_command(name: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"`bench/{name}" in text
    command = f"python bench/{name}"
    assert command in text
    assert command in (CHECKOUT / "bench" / name).read_text(encoding="utf-8").split('"""')[1]


def test_the_document_names_no_bench_that_is_not_there() -> None:
    words = DOCUMENT.read_text(encoding="utf-8").replace("`", " ").split()
    named = {word.removeprefix("bench/") for word in words if word.startswith("bench/") and word.endswith(".py")}
    assert {name for name in named if "/" not in name} == set(BENCHES)


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_bench_ends_with_one_line_of_json(name: str) -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "bench" / name, "--quick"],
        check=True, capture_output=True, text=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == name.removesuffix(".py")


def test_the_slow_recipient_counts_what_lies_unread_and_no_end_of_a_connection() -> None:
    """The kernel counts an end that comes late over a bad network as a byte, which would be one after a withdrawal."""
    slow = Slow()
    sender = socket.create_connection((HOST, slow.port))
    opened, _ = slow._listener.accept()
    slow._read_of[opened] = 0
    with slow._listener, opened:
        with sender:
            sender.sendall(b"x" * 10)
            until(lambda: slow.received()[0] == 10)
            assert slow._piece(opened) == b"x" * 10
            sender.sendall(b"x" * 5)
            until(lambda: slow.received()[0] == 15)
        until(lambda: opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == CLOSE_WAIT)
        count, last_s = slow.received()
    assert count == 15
    assert 0 <= time.monotonic() - last_s < 60


def until(true: Callable[[], bool]) -> None:
    """AssertionError after ten seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_a_chart_is_drawn_from_the_lines_that_are_kept_and_its_figures_stand_in_the_document(name: str) -> None:
    chart, text = CHARTS[name], DOCUMENT.read_text(encoding="utf-8")
    assert (CHECKOUT / "docs" / f"{name}.svg").read_text(encoding="utf-8") == draw(chart)
    assert f"]({name}.svg)" in text
    section = text.partition("\n## Beside others\n")[2]
    figures = set(re.findall(r"[\d.]+", section))
    assert {chart.form.format(value) for _, values in chart.rows for value in values} <= figures


def test_every_line_that_is_kept_says_on_what_and_how_busy_a_machine_it_was_measured() -> None:
    assert {line["bench"] for line in LINES} == {"agent", "bytes_rivals", "decode", "reading", "receiver_rivals"}
    assert all({"cpu", "kernel", "python", "load"} <= set(line) for line in LINES)
