"""The vectors of the wire format: each is accepted, or refused for exactly the reason it names,
and none is out of date.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from carnet.bodies import CheckIn, DestructionReceipt, Gap, Health, SchemaBody
from carnet.box import open_box
from carnet.down import open_down
from carnet.envelope import Envelope, parse_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.errors import RemoteError
from carnet.keys import BoxKey, SigningKey

FOLDER = Path(__file__).parent.parent / "vectors"
ENVELOPES: dict[str, Any] = json.loads((FOLDER / "envelope.json").read_text())
DOWNS: dict[str, Any] = json.loads((FOLDER / "down.json").read_text())
SEEDS = {name: bytes.fromhex(value) for name, value in ENVELOPES["seeds"].items()}


def _bytes(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["bytes"]) + bytes(vector.get("zeros", 0))


def _receive(data: bytes) -> Envelope:
    """What a receiver does with an envelope, in its order."""
    envelope = parse_envelope(data)
    verify(envelope, SigningKey.from_seed(SEEDS["device_sign"]).public)
    key = BoxKey.from_seed(SEEDS["cloud_seal"])
    for index, part in enumerate(envelope.parts):
        if part.box is not None:
            _, body = open_box(part.box, key, envelope.place(index))
            _parse_body(envelope, body)
    return envelope


def _parse_body(envelope: Envelope, body: bytes) -> None:
    kind = envelope.header.type
    if kind is EnvelopeType.CHECK_IN_OR_HEALTH:
        (CheckIn if envelope.header.seq == 0 else Health).parse(body)
    elif kind is not EnvelopeType.DATA:
        parsers = {EnvelopeType.GAP: Gap, EnvelopeType.SCHEMA: SchemaBody}
        parsers.get(kind, DestructionReceipt).parse(body)  # type: ignore[attr-defined]


@pytest.mark.parametrize("vector", ENVELOPES["vectors"], ids=lambda vector: vector["name"])
def test_an_envelope_vector_has_its_outcome(vector: dict[str, Any]) -> None:
    """Accepted with its number and manifest hash, or refused for its reason."""
    if vector["outcome"] == "accepted":
        envelope = _receive(_bytes(vector))
        assert (envelope.header.seq, envelope.manifest_hash.hex()) == (vector["seq"], vector["manifest_hash"])
        return
    with pytest.raises(RemoteError) as refusal:
        _receive(_bytes(vector))
    assert refusal.value.reason == vector["outcome"]


@pytest.mark.parametrize("vector", DOWNS["vectors"], ids=lambda vector: vector["name"])
def test_a_down_vector_has_its_outcome(vector: dict[str, Any]) -> None:
    """Accepted, or refused for its reason."""
    cloud = SigningKey.from_seed(SEEDS["cloud_sign"])
    receive = BoxKey.from_seed(SEEDS["device_receive"])
    device = bytes.fromhex(DOWNS["device"])
    if vector["outcome"] == "accepted":
        open_down(_bytes(vector), device, {cloud.kid: cloud.public}, receive)
        return
    with pytest.raises(RemoteError) as refusal:
        open_down(_bytes(vector), device, {cloud.kid: cloud.public}, receive)
    assert refusal.value.reason == vector["outcome"]


def test_a_destroyed_box_leaves_the_manifest_hash_as_it_was() -> None:
    """So the envelope keeps its place in the chain and in the replay table."""
    hashes = {each["name"]: each.get("manifest_hash") for each in ENVELOPES["vectors"]}
    assert hashes["data_three_boxes"] == hashes["data_one_of_three_destroyed"] == hashes["data_all_destroyed"]


def test_the_files_are_what_the_maker_makes() -> None:
    """A change of the format changes the vectors in the same commit."""
    spec = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make_vectors.py")
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name, content in maker.documents().items():
        assert (FOLDER / name).read_text() == content, f"run tests/vectors/make_vectors.py: {name} differs"
