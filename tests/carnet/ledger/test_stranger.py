"""A reader of receipts in another language, written from ``docs/ledger.md`` alone, judges as we do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.carnet.ledger.kit import NOTE_KEY, OTHER_NOTE_KEY, story
from tests.conftest import CHECKOUT
from tests.lacking import lacking
from tests.realparts import real_part
from tests.vectors.make_ledger_vectors import FOLDER

READER = CHECKOUT / "tests" / "strangers" / "verify_receipt.mjs"


def require_node() -> str:
    """Node's path. Without it: skip, saying what to install; where CI=true fail, because there it is promised."""
    path = shutil.which("node")
    if path is None:
        lacking("no node: apt-get install --no-install-recommends nodejs")
    version = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    real_part("node", version)
    return path


def read(key: str, receipts: list[bytes], folder: Path) -> list[str]:
    """What the stranger says of each receipt."""
    files = [folder / f"{number}.json" for number in range(len(receipts))]
    for file, data in zip(files, receipts, strict=True):
        file.write_bytes(data)
    done = subprocess.run([require_node(), READER, key, *files], check=False, capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert done.returncode == (0 if all(line.startswith("accepted") for line in lines) else 1)
    return lines


def test_a_stranger_judges_every_vector_as_we_do(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "receipts.json").read_text(encoding="utf-8"))
    vectors = document["vectors"]
    (key,) = document["keys"]
    lines = read(key, [vector["receipt"].encode() for vector in vectors], tmp_path)
    said = {vector["name"]: line.split()[0].rstrip(":") for vector, line in zip(vectors, lines, strict=True)}
    ours = {each["name"]: "accepted" if each["outcome"] == "accepted" else "refused" for each in vectors}
    assert said == ours


def test_a_stranger_refuses_a_receipt_with_a_flipped_bit_anywhere(tmp_path: Path) -> None:
    data = story().receipt(5).encode()
    changed = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]
    lines = read(NOTE_KEY.text(), changed, tmp_path)
    assert len(lines) == len(data)
    assert [line for line in lines if not line.startswith("refused: ")] == []


def test_a_stranger_with_another_key_is_shown_nothing(tmp_path: Path) -> None:
    (line,) = read(OTHER_NOTE_KEY.text(), [story().receipt(5).encode()], tmp_path)
    assert line == "refused: not signed by this key"
