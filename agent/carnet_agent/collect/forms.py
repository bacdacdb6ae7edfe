"""Forms: what the schema says of a column, and on which grid its integers lie."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from carnet.limits import NUMBER_MAX
from carnet.schema import LABELS_MAX, Column
from carnet.transforms import Transform
from carnet_agent.collect import cell
from carnet_agent.collect.aggregate import MEAN_PARTS
from carnet_agent.collect.exact import fraction
from carnet_agent.collect.rounding import decimals
from carnet_agent.dbc.database import Number
from carnet_agent.dbc.mapping import MappedSignal
from carnet_agent.dbc.plan import SignalInfo

DECIMALS_MAX: Final = 9
"""Of an aggregate's step."""
FLOAT_DECIMALS: Final = 6
_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f]{0,255}")


def step_of(info: SignalInfo, transform: Transform) -> Fraction | None:
    """The step onto which readings are rounded; None: they stay as they are."""
    if transform.round is not None:
        return fraction(transform.round)
    if transform.cell_m is not None:
        return cell.UNIT
    if transform.aggregate is None:
        return None
    if info.is_float:
        return Fraction(1, 10**FLOAT_DECIMALS)
    digits = max(decimals(fraction(number)) for number in (info.factor, info.offset))
    return Fraction(1, 10 ** min(digits, DECIMALS_MAX))


def mean_parts(transform: Transform) -> int:
    """In how many parts of a step a mean is told: with ``round`` in none, so that it tells no more than was agreed."""
    return 1 if transform.round is not None else MEAN_PARTS


def columns_of(info: SignalInfo, mapped: MappedSignal, transform: Transform) -> tuple[Column, ...]:
    """One column, or one per field of an aggregate; all with group 0."""
    step = step_of(info, transform)
    if step is None:
        return (_plain(info, mapped, transform),)
    if transform.aggregate is None:
        factor = cell.FACTOR_TEXT if transform.cell_m is not None else text_of(step)
        return (Column(mapped.path, mapped.unit, "int", factor, "0", transform, 0),)
    steps = {"count": Fraction(1), "mean": step / mean_parts(transform)}
    return tuple(
        Column(mapped.path, mapped.unit, "int", text_of(steps.get(name, step)), "0", transform, 0, name)
        for name in transform.aggregate.fields
    )


def text_of(step: Fraction) -> str:
    """The shortest text of a decimal step: whole numbers as integers."""
    if step.denominator == 1:
        return str(step.numerator)
    # a step has at most 9 + 3 digits after the point and 15 before it: Decimal divides that exactly
    exact = Decimal(step.numerator) / Decimal(step.denominator)
    short = repr(float(exact))
    return short if Fraction(short) == step else f"{exact:f}"


def _plain(info: SignalInfo, mapped: MappedSignal, transform: Transform) -> Column:
    labels = [
        (number, text)
        for number, text in sorted(info.labels.items())
        if abs(number) <= NUMBER_MAX and _LABEL.fullmatch(text)
    ]
    return Column(
        path=mapped.path,
        unit=mapped.unit,
        kind="float32" if info.kind == "float16" else info.kind,
        factor=_text(info, info.factor),
        offset=_text(info, info.offset),
        transform=transform,
        group=0,
        labels=tuple(labels[:LABELS_MAX]),
    )


def _text(info: SignalInfo, number: Number) -> str:
    """As cantools computes: whole factors and offsets of integers are integers."""
    whole = not info.is_float and float(info.factor).is_integer() and float(info.offset).is_integer()
    identity = info.factor == 1 and info.offset == 0
    return str(int(number)) if whole or identity else repr(number)
