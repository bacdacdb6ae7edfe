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
    modes = [divmod(plain.pop(0) if plain else _refuse(), 64) for _ in filled]
    need(not modes or modes[0][0] != 3, "first twin")
    heads = [
        [_signed(_number(plain)) for _ in range(2 if m == 2 and n > 1 else 1)]
        for (m, _), n in zip(modes, filled, strict=True)
    ]
    rests = [n - len(h) if level else 0 for h, n, (_, level) in zip(heads, filled, modes, strict=True)]
    remainders = _bits(plain, sum(rest * (level - 1) for rest, (_, level) in zip(rests, modes, strict=True)))
    quotients = iter("".join(f"{octet:08b}" for octet in plain))
    values = [
        [(_quotient(quotients), level - 1) for _ in range(rest)] for rest, (_, level) in zip(rests, modes, strict=True)
    ]
    left = "".join(quotients)
    need(len(left) < 8 and "1" not in left, "behind the quotients")
    runs: list[list[int]] = []
    for (mode, _), n, head, run in zip(modes, filled, heads, values, strict=True):
        need(mode != 3 or len(runs[-1]) == n, "twin")
        rest = [_signed(_value(high, k, remainders)) for high, k in run] or [0] * (n - len(head))
        runs.append(_restore(mode, head, rest, runs[-1] if runs else []))
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


def _bits(data: list[int], count: int) -> Iterator[str]:
    size = -(-count // 8)
    need(len(data) >= size, "cut off")
    text = "".join(f"{octet:08b}" for octet in data[:size])
    del data[:size]
    need("1" not in text[count:], "filling")
    return iter(text)


def _quotient(bits: Iterator[str]) -> int:
    for zeros, bit in enumerate(bits):
        if bit == "1":
            return zeros
    raise RefusedError("quotients")


def _value(high: int, k: int, remainders: Iterator[str]) -> int:
    found = high << k | int("0" + "".join(next(remainders) for _ in range(k)), 2)
    need(found < WRAP, "value")
    return found


def _signed(zigzag: int) -> int:
    return zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2


def _two(x: int) -> int:
    return (x + WRAP // 2) % WRAP - WRAP // 2


def _restore(mode: int, head: list[int], rest: list[int], p: list[int]) -> list[int]:
    x = [head[0] + (p[0] if mode == 3 else 0)]
    if len(head) == 2:
        x.append(x[0] + head[1])
    for value in rest:
        i = len(x)
        x.append(
            value
            + (0, x[i - 1], 2 * x[i - 1] - x[i - 2] if i > 1 else 0, x[i - 1] + (p[i] - p[i - 1] if mode == 3 else 0))[
                mode
            ]
        )
    return x
