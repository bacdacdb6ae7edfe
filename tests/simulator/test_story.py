"""When the demo's owner withdraws: as soon as there is something to be withdrawn from, and always in the end."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from carnet_simulator.__main__ import main
from carnet_simulator.demo import stage, story
from carnet_simulator.demo.scene import INSURER
from carnet_simulator.demo.story import FIRST_READING_S, PATIENCE_S

SECONDS = 20.0


def watched(monkeypatch: pytest.MonkeyPatch, first_s: float, insurer_s: float) -> tuple[float, float]:
    """Seconds after the first reading at which the consent was withdrawn and the demo ended, if readings come then."""
    clock = [0.0]
    received = SimpleNamespace(arrived_ms=list[int]())
    told: Any = SimpleNamespace(first_reading_s=None, withdrawal=None, received={INSURER: received}.__getitem__)

    def step(*_: object) -> None:
        clock[0] += 0.5
        if clock[0] >= first_s:
            told.first_reading_s = first_s
        if clock[0] >= insurer_s:
            received.arrived_ms.append(1)

    def withdraw(*_: object) -> None:
        told.withdrawal = clock[0]

    monkeypatch.setattr(story, "_step", step)
    monkeypatch.setattr(story, "_withdraw", withdraw)
    monkeypatch.setattr(story, "note", lambda _: "")
    monkeypatch.setattr(story, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    live: Any = SimpleNamespace(say=lambda _: None)
    story._watch(told, live, SECONDS)
    began = min(first_s, FIRST_READING_S)
    return told.withdrawal - began, clock[0] - began


@pytest.mark.parametrize(
    ("first_s", "insurer_s", "withdrawn_s", "ended_s"),
    [
        (3, 3, 12.5, 20.5),
        (3, 19, 16, 24),
        (3, 1e9, 12 + PATIENCE_S + 0.5, 20 + PATIENCE_S + 0.5),
        (1e9, 1e9, 12.5, 20.5),
    ],
    ids=["at once", "when the insurer has something", "when it gets nothing", "when nobody gets anything"],
)
def test_the_owner_withdraws_when_there_is_something_to_withdraw_from_and_the_rest_comes_after_it(
    monkeypatch: pytest.MonkeyPatch, first_s: float, insurer_s: float, withdrawn_s: float, ended_s: float
) -> None:
    assert watched(monkeypatch, first_s, insurer_s) == (withdrawn_s, ended_s)


def broken_off(monkeypatch: pytest.MonkeyPatch, how: BaseException) -> None:
    """The demo sets up nothing, and at that somebody breaks it off."""

    def play(arguments: argparse.Namespace, live: object, folder: Path, *_: object) -> None:
        (folder / "owner.key").touch()
        raise how

    monkeypatch.setattr(story, "_play", play)
    monkeypatch.setattr(stage, "broker_program", lambda _: None)


@pytest.mark.parametrize("words", [[], ["--json"], ["--headless"]])
def test_who_breaks_the_demo_off_reads_one_sentence_and_no_key_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    broken_off(monkeypatch, KeyboardInterrupt())
    assert main(["demo", "--folder", str(tmp_path / "demo"), *words]) == 0
    out, err = capsys.readouterr()
    assert (err if words == ["--json"] else out).splitlines()[1:] == [
        "stopped: every program has ended, and the folder is removed"
    ]
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_to_be_kept_is_kept_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_off(monkeypatch, KeyboardInterrupt())
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--keep"]) == 0
    assert capsys.readouterr().out.endswith("the folder is kept\n")
    assert (tmp_path / "demo" / "owner.key").exists()


def test_who_reads_no_more_leaves_no_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `carnet-sim demo | head`: the output breaks in the middle."""
    broken_off(monkeypatch, BrokenPipeError())
    with pytest.raises(BrokenPipeError):
        main(["demo", "--folder", str(tmp_path / "demo")])
    assert not (tmp_path / "demo").exists()
