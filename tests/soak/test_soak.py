"""What a soak judges by, with leaks put in on purpose: of descriptors, threads, memory, files and tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.soak import laws
from tests.soak.__main__ import main
from tests.soak.judge import OURS, SAMPLES_MIN, Verdict, judge, lives
from tests.soak.line import Deeds
from tests.soak.picture import draw
from tests.soak.sample import Program, Sample, program
from tests.soak.schedule import LASTS_S, STORM_SHARE, Fault, plan, quiet_s
from tests.soak.webhook import Heard
from tests.system.tally import SLOW_PATH, fast_path

HOURS_2 = 7200.0
SAMPLE_S = 10.0
LIFE_S = 1800.0
EVENTS = 1000
PATH = fast_path("can0")
STORE = {"outbox": 1000, "delivery": 1000, "replay": 1000, "wal": 1000, "record": 1000}
LEAKY = """
import os, sys, threading
held, over = [], threading.Event()
for line in sys.stdin:
    if line == "descriptor\\n":
        held.append(os.open(os.devnull, os.O_RDONLY))
    if line == "thread\\n":
        threading.Thread(target=over.wait, daemon=True).start()
    if line == "memory\\n":
        held.append(b"x" * (8 << 20))
    print("done", flush=True)
"""


def holding(pid: int, own_kb: int, threads: int, descriptors: int) -> Program:
    """Its share of what it has in common with others changes with them."""
    return Program(pid, own_kb + own_kb * 7 % 900, own_kb, threads, descriptors)


def steady(turn: int) -> Program:
    return holding(7, 40_000 + turn % 3 * 100, 11, 20 + turn % 4)


def run(
    one: Callable[[int], Program] = steady,
    files: Callable[[int], dict[str, int]] = lambda turn: {"agent/buffer.db": turn},
    store: Callable[[int], dict[str, int]] = lambda turn: STORE,
) -> list[Sample]:
    """Two hours in which every program of ours does the same."""
    turns = range(int(HOURS_2 / SAMPLE_S))
    return [Sample(turn * SAMPLE_S, dict.fromkeys(OURS, one(turn)), files(turn), store(turn)) for turn in turns]


def broken(samples: list[Sample], events: int = EVENTS) -> list[str]:
    return [each.what for each in judge(samples, life_s_min=LIFE_S, events=events) if not each.holds]


def of_all(words: str) -> list[str]:
    return [f"{words} of {name}, life 1, 120 min" for name in OURS]


# what grows


def test_a_run_in_which_nothing_grows_is_clean() -> None:
    assert broken(run()) == []


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (lambda turn: holding(7, 40_000 + turn * 8, 11, 20), "memory"),
        (lambda turn: holding(7, 40_000, 11 + turn // 100, 20), "threads"),
        (lambda turn: holding(7, 40_000, 11, 20 + turn // 100 + turn % 3), "descriptors"),
    ],
)
def test_what_grows_slowly_in_every_program_is_seen_in_each(one: Callable[[int], Program], what: str) -> None:
    """Memory by 8 kB in ten seconds, a handle in a quarter of an hour."""
    assert broken(run(one)) == of_all(what)


def test_warming_up_is_no_leak_and_neither_is_what_a_fault_holds_for_a_while() -> None:
    warming = run(lambda turn: holding(7, 40_000 + min(turn, 150) * 100, 11, 20))
    held = run(lambda turn: holding(7, 40_000, 11 + 5 * (turn % 10 == 0), 20 + 9 * (turn % 7 == 0)))
    assert (broken(warming), broken(held)) == ([], [])


def test_a_connection_that_a_fault_has_cut_early_in_a_life_and_not_late_is_no_leak() -> None:
    """As of a receiver whose broker was away for a moment: its least is then another one than at the end."""
    cut = run(
        lambda turn: holding(7, 40_000, 13 - (turn < 200 and turn % 9 == 0), 15 - 2 * (turn < 200 and turn % 9 == 0))
    )
    assert broken(cut) == []


def test_each_life_of_a_program_is_judged_by_itself() -> None:
    """After an hour another process begins, with more of everything."""
    second = 360
    samples = run(lambda turn: holding(7 + turn // second, 40_000 + turn // second * 9000, 11 + turn // second, 20))
    assert broken(samples) == []
    assert {life.number for life in lives(samples)} == {1, 2}
    leaking = run(lambda turn: holding(7 + turn // second, 40_000, 11, 20 + max(0, turn - second) // 100))
    assert broken(leaking) == [f"descriptors of {name}, life 2, 60 min" for name in OURS]


def test_a_program_that_never_lived_for_long_enough_proves_nothing() -> None:
    short = run(lambda turn: holding(turn // 100, 40_000, 11, 20))
    assert broken(short) == ["programs that never lived for 30 min"]
    assert len(lives(short)[0].programs) > SAMPLES_MIN


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"agent/buffer.db": (256 << 20) + 1}, "largest agent/buffer.db"),
        ({"agent/buffer.db-wal": 17 << 20}, "largest agent/*.db-wal"),
        ({"cloud.log": 2 << 20}, "largest *.log"),
        ({"somewhere/nobody/thought.of": 2 << 20}, "largest *"),
    ],
)
def test_a_file_beyond_its_bound_is_seen_even_if_it_is_cut_later(files: dict[str, int], what: str) -> None:
    assert broken(run(files=lambda turn: files if turn == 300 else dict.fromkeys(files, 1))) == [what]


def test_files_that_nobody_removes_are_seen() -> None:
    grows = run(files=lambda turn: {f"agent/left-{number}": 1 for number in range(turn // 60)})
    assert broken(grows) == ["files more at the end"]


@pytest.mark.parametrize(
    ("table", "size", "what"),
    [
        ("outbox", 2048 * EVENTS + 2000, ["store, for each event"]),
        ("delivery", 2048 * EVENTS, []),
        ("replay", 5 << 20, ["replay table"]),
        ("wal", 2 << 30, ["write-ahead log of the store"]),
        ("record", 2 << 20, ["growth of table record"]),
        ("a table of tomorrow", 2 << 20, ["growth of table a table of tomorrow"]),
    ],
)
def test_a_store_grows_with_its_events_and_with_nothing_else(table: str, size: int, what: list[str]) -> None:
    assert broken(run(store=lambda turn: STORE | {table: size * turn // 719})) == what


def test_too_few_events_say_nothing_of_what_each_takes() -> None:
    grown = run(store=lambda turn: STORE | {"outbox": 9000 * EVENTS * turn})
    assert broken(grown, events=EVENTS - 1) == []
    assert broken(grown, events=EVENTS) == ["store, for each event"]


# a real process


@pytest.fixture
def leaky() -> Iterator[Callable[[str], Program]]:
    """A program that takes what it is told to and never gives it back; what is seen of it then."""
    process = subprocess.Popen([sys.executable, "-c", LEAKY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def take(what: str) -> Program:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{what}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        found = program(process.pid)
        assert found is not None
        return found

    yield take
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_leak_of_a_real_process_is_seen(leaky: Callable[[str], Program]) -> None:
    before = leaky("nothing")
    assert leaky("descriptor").descriptors == before.descriptors + 1
    assert leaky("thread").threads == before.threads + 1
    held = leaky("memory")
    assert min(held.pss_kb - before.pss_kb, held.own_kb - before.own_kb) > 7 << 10


def test_a_process_that_leaks_descriptors_breaks_a_run(leaky: Callable[[str], Program]) -> None:
    seen = {turn: leaky("descriptor" if turn % 100 == 50 else "nothing") for turn in range(0, 720, 10)}
    assert broken(run(lambda turn: seen[turn // 10 * 10])) == of_all("descriptors")


def test_a_process_that_has_ended_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert program(process.pid) is None


# the laws


def test_a_reading_is_lost_unless_the_agent_was_killed_about_then() -> None:
    sent = {PATH: [100.0, 200.0, 300.0], SLOW_PATH: [100.0]}
    deeds = Deeds(agent_away=[(202.0, 204.0)])
    assert laws.lost(sent, PATH, {PATH: {0: "a"}}, deeds) == [(PATH, 2, 300.0)]
    assert laws.lost(sent, SLOW_PATH, {SLOW_PATH: {}}, deeds) == [(SLOW_PATH, 0, 100.0)]
    assert laws.lost(sent, SLOW_PATH, {SLOW_PATH: {0: "a"}}, deeds) == []


def event(name: str, record: str, path: str, *numbers: int) -> dict[str, Any]:
    return {"id": name, "data": {"record": record, "columns": [{"path": path, "v": list(numbers)}]}}


def test_a_reading_under_a_second_id_is_doubled_and_one_that_comes_again_is_not() -> None:
    heard = Heard()
    heard.take(event("a", "rec_1", PATH, 1, 2), 0.0)
    heard.take(event("a", "rec_1", PATH, 1, 2), 1.0)
    assert heard.doubled == []
    heard.take(event("b", "rec_1", PATH, 2), 2.0)
    assert heard.doubled == [(PATH, 2)]


def test_whatever_arrives_after_a_withdrawal_is_late() -> None:
    heard = Heard()
    heard.take(event("a", "rec_1", PATH, 1), 5.0)
    heard.take(event("b", "rec_2", PATH, 2), 5.0)
    assert laws.late(heard, Deeds(withdrawn={"rec_1": 4.0, "rec_2": 6.0})) == ["rec_1"]


def test_a_reading_of_a_pause_must_not_come_ever() -> None:
    heard = Heard()
    heard.take(event("a", "rec_1", fast_path("can1"), 0, 1), 50.0)
    assert laws.silent([1.0, 3.0], heard, Deeds(silent=[(2.0, 4.0)])) == [(1, 3.0)]
    assert laws.silent([1.0, 5.0], heard, Deeds(silent=[(2.0, 4.0)])) == []


def test_of_what_must_not_be_a_few_are_named() -> None:
    verdict = Verdict.none("lost", list(range(100)), "readings")
    assert not verdict.holds
    assert (verdict.figure, len(verdict.examples)) == (100, 5)


# the schedule


@pytest.mark.parametrize("seed", range(5))
def test_programs_are_killed_at_the_beginning_of_each_half_and_nobody_at_the_end(seed: int) -> None:
    faults = plan(seed, HOURS_2)
    kills = [fault for fault in faults if fault.kind in ("agent killed", "receiver killed")]
    for half in (0, 1):
        assert {fault.kind for fault in kills if fault.half == half} == {"agent killed", "receiver killed"}
    assert all(0 <= kill.at_s - kill.half * HOURS_2 / 2 <= HOURS_2 * STORM_SHARE for kill in kills)
    assert max(fault.at_s + fault.lasts_s for fault in faults) < HOURS_2 - quiet_s(HOURS_2)
    assert {fault.kind for fault in faults} == set(LASTS_S)
    assert plan(seed, HOURS_2) == faults != plan(seed + 1, HOURS_2)


def test_a_picture_has_a_line_for_every_life() -> None:
    picture = draw(run(lambda turn: holding(7 + turn // 360, 40_000, 11, 20)), [vars_of(Fault(60.0, "slow", 1.0, 0))])
    assert picture.count("<polyline") == 2 * 2 * len(OURS) + 1
    assert "120 minutes under 1 faults" in picture


def vars_of(fault: Fault) -> dict[str, object]:
    return {"at_s": fault.at_s, "kind": fault.kind}


def test_a_recorded_run_is_judged_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"soak": "run", "minutes": 120}, *({"soak": "sample", **sample.as_row()} for sample in run())]
    file = tmp_path / "soak.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in [*rows, {"soak": "done", "events": EVENTS}]))
    assert main(["--judge", str(file)]) == 0
    assert " 0 broken" in capsys.readouterr().out
    leaking = [{"soak": "sample", **sample.as_row()} for sample in run(lambda turn: holding(7, 4 * turn**2, 1, 1))]
    file.write_text("\n".join(json.dumps(row) for row in [rows[0], *leaking, {"soak": "done", "events": EVENTS}]))
    assert main(["--judge", str(file)]) == 1
    assert "BROKEN memory of agent, life 1, 120 min" in capsys.readouterr().out
