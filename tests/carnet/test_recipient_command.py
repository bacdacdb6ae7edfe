"""``carnet recipient`` as a recipient types it whose offers name a key of its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.cli import main
from carnet.keys import RECIPIENT_SEAL, BoxKey, encode_key
from carnet.offers import parse_offer
from tests import consentkit as kit
from tests.vectors import make_sealed_vectors as vectors

VECTORS: list[dict[str, Any]] = json.loads(vectors.FILE.read_text())["vectors"]
GOOD = VECTORS[0]["event"]


def line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "recipient.key"
    file.write_text(encode_key(RECIPIENT_SEAL, vectors.RECIPIENT_SEED))
    file.chmod(0o600)
    return file


def opened(tmp_path: Path, lines: list[bytes], *keys: Path) -> int:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return main(["recipient", "open", str(file), *(word for key in keys for word in ("--key", str(key)))])


def test_what_keygen_prints_belongs_into_an_offer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "recipient.key"
    assert main(["recipient", "keygen", "--out", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    printed = json.loads("{" + capsys.readouterr().out.splitlines()[1] + "}")
    offer = parse_offer(canonical.encode(kit.offer_document(v=2, **printed)))
    assert offer.sealed_to is not None


def test_sealed_events_come_out_as_columns_and_others_as_they_are(
    tmp_path: Path, key: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    plain = b'{"type":"carnet.readings.v1","data":{"columns":[]}}'
    assert opened(tmp_path, [line(GOOD), b"", plain], key) == 0
    first, second = capsysbinary.readouterr().out.splitlines()
    assert json.loads(first)["data"]["columns"] == VECTORS[0]["columns"]
    assert second == plain


def test_what_is_refused_says_why_on_the_error_output_and_the_others_go_on(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lying = next(v["event"] for v in VECTORS if v["outcome"] == "declared_counts")
    replayed = {**GOOD, "id": "f" * 32}
    assert opened(tmp_path, [line(lying), line(GOOD), line(replayed)], key) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    told = err.splitlines()
    assert len(told) == 2
    assert "line 1" in told[0]
    assert "(declared_counts)" in told[0]
    assert "line 3" in told[1]
    assert "(replayed)" in told[1]


def test_an_older_key_still_opens_what_was_sealed_to_it(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = tmp_path / "newer.key"
    newer.write_text(encode_key(RECIPIENT_SEAL, vectors.OTHER_SEED))
    newer.chmod(0o600)
    assert opened(tmp_path, [line(GOOD)], newer) == 1
    err = capsys.readouterr().err
    wanted = BoxKey.from_seed(vectors.RECIPIENT_SEED).kid.hex()
    assert "(box_key_differs)" in err and f"sealed to the key {wanted}" in err
    assert opened(tmp_path, [line(GOOD)], newer, key) == 0


def test_swapped_arguments_are_told(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(line(GOOD) + b"\n")
    assert main(["recipient", "open", str(key), "--key", str(events)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"carnet: {events}: this is not a key file of Carnet")
    assert "--key takes the key, and FILE the events" in err and "chmod" not in err


def test_no_reading_and_no_key_stands_in_what_is_refused(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [v["event"] for v in VECTORS if v["outcome"] != "accepted"]
    assert opened(tmp_path, [line(event) for event in refused], key) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == len(refused)
    assert vectors.RECIPIENT_SEED.hex() not in err and "12345" not in err
