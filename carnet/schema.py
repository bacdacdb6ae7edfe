"""What the columns of a batch mean: sent once, named by its hash ever after.

Law: two schemas with one hash are the same bytes; a receiver that lacks one does not guess, it asks.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carnet import canonical, fields, hashes
from carnet.errors import FormatError
from carnet.limits import INFLATED_BYTES_MAX
from carnet.signals import check_path
from carnet.transforms import AGGREGATE_FIELDS, Transform

COLUMNS_MAX: Final = 4096
LABELS_MAX: Final = 1024
NUMBER_SIZE_MAX: Final = 32
"""Characters of a factor or offset."""
KINDS: Final = ("int", "uint", "float32", "float64")
_UNIT = re.compile(r"[^\x00-\x1f\x7f]{0,32}")
_LABEL = re.compile(r"[^\x00-\x1f\x7f]{0,255}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """One signal under one transform.

    ``kind`` tells how the 64 bits of a raw value are read: ``int`` and ``uint`` are integers, the floats bit patterns.
    ``factor`` and ``offset`` are Python's shortest text of the numbers. ``field`` names what of an aggregate this is,
    empty otherwise. Columns of one ``group`` share a time column.
    """

    path: str
    unit: str
    kind: str
    factor: str
    offset: str
    transform: Transform
    group: int
    field: str = ""
    labels: tuple[tuple[int, str], ...] = ()

    def document(self) -> dict[str, object]:
        return {
            "factor": self.factor,
            "field": self.field,
            "group": self.group,
            "kind": self.kind,
            "labels": [list(label) for label in self.labels],
            "offset": self.offset,
            "path": self.path,
            "transform": self.transform.document(),
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Schema:
    """The columns of a batch in their order; groups are numbered from 0 without a hole, in the order of the columns."""

    columns: tuple[Column, ...]

    @cached_property
    def document(self) -> bytes:
        """Canonical JSON: what travels and what the hash is of."""
        return canonical.encode({"columns": [column.document() for column in self.columns], "v": 1})

    @cached_property
    def hash(self) -> bytes:
        """16 bytes."""
        return hashes.digest(hashes.SCHEMA, self.document)

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Group of every column."""
        return tuple(column.group for column in self.columns)

    @cached_property
    def group_index(self) -> NDArray[np.intp]:
        """`groups` as an index: per group in, per column out."""
        return np.array(self.groups, np.intp)

    @property
    def group_count(self) -> int:
        return self.columns[-1].group + 1 if self.columns else 0

    @cached_property
    def windows(self) -> tuple[int, ...]:
        """Per group the longest aggregate window of its columns in ms, 0 if none is an aggregate."""
        longest = [0] * self.group_count
        for column in self.columns:
            if column.transform.aggregate is not None:
                longest[column.group] = max(longest[column.group], column.transform.aggregate.window_ms)
        return tuple(longest)

    @staticmethod
    def parse(document: bytes) -> Schema:
        """The schema in these bytes; FormatError with one reason each, see the document."""
        columns, version = fields.members(canonical.parse(document, INFLATED_BYTES_MAX), "columns", "v")
        if version != 1:
            raise FormatError("schema_version", "the schema's version is not known here")
        schema = Schema(tuple(_column(each) for each in fields.items(columns, 1, COLUMNS_MAX)))
        before = 0
        for group in schema.groups:
            if group not in (before, before + 1):
                raise FormatError(
                    "body_malformed", "the groups of a schema are not numbered in the order of its columns"
                )
            before = group
        if schema.groups[0] != 0:
            raise FormatError("body_malformed", "the groups of a schema do not begin with 0")
        return schema


def _column(value: object) -> Column:
    names = ("factor", "field", "group", "kind", "labels", "offset", "path", "transform", "unit")
    factor, field, group, kind, labels, offset, path, transform, unit = fields.members(value, *names)
    found = Column(
        path=check_path(path if isinstance(path, str) else ""),
        unit=fields.text(unit, _UNIT),
        kind=fields.choice(kind, *KINDS),
        factor=_shortest(factor),
        offset=_shortest(offset),
        transform=Transform.parse(transform),
        group=fields.number(group),
        field=fields.choice(field, "", *AGGREGATE_FIELDS),
        labels=tuple(_label(each) for each in fields.items(labels, 0, LABELS_MAX)),
    )
    found.transform.check_path(found.path)
    aggregate = found.transform.aggregate
    if found.field not in (("",) if aggregate is None else aggregate.fields):
        raise FormatError("body_malformed", "the field of a column is none of its aggregate")
    if any(one[0] >= other[0] for one, other in itertools.pairwise(found.labels)):
        raise FormatError("body_malformed", "the labels of a column are not strictly ascending")
    return found


def _shortest(value: object) -> str:
    """A finite number in the one text that Python gives it: an int or a float, told apart by point or exponent."""
    text = fields.text(value, _NUMBER)
    if len(text) <= NUMBER_SIZE_MAX:
        number = float(text) if "." in text or "e" in text else int(text)
        if str(number) == text and math.isfinite(float(number)):
            return text
    raise FormatError("body_malformed", "a factor or offset is not the shortest text of a finite number")


def _label(value: object) -> tuple[int, str]:
    number, text = fields.items(value, 2, 2)
    if type(number) is not int:
        raise FormatError("body_malformed", "a label belongs to an integer")
    return number, fields.text(text, _LABEL)
