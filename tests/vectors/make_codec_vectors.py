"""Makes ``codec/batch.json`` and ``codec/schema.json`` beside this file, byte for byte the same every time.

Run it after a change of the format: ``python tests/vectors/make_codec_vectors.py``. Bodies are put together here from
their sections, number by number, so that the vectors depend neither on what our writer prefers nor on a zstd version.
Values are text, because not every JSON reader keeps 64 bits.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "codec"
RAW, DELTA, LINE, TWIN = range(4)
SPARSE = 63
LOWEST, HIGHEST = -(2**63), 2**63 - 1
Vector = dict[str, Any]


class Run(NamedTuple):
    """One run; heads and rest are signed, the rest of a sparse run with its zeros."""

    mode: int
    level: int
    heads: Sequence[int]
    rest: Sequence[int] = ()
    value_level: int = 0


def number(value: int, size: int = 0) -> bytes:
    """A number, in more bytes than it needs if ``size`` says so."""
    out = bytearray()
    while value > 127 or len(out) + 1 < size:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def fill(bits: str, with_bit: str = "0") -> bytes:
    """Bits as bytes."""
    bits += with_bit * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def sections(base: int, counts: Sequence[int], runs: Sequence[Run]) -> list[bytes]:
    """Numbers, runs, heads, remainders, quotients."""
    numbers = number(base) + b"".join(map(number, counts))
    heads = b"".join(map(_heads, runs))
    written = [(zigzag(value), run.level - 1) for run in runs if run.level != SPARSE for value in run.rest]
    written += [number for run in runs if run.level == SPARSE for number in _gaps(run)]
    written += [
        (zigzag(value) - 1, run.value_level - 1)
        for run in runs if run.level == SPARSE and run.value_level for value in run.rest if value
    ]  # fmt: skip
    return [numbers, bytes(run.mode * 64 + run.level for run in runs), heads, *bits(written)]


def _heads(run: Run) -> bytes:
    heads = b"".join(number(zigzag(head)) for head in run.heads)
    present = sum(value != 0 for value in run.rest)
    return heads + number(present) + number(run.value_level) if run.level == SPARSE else heads


def _gaps(run: Run) -> list[tuple[int, int]]:
    places = [place for place, value in enumerate(run.rest) if value]
    k = max(1, (len(run.rest) - len(places)) // len(places)).bit_length() - 1
    return [(place - before - 1, k) for before, place in itertools.pairwise([-1, *places])]


def bits(written: Sequence[tuple[int, int]]) -> tuple[bytes, bytes]:
    """Remainders and quotients of these numbers, each with its k."""
    remainders = "".join(f"{value & (1 << k) - 1:0{k}b}" for value, k in written if k)
    return fill(remainders), fill("".join("0" * (value >> k) + "1" for value, k in written))


def plain(base: int, counts: Sequence[int], *runs: Run) -> bytes:
    """A body in form 0."""
    return b"\0" + b"".join(sections(base, counts, runs))


def frame(content: bytes, last: bool = True) -> bytes:
    """A zstd frame of one stored block, without its magic number."""
    return b"\x20" + bytes([len(content)]) + (len(content) << 3 | last).to_bytes(3, "little") + content


def bomb(size: int) -> bytes:
    """A zstd frame of ``size`` zeros in a few bytes, without its magic number."""
    blocks = [(131_072 << 3 | 2).to_bytes(3, "little") + b"\0"] * (size // 131_072)
    tail = (size % 131_072 << 3 | 3).to_bytes(3, "little") + b"\0"
    return b"\xa0" + size.to_bytes(4, "little") + b"".join(blocks) + tail


EXAMPLE = (
    Run(LINE, 0, [0, 1000]), Run(TWIN, 1, [1], [0, 0, 1]),
    Run(DELTA, 2, [10], [2, -1, 4]), Run(DELTA, 0, [7]), Run(RAW, 1, [3], [-1, -1, -1]),
)  # fmt: skip
EXAMPLE_GROUPS = [0, 0, 1]
ONE = (Run(RAW, 0, [0]), Run(RAW, 0, [42]))


def accepted() -> Iterator[tuple[str, bytes, list[int], list[list[int]], list[list[int]]]]:
    """Name, body, groups, times, values."""
    times, values = [[5000, 6000, 7000, 8000], [5001, 6001, 7001, 8002]], [[10, 12, 11, 15], [7] * 4, [3, -1, -1, -1]]
    example = plain(5000, [4, 4], *EXAMPLE)
    yield "worked_example", example, EXAMPLE_GROUPS, times, values
    yield "worked_example_in_a_frame", b"\1" + frame(example[1:]), EXAMPLE_GROUPS, times, values
    yield "one_sample", plain(7, [1], *ONE), [0], [[7]], [[42]]
    yield "line_of_one", plain(7, [1], Run(LINE, 0, [0]), Run(LINE, 0, [-1])), [0], [[7]], [[-1]]
    yield "line_of_two", plain(7, [2], Run(LINE, 0, [0, 5]), Run(LINE, 0, [3, -4])), [0], [[7, 12]], [[3, -1]]
    bend = Run(LINE, 3, [0, 10], [0, -3, 4])
    yield "line_with_bends", plain(0, [5], bend, Run(DELTA, 0, [1])), [0], [[0, 10, 20, 27, 38]], [[1] * 5]
    yield "level_without_rest", plain(7, [1], Run(RAW, 62, [0]), Run(TWIN, 9, [5])), [0], [[7]], [[5]]
    yield (
        "levels_that_could_be_lower",
        plain(0, [2], Run(DELTA, 40, [0], [1]), Run(RAW, 5, [1], [0])),
        [0],
        [[0, 1]],
        [[1, 0]],
    )
    yield (
        "all_64_bits", plain(0, [4], Run(DELTA, 0, [0]), Run(RAW, 62, [LOWEST], [HIGHEST, LOWEST, -1])), [0],
        [[0] * 4], [[LOWEST, HIGHEST, LOWEST, -1]],
    )  # fmt: skip
    yield (
        "differences_that_wrap",
        plain(0, [2], Run(DELTA, 0, [0]), Run(DELTA, 1, [HIGHEST], [1])),
        [0],
        [[0, 0]],
        [[HIGHEST, LOWEST]],
    )
    twins = Run(DELTA, 0, [0]), Run(TWIN, 0, [1]), Run(TWIN, 1, [0], [1, 0])
    yield (
        "twins_of_twins", plain(100, [3, 3, 3], *twins, Run(RAW, 0, [9]), Run(RAW, 0, [8]), Run(TWIN, 0, [-8])),
        [0, 1, 2], [[100] * 3, [101] * 3, [101, 102, 102]], [[9, 0, 0], [8, 0, 0], [0, -8, -8]],
    )  # fmt: skip
    yield "values_twin_of_times", plain(10, [2], Run(DELTA, 1, [0], [1]), Run(TWIN, 0, [0])), [0], [[10, 11]], [[0, 1]]
    yield (
        "empty_groups", plain(5, [0, 2, 0], Run(DELTA, 0, [0]), Run(DELTA, 2, [1], [1])), [0, 1, 2],
        [[], [5, 5], []], [[], [1, 2], []],
    )  # fmt: skip
    flat = Run(DELTA, 0, [0])
    door = [0] * 20 + [1] + [0] * 9 + [-1] + [0] * 8
    opened = [0] * 21 + [1] * 10 + [0] * 9
    yield "sparse", plain(0, [40], flat, Run(DELTA, SPARSE, [0], door, 2)), [0], [[0] * 40], [opened]
    minus = [0] * 5 + [-1] * 2
    yield "sparse_of_ones_alone", plain(0, [8], flat, Run(RAW, SPARSE, [0], minus)), [0], [[0] * 8], [[0, *minus]]
    yield "sparse_without_gaps", plain(0, [3], flat, Run(RAW, SPARSE, [0], [5, 6], 4)), [0], [[0] * 3], [[0, 5, 6]]
    steps = Run(TWIN, SPARSE, [2], [0, 0, 0, 7], 3)
    yield (
        "sparse_dense_and_nothing_mixed",
        plain(0, [5], flat, Run(RAW, SPARSE, [0], [0, 0, 9, 0], 5), Run(RAW, 3, [1], [2, 3, 4, 5]), steps), [0, 0, 0],
        [[0] * 5], [[0, 0, 0, 9, 0], [1, 2, 3, 4, 5], [3, 4, 5, 6, 14]],
    )  # fmt: skip
    line = Run(LINE, SPARSE, [0, 10], [0, 0, 0, -4], 4)
    yield "sparse_line", plain(0, [6], flat, line), [0], [[0] * 6], [[0, 10, 20, 30, 40, 46]]
    far = Run(RAW, SPARSE, [0], [0, LOWEST, HIGHEST], 62)
    yield "sparse_of_64_bits", plain(0, [4], flat, far), [0], [[0] * 4], [[0, 0, LOWEST, HIGHEST]]
    last = 2**53 - 1
    yield (
        "latest_time",
        plain(last - 1, [2], Run(DELTA, 1, [0], [1]), Run(DELTA, 0, [0])),
        [0],
        [[last - 1, last]],
        [[0, 0]],
    )
    yield "base_above_zero_less_than_first", plain(1, [1], Run(RAW, 0, [4]), Run(RAW, 0, [0])), [0], [[5]], [[0]]
    yield "base_later_than_first", plain(9, [1], Run(RAW, 0, [-4]), Run(RAW, 0, [0])), [0], [[5]], [[0]]


def refused() -> Iterator[tuple[str, str, bytes, list[int]]]:
    """Name, reason, body, groups."""
    one = plain(7, [1], *ONE)
    yield "empty", "codec_unknown", b"", [0]
    yield "form_2", "codec_unknown", b"\2" + one[1:], [0]
    yield "form_alone", "varint_malformed", b"\0", [0]
    yield "frame_alone", "frame_malformed", b"\1", [0]
    yield "frame_with_magic", "frame_malformed", b"\1\x28\xb5\x2f\xfd" + frame(one[1:]), [0]
    yield "frame_cut_off", "frame_malformed", b"\1" + frame(one[1:])[:-1], [0]
    yield "frame_without_last_block", "frame_malformed", b"\1" + frame(one[1:], last=False), [0]
    yield (
        "frame_with_reserved_block",
        "frame_malformed",
        b"\1\x20\x05" + (5 << 3 | 7).to_bytes(3, "little") + one[1:],
        [0],
    )
    yield "frame_names_dictionary", "frame_malformed", b"\1\x21\x09" + frame(one[1:])[1:], [0]
    yield "frame_of_large_window", "frame_malformed", b"\1\x00\x60" + frame(one[1:])[2:], [0]
    yield "frame_with_trailing_byte", "frame_trailing", b"\1" + frame(one[1:]) + b"\0", [0]
    yield "two_frames", "frame_trailing", b"\1" + frame(one[1:]) + b"\x28\xb5\x2f\xfd" + frame(one[1:]), [0]
    yield "bomb", "frame_too_large", b"\1" + bomb(1_048_577), [0]
    yield "no_count", "varint_malformed", b"\0" + number(7), [0]
    yield "base_in_two_bytes", "varint_malformed", b"\0" + number(7, 2) + one[2:], [0]
    yield "count_in_two_bytes", "varint_malformed", b"\0\7" + number(1, 2) + one[3:], [0]
    yield "base_of_65_bits", "varint_malformed", b"\0" + number(2**64) + one[2:], [0]
    yield "base_2_53", "batch_times", plain(2**53, [1], *ONE), [0]
    yield "count_without_end", "varint_malformed", b"\0\7" + b"\xff" * 20, [0]
    yield "all_empty", "batch_counts", plain(7, [0, 0]), [0, 1]
    yield "count_262145", "batch_counts", plain(0, [262_145], Run(DELTA, 0, [0]), Run(DELTA, 0, [0])), [0]
    yield "sum_262145", "batch_counts", plain(0, [87_382], *(Run(DELTA, 0, [0]),) * 3), [0, 0]
    yield "counts_that_wrap", "batch_counts", plain(0, [2**63, 2**63], *ONE), [0, 1]
    yield "no_runs", "batch_length", b"\0\7\1", [0]
    yield "run_missing", "batch_length", b"\0\7\1\0", [0]
    yield "head_missing", "varint_malformed", one[:-1], [0]
    yield "head_in_two_bytes", "varint_malformed", one[:-1] + number(84, 2), [0]
    yield "head_of_65_bits", "varint_malformed", one[:-1] + number(2**64), [0]
    yield "head_not_ended", "varint_malformed", one[:-1] + b"\x80", [0]
    yield "trailing_byte", "batch_length", one + b"\0", [0]
    yield "trailing_bit", "batch_length", one + b"\x80", [0]
    yield "first_run_is_twin", "batch_runs", plain(7, [1], Run(TWIN, 0, [0]), ONE[1]), [0]
    yield (
        "twin_of_other_length", "batch_runs",
        plain(7, [1, 2], ONE[0], Run(TWIN, 0, [0]), ONE[1], Run(DELTA, 0, [0])), [0, 1],
    )  # fmt: skip
    wide = sections(0, [2], [Run(DELTA, 0, [0]), Run(RAW, 62, [0], [0])])
    yield "value_of_65_bits", "batch_values", b"\0" + b"".join(wide[:4]) + fill("000000001"), [0]
    yield "falling_time", "batch_times", plain(7, [2], Run(DELTA, 1, [1], [-1]), Run(DELTA, 0, [0])), [0]
    yield "negative_time", "batch_times", plain(7, [1], Run(RAW, 0, [-8]), ONE[1]), [0]
    yield "time_2_53", "batch_times", plain(2**53 - 1, [1], Run(RAW, 0, [1]), ONE[1]), [0]
    yield "time_2_63", "batch_times", plain(2**53 - 1, [1], Run(RAW, 0, [HIGHEST]), ONE[1]), [0]


def refused_example() -> Iterator[tuple[str, str, bytes, list[int]]]:
    """The same of the worked example."""
    numbers, runs, heads, remainders, quotients = sections(5000, [4, 4], EXAMPLE)
    start = b"\0" + numbers + runs
    yield "example_trailing_zeros", "batch_length", plain(5000, [4, 4], *EXAMPLE) + b"\0", EXAMPLE_GROUPS
    yield "one_quotient_more", "batch_length", start + heads + remainders + quotients[:-1] + b"\x58", EXAMPLE_GROUPS
    yield "one_quotient_less", "batch_length", start + heads + remainders + quotients[:-1] + b"\x40", EXAMPLE_GROUPS
    yield "no_quotients", "batch_length", start + heads + remainders, EXAMPLE_GROUPS
    yield "no_remainders", "batch_length", start + heads, EXAMPLE_GROUPS
    yield "first_filling_bit_set", "batch_padding", start + heads + b"\x50" + quotients, EXAMPLE_GROUPS
    yield "last_filling_bit_set", "batch_padding", start + heads + b"\x41" + quotients, EXAMPLE_GROUPS


def refused_sparse() -> Iterator[tuple[str, str, bytes, list[int]]]:
    """The same of sparse runs."""
    told = b"\0" + number(0) + number(5) + bytes([DELTA * 64, SPARSE]) + number(0) + number(0)
    yield "sparse_of_none", "batch_sparse", told + number(0) + number(1), [0]
    yield "sparse_of_more_than_the_rest", "batch_sparse", told + number(5) + number(0) + fill("11111"), [0]
    yield "sparse_of_2_63", "batch_sparse", told + number(2**63) + number(0), [0]
    yield "sparse_level_63", "batch_sparse", told + number(1) + number(63), [0]
    yield "sparse_count_missing", "varint_malformed", told, [0]
    yield "sparse_level_missing", "varint_malformed", told + number(1), [0]
    yield "sparse_gap_behind_the_rest", "batch_sparse", told + number(1) + number(0) + fill("0") + fill("001"), [0]
    yield "sparse_gaps_behind_the_rest", "batch_sparse", told + number(2) + number(0) + fill("001001"), [0]
    yield "sparse_value_missing", "batch_length", told + number(2) + number(1) + fill("111"), [0]
    yield "sparse_value_of_65_bits", "batch_values", told + number(4) + number(62) + _too_large(), [0]
    yield "sparse_value_2_64", "batch_values", told + number(4) + number(62) + _too_large(2**64 - 1), [0]


def _too_large(last: int = 2**64) -> bytes:
    """The bits of four sparse values of which one is this, less one."""
    remainders, quotients = bits([(0, 0)] * 4 + [(0, 61)] * 3 + [(last, 61)])
    return remainders + quotients


def column(**other: Any) -> dict[str, Any]:
    """A right column, but for what is named."""
    right = {
        "factor": "0.25", "field": "", "group": 0, "kind": "uint", "labels": [], "offset": "-40",
        "path": "Vehicle.Speed", "transform": {"interval_ms": 1000}, "unit": "km/h",
    }  # fmt: skip
    return {name: value for name, value in (right | other).items() if value is not None}


def schema(*columns: Any, **other: Any) -> bytes:
    return json.dumps(
        {"columns": list(columns), "v": 1} | other, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()


def accepted_schemas() -> Iterator[tuple[str, bytes]]:
    """Name and document."""
    aggregate = {"aggregate": {"fields": ["min", "max"], "window_ms": 60_000}}
    yield "one_column", schema(column())
    yield "two_groups", schema(column(), column(path="Vehicle.X"), column(path="Vehicle.Y", group=1))
    yield "labels", schema(column(labels=[[-1, "unknown"], [0, ""], [7, "größer"]]))
    yield "aggregate", schema(column(transform=aggregate, field="min"), column(transform=aggregate, field="max"))
    yield (
        "numbers",
        schema(*(column(factor=text) for text in ("1", "1.0", "1e-07", "-0.0", "123456789012345678901", "1e+16"))),
    )
    yield "kinds", schema(*(column(kind=kind) for kind in ("int", "uint", "float32", "float64")))


def refused_schemas() -> Iterator[tuple[str, str, bytes]]:
    """Name, reason, document."""
    bad = "body_malformed"
    yield "version_2", "schema_version", schema(column(), v=2)
    yield "white_space", "json_not_canonical", schema(column()) + b" "
    yield "float", "json_number", schema(column(factor=0.25))
    yield "no_column", bad, schema()
    yield "unknown_member", bad, schema(column(), note="")
    yield "member_missing", bad, schema(column(unit=None))
    yield "column_with_more", bad, schema(column(vin=""))
    yield "path_outside", "path_malformed", schema(column(path="Speed"))
    yield "path_no_text", "path_malformed", schema(column(path=7))
    yield "kind_unknown", bad, schema(column(kind="bool"))
    yield "unit_with_control", bad, schema(column(unit="km\n"))
    yield "unit_too_long", bad, schema(column(unit="k" * 33))
    for name, text in (
        ("infinite", "1e+999"), ("nan", "nan"), ("longer_than_needed", "0.250"), ("leading_zero", "01"),
        ("minus_zero", "-0"), ("long", "1" * 33), ("empty", ""), ("plus", "+1"), ("other_digits", "\u0661"),
    ):  # fmt: skip
        yield f"factor_{name}", bad, schema(column(factor=text))
        yield f"offset_{name}", bad, schema(column(offset=text))
    yield "transform_unknown", "transform_malformed", schema(column(transform={"mirror": True}))
    yield "cell_of_a_speed", "transform_impossible", schema(column(transform={"cell_m": 100}))
    yield "group_starts_at_1", bad, schema(column(group=1))
    yield "group_skipped", bad, schema(column(), column(group=2))
    yield "group_back", bad, schema(column(), column(group=1), column(group=0))
    yield "field_without_aggregate", bad, schema(column(field="min"))
    aggregate = {"aggregate": {"fields": ["min"], "window_ms": 60_000}}
    yield "aggregate_without_field", bad, schema(column(transform=aggregate))
    yield "field_of_no_aggregate", bad, schema(column(transform=aggregate, field="max"))
    yield "field_unknown", bad, schema(column(transform=aggregate, field="median"))
    yield "labels_not_ascending", bad, schema(column(labels=[[1, "a"], [0, "b"]]))
    yield "label_twice", bad, schema(column(labels=[[1, "a"], [1, "b"]]))
    yield "label_of_a_text", bad, schema(column(labels=[["1", "a"]]))
    yield "label_of_true", bad, schema(column(labels=[[True, "a"]]))


def documents() -> dict[str, str]:
    """File name -> content."""
    batches: list[Vector] = [
        {
            "name": name,
            "outcome": "accepted",
            "groups": groups,
            "bytes": body.hex(),
            "times": times,
            "values": [[str(value) for value in column] for column in values],
        }
        for name, body, groups, times, values in accepted()
    ]
    batches += [
        {"name": name, "outcome": reason, "groups": groups, "bytes": body.hex()}
        for name, reason, body, groups in (*refused(), *refused_example(), *refused_sparse())
    ]
    schemas: list[Vector] = [
        {"name": name, "outcome": "accepted", "document": document.decode()} for name, document in accepted_schemas()
    ]
    schemas += [
        {"name": name, "outcome": reason, "document": document.decode()} for name, reason, document in refused_schemas()
    ]
    return {"batch.json": _lines(batches), "schema.json": _lines(schemas)}


def _lines(vectors: list[Vector]) -> str:
    return "[\n" + ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in vectors) + "\n]\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in documents().items():
        (FOLDER / name).write_text(content)
