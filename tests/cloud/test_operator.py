"""``carnet-cloud why``, ``enrol`` and ``offer`` against services that are broken, something else, or of another
version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carnet_cloud.__main__ import main
from carnet_cloud.store import SqliteStore
from tests import consentkit as kit
from tests.brokenservice import ANSWERS, BrokenService, good
from tests.cloud.test_commands import CONFIG

COMMANDS = {
    "why": ["why", "Vehicle.Speed"],
    "enrol": ["enrol", "enrolment.json", "--tenant", kit.TENANT],
    "offer": ["offer", "offer.json"],
    "end": ["end", kit.OFFER_ID],
    "end unit": ["end", kit.VEHICLE],
}
ANSWER = {
    "vehicle": kit.VEHICLE, "record": kit.RECORD_ID, "recipient": kit.RECIPIENT, "path": kit.SPEED,
    "verdict": "forwarded", "confirmed": 3, "blocked": {"time": 2},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the store is open in another process, so that every command asks the service."""
    (tmp_path / "cloud").mkdir()
    (tmp_path / "token").write_text("t" * 32)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "enrolment.json").write_text("{}")
    (tmp_path / "offer.json").write_text(json.dumps(kit.offer_document()))
    monkeypatch.chdir(tmp_path)
    store = SqliteStore.open(tmp_path / "cloud" / "store.db", incarnation=b"i" * 16, now_ms=1)
    yield tmp_path
    store.close()


def run(folder: Path, answer: bytes, *words: str) -> int:
    service = BrokenService(lambda *_: answer)
    config = CONFIG.replace("127.0.0.1:0", service.listen).replace("[api]", '[api]\noperator_token_file = "token"')
    (folder / "cloud.toml").write_text(config)
    try:
        return main([*words, "--config", "cloud.toml"])
    finally:
        service.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_that_is_none_is_one_sentence(
    folder: Path, command: str, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, never a traceback, and nothing that looks like a success."""
    assert run(folder, answer, *COMMANDS[command]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("carnet-cloud: ") and err.count("\n") == 1 and err[:-1].isprintable(), err


@pytest.mark.parametrize(
    "change", [{"confirmed": "3"}, {"blocked": {"time": "2"}}, {"blocked": []}, {"verdict": "x\x1b[2J"}], ids=str
)
def test_an_answer_that_cannot_be_shown_is_not(
    folder: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, good({"answers": [ANSWER | change]}), *COMMANDS["why"]) == 1
    assert capsys.readouterr().out == ""


def test_a_verdict_of_a_newer_service_is_shown_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, good({"answers": [ANSWER | {"verdict": "weather"}]}), *COMMANDS["why"]) == 0
    assert "weather" in capsys.readouterr().out
