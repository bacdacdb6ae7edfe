"""Whatever the bytes, a sealed body or event is refused for a reason, or is one that is written again as it came.

A brace begins an event, which the recipient opens; everything else is a body of the example's schema, which the cloud
looks at and the recipient opens.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from carnet.errors import FormatError, OpenError
from carnet.keys import BoxKey
from carnet.schema import Schema
from carnet.sealed import open_body, parse_sealed
from carnet.sealedevents import Opener
from tests.fuzz.material import vectors

VECTORS = vectors("sealed")
KEY = BoxKey.from_seed(bytes.fromhex(VECTORS["recipient_seed"]))
SCHEMA = Schema.parse(
    json.dumps(
        VECTORS["vectors"][0]["event"]["data"]["sealed"][0]["schema"], sort_keys=True, separators=(",", ":")
    ).encode()
)
RECORD, BOOT = b"record-one", b"boot-id1"


def seeds() -> Iterable[bytes]:
    for vector in VECTORS["vectors"]:
        yield json.dumps(vector["event"]).encode()
        for piece in vector["event"]["data"]["sealed"]:
            if isinstance(piece["body"], str):
                yield base64.b64decode(piece["body"])


def check(data: bytes) -> None:
    if data[:1] == b"{":
        _check_event(data)
        return
    try:
        sealed = parse_sealed(data, SCHEMA)
    except FormatError:
        return
    assert sealed.declaration.encode() + sealed.part == data
    assert sum(sealed.declaration.samples(SCHEMA).values()) > 0
    try:
        batch = open_body(data, SCHEMA, KEY, RECORD, BOOT)
    except (FormatError, OpenError):
        return
    assert tuple(len(times) for times in batch.times) == sealed.declaration.counts


def _check_event(data: bytes) -> None:
    try:
        opened = Opener((KEY,)).open(data)
    except (FormatError, OpenError):
        return
    assert opened == data or json.loads(opened)["type"] == "carnet.readings.v1"
