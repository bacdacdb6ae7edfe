"""A schema is one sequence of bytes, and nothing else is one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from carnet.errors import FormatError
from carnet.schema import COLUMNS_MAX, LABELS_MAX, Schema
from tests.vectors.make_codec_vectors import column, schema

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "codec" / "schema.json").read_text()
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_schema_vector_has_its_outcome(vector: dict[str, Any]) -> None:
    """Accepted and written again as the same bytes, or refused for its reason."""
    document = vector["document"].encode()
    if vector["outcome"] == "accepted":
        found = Schema.parse(document)
        assert found.document == document
        assert found.hash == hashlib.blake2b(document, digest_size=16, person=b"carnet schema").digest()
        return
    with pytest.raises(FormatError) as refusal:
        Schema.parse(document)
    assert refusal.value.reason == vector["outcome"]


def test_groups_are_counted_and_indexed() -> None:
    """Three columns in two groups."""
    found = Schema.parse(schema(column(), column(path="Vehicle.B"), column(path="Vehicle.C", group=1)))
    assert (found.groups, found.group_count, found.group_index.tolist()) == ((0, 0, 1), 2, [0, 0, 1])


def test_the_bounds_are_where_the_document_says() -> None:
    """One more is refused."""
    labels = [[n, ""] for n in range(LABELS_MAX)]
    Schema.parse(schema(column(labels=labels)))
    Schema.parse(schema(*[column()] * COLUMNS_MAX))
    for document in (schema(column(labels=[*labels, [LABELS_MAX, ""]])), schema(*[column()] * (COLUMNS_MAX + 1))):
        with pytest.raises(FormatError):
            Schema.parse(document)


def test_a_schema_of_more_than_a_mebibyte_is_refused() -> None:
    """Before it is parsed."""
    with pytest.raises(FormatError) as refusal:
        Schema.parse(b"[" * 1_048_577)
    assert refusal.value.reason == "json_size"
