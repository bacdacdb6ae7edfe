"""Whatever the bytes, canonical.parse raises FormatError or returns a document that is encoded as the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable

from carnet import canonical
from carnet.errors import FormatError
from tests.fuzz.material import vectors


def seeds() -> Iterable[bytes]:
    yield from (bytes.fromhex(vector["hex"]) for vector in vectors("consent/canonical")["vectors"])
    yield b"[" * 17 + b"]" * 17
    yield b"-" + b"9" * 40


def check(data: bytes) -> None:
    try:
        document = canonical.parse(data, 4096)
    except FormatError:
        return
    assert canonical.encode(document) == data
    assert json.loads(data) == document
