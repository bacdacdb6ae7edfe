"""A reader of batches written from ``docs/batch-format.md`` alone: slow, plain, and without a line of ours.

It takes the document's words one after the other: bits as text, integers without a width, one value at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backports import zstd

WRAP = 1 << 64


class RefusedError(Exception):
    """The document says no."""


@dataclass(frozen=True)
class Read:
    """Times per group and values per column."""

    times: list[list[int]]
    values: list[list[int]]


@dataclass(frozen=True)
class _Run:
    mode: int
    level: int
    n: int
    heads: list[int]
    m: int
    value_level: int

    @property
    def r(self) -> int:
        return self.n - len(self.heads)


def need(condition: bool, why: str) -> None:
    if not condition:
        raise RefusedError(why)


def read(body: bytes, groups: list[int], size_max: int = 1_048_576) -> Read:
    """The batch in ``body``; ``groups`` is the group of every column of its schema."""
    plain = list(_plain(body, size_max))
    base = _number(plain)
    need(base < 2**53, "base")
    counts = [_number(plain) for _ in range(max(groups) + 1)]
    need(all(count <= 262_144 for count in counts), "count")
    lengths = counts + [counts[group] for group in groups]
    need(1 <= sum(lengths) <= 262_144, "sum of counts")
    filled = [n for n in lengths if n]
    shapes = [divmod(plain.pop(0) if plain else _refuse(), 64) for _ in filled]
    told = [
        _Run(mode, level, n, *_heads(plain, mode, level, n)) for (mode, level), n in zip(shapes, filled, strict=True)
    ]
    rests = _rests(plain, told)
    runs: list[list[int]] = []
    for run, rest in zip(told, rests, strict=True):
        need(run.mode != 3 or (bool(runs) and len(runs[-1]) == run.n), "twin")
        runs.append(_restore(run, [_signed(value) for value in rest], runs[-1] if runs else []))
    columns = iter(runs)
    found = [next(columns) if n else [] for n in lengths]
    times = [[base + _two(x) for x in column] for column in found[: len(counts)]]
    for column in times:
        need(column == sorted(column) and all(0 <= t < 2**53 for t in column), "times")
    return Read(times, [[_two(x) for x in column] for column in found[len(counts) :]])


def _plain(body: bytes, size_max: int) -> bytes:
    need(body[:1] in {b"\0", b"\1"}, "form")
    if body[0] == 0:
        need(len(body) - 1 <= size_max, "size")
        return body[1:]
    window = {int(zstd.DecompressionParameter.window_log_max): 21}
    unpacker = zstd.ZstdDecompressor(options=window)
    try:
        content = unpacker.decompress(bytes.fromhex("28b52ffd") + body[1:], size_max + 1)
    except zstd.ZstdError:
        raise RefusedError("frame") from None
    need(unpacker.eof and not unpacker.unused_data and len(content) <= size_max, "frame")
    return content


def _refuse() -> int:
    raise RefusedError("cut off")


def _number(data: list[int]) -> int:
    found = shift = 0
    while True:
        need(bool(data), "cut off")
        octet = data.pop(0)
        found |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            break
    need(found < WRAP and (octet > 0 or shift == 7), "number")
    return found


def _heads(plain: list[int], mode: int, level: int, n: int) -> tuple[list[int], int, int]:
    heads = [_signed(_number(plain)) for _ in range(2 if mode == 2 and n > 1 else 1)]
    if level < 63:
        return heads, 0, 0
    m, value_level = _number(plain), _number(plain)
    need(1 <= m <= n - len(heads) and value_level <= 62, "sparse")
    return heads, m, value_level


def _rests(plain: list[int], told: list[_Run]) -> list[list[int]]:
    """The rest of every run, in zigzag."""
    dense = [(run.r, run.level - 1) for run in told if 1 <= run.level <= 62]
    gaps = [(run.m, max(1, (run.r - run.m) // run.m).bit_length() - 1) for run in told if run.level == 63]
    values = [(run.m, run.value_level - 1) for run in told if run.level == 63 and run.value_level]
    numbers = iter(_coded(plain, dense + gaps + values))
    rests = [[next(numbers) for _ in range(run.r)] if 1 <= run.level <= 62 else [0] * run.r for run in told]
    sparse = [(run, rest) for run, rest in zip(told, rests, strict=True) if run.level == 63]
    places = []
    for run, _ in sparse:
        at = -1
        places.append([at := at + 1 + next(numbers) for _ in range(run.m)])
        need(at < run.r, "gaps")
    for (run, rest), where in zip(sparse, places, strict=True):
        for place in where:
            rest[place] = 1 + (next(numbers) if run.value_level else 0)
            need(rest[place] < WRAP, "value")
    return rests


def _coded(plain: list[int], wanted: list[tuple[int, int]]) -> list[int]:
    """So many numbers with this k each."""
    size = sum(count * k for count, k in wanted)
    octets = -(-size // 8)
    need(len(plain) >= octets, "cut off")
    text = "".join(f"{octet:08b}" for octet in plain[:octets])
    need("1" not in text[size:], "filling")
    remainders, quotients = iter(text), iter("".join(f"{octet:08b}" for octet in plain[octets:]))
    found = [
        _quotient(quotients) << k | int("0" + "".join(next(remainders) for _ in range(k)), 2)
        for count, k in wanted
        for _ in range(count)
    ]
    left = "".join(quotients)
    need(len(left) < 8 and "1" not in left, "behind the quotients")
    need(all(number < WRAP for number in found), "value")
    return found


def _quotient(bits: Iterator[str]) -> int:
    for zeros, bit in enumerate(bits):
        if bit == "1":
            return zeros
    raise RefusedError("quotients")


def _signed(zigzag: int) -> int:
    return zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2


def _two(x: int) -> int:
    return (x + WRAP // 2) % WRAP - WRAP // 2


def _restore(run: _Run, rest: list[int], p: list[int]) -> list[int]:
    x = [run.heads[0] + (p[0] if run.mode == 3 else 0)]
    if len(run.heads) == 2:
        x.append(x[0] + run.heads[1])
    for value in rest:
        i = len(x)
        line = 2 * x[i - 1] - x[i - 2] if run.mode == 2 else 0
        twin = x[i - 1] + p[i] - p[i - 1] if run.mode == 3 else 0
        x.append(value + (0, x[i - 1], line, twin)[run.mode])
    return x
