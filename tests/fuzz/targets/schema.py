"""Whatever the bytes, Schema.parse raises FormatError or returns a schema whose document is these bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from carnet.batch import physical
from carnet.errors import FormatError
from carnet.schema import Schema
from tests.fuzz.material import canonicalised, vectors

RAW = np.array([0, 1, -1, 2**63 - 1, -(2**63)], np.int64)


def seeds() -> Iterable[bytes]:
    return [vector["document"].encode(errors="surrogatepass") for vector in vectors("codec/schema")]


def check(data: bytes) -> None:
    document = canonicalised(data)
    try:
        schema = Schema.parse(document)
    except FormatError:
        return
    assert schema.document == document
    with np.errstate(all="ignore"):
        for column in schema.columns:
            for text in (column.factor, column.offset):
                assert str(float(text) if "." in text or "e" in text else int(text)) == text
            assert len(physical(column, RAW)) == len(RAW)
