"""The vectors of the consent documents: each is accepted, or refused for exactly the reason it names, and none is out
of date.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.consent import Floors, compile_set, parse_grant_set, parse_offer, parse_owner, parse_record
from carnet.errors import RemoteError
from carnet.grants import compile_grant
from tests.consentkit import DAY_MS, GIVEN_MS

VECTORS = Path(__file__).parent.parent / "vectors"
CANONICAL, OFFERS, TOKENS, RECORDS, GRANT_SETS = (
    json.loads((VECTORS / "consent" / f"{name}.json").read_text())
    for name in ("canonical", "offers", "tokens", "records", "grantsets")
)


def _cases(document: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", document["vectors"], ids=lambda vector: str(vector["name"]))


def _outcome(judge: Any) -> str:
    try:
        judge()
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


@_cases(CANONICAL)
def test_canonical_json(vector: dict[str, Any]) -> None:
    """What is accepted is written again as the same bytes."""
    data = bytes.fromhex(vector["hex"])
    assert _outcome(lambda: canonical.parse(data, 1000)) == vector["outcome"]
    if vector["outcome"] == "accepted":
        assert canonical.encode(canonical.parse(data, 1000)) == data


@_cases(OFFERS)
def test_an_offer(vector: dict[str, Any]) -> None:
    """An offer stands alone."""
    assert _outcome(lambda: parse_offer(vector["offer"].encode())) == vector["outcome"]


@_cases(TOKENS)
def test_a_token(vector: dict[str, Any]) -> None:
    """A record's token, before anything in it is compared with an offer."""
    owner = parse_owner(TOKENS["owner"].encode())
    assert _outcome(lambda: parse_record(vector["record"], owner.keys)) == vector["outcome"]


@_cases(RECORDS)
def test_a_record_and_its_events(vector: dict[str, Any]) -> None:
    """Accepted ones come to the state and times that the vector names."""
    owner = parse_owner(RECORDS["owner"].encode())
    documents = (vector["offer"].encode(), vector["record"], vector["events"], owner)
    assert _outcome(lambda: compile_grant(*documents)) == vector["outcome"]
    if "grant" in vector:
        grant = compile_grant(*documents)
        days = [(ms - GIVEN_MS) / DAY_MS for ms in (grant.covers_from_ms, grant.expires_ms)]
        assert [grant.state.value, *days] == vector["grant"]
        assert grant.event_seq == len(vector["events"])


@_cases(GRANT_SETS)
def test_a_grant_set(vector: dict[str, Any]) -> None:
    """Refused as a whole, or with what is refused alone; then every other record has its grant."""
    owner = parse_owner(GRANT_SETS["owner"].encode())
    floors = compile_set(parse_grant_set(GRANT_SETS["before"].encode()), owner, Floors()).floors
    data = vector["set"].encode()
    assert _outcome(lambda: compile_set(parse_grant_set(data), owner, floors)) == vector["outcome"]
    if vector["outcome"] == "accepted":
        parsed = parse_grant_set(data)
        compiled = compile_set(parsed, owner, floors)
        assert [one.reason for one in compiled.refused] == vector["refused"]
        refused_records = sum(one.kind == "record" for one in compiled.refused)
        assert len(compiled.grants) == len(parsed.records) - refused_records
        assert [grant.state.value for grant in compiled.grants] == vector.get(
            "states", [grant.state.value for grant in compiled.grants]
        )


def test_the_files_are_what_their_maker_makes() -> None:
    """Neither the documents nor the vectors change without the other."""
    spec = importlib.util.spec_from_file_location("make_consent_vectors", VECTORS / "make_consent_vectors.py")
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name, content in maker.make().items():
        assert (VECTORS / "consent" / name).read_text() == content
