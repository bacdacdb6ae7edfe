"""Bytes and CPU time per sample beside other formats: ``python bench/bytes_rivals.py``.

The readings of ``bench/bytes.py``: three real cars, 48 signals at 1 Hz, windows of 60 s. *One* is one message with all
of them, *five* the five messages that three overlapping grants need (each column once, none to a recipient who may not
have it), *wire* these five as bodies in the product's own boxes: sealed, padded, signed, published and acknowledged; it
differs by the format alone. A rival that seals nothing sends *one*, for everybody, and a few dozen bytes of MQTT.

Encoding is timed for one message of the busiest window, all formats in turns; the ratio to ours is taken in each turn.
Physical values are computed before, for those that want them. What can be read again is, and compared.
FleetWise and Tesla are written here in Python from the published schemas (``bench/rig/protobuf.py``): their bytes are
right, their time is not that of the C++ in a car.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable

from bench.bytes import CARS, DATA, Series, batch_of, drive, five, window_on_the_wire, windows
from bench.rig.formats import Columns, Format, Window, formats
from bench.rig.measure import machine
from bench.rig.rivals import say_missing, versions

TURNS = 31
GOES_NS = 3_000_000
"""About so long a format encodes in each turn."""
PACKAGES = ("numpy", "pcodec", "msgpack", "pyarrow", "backports.zstd", "cramjam")


def sizes(car: list[Series], form: Format) -> dict[str, float]:
    """Bytes per sample: one message, five, and five on the wire."""
    found = {"one": 0, "five": 0, "wire": 0.0}
    samples = 0
    for window in windows(car, 1000, 60):
        batch = batch_of(window, 1000)
        samples += batch.samples
        found["one"] += len(form.encode(Window(batch)))
        found["five"] += sum(len(form.encode(Window(part))) for part in five(window) if part.samples)
        on_the_wire = window_on_the_wire(window, random.Random(1), lambda part: form.encode(Window(part)))
        found["wire"] += sum(on_the_wire.values())
    return {name: size / samples for name, size in found.items()}


def check(form: Format, window: Window) -> None:
    """What a format wrote must be what it was given."""
    if form.decode is not None:
        expected: Columns = [(times, values) for times, values in window.raw if times]
        if form.decode(form.encode(window)) != expected:
            raise SystemExit(f"the bench is wrong: {form.name} gives back other readings")


def cpu_ns(work: Callable[[], object], repeats: int) -> float:
    """CPU time of this process for one go."""
    start = time.process_time_ns()
    for _ in range(repeats):
        work()
    return (time.process_time_ns() - start) / repeats


def speeds(forms: list[Format], window: Window) -> dict[str, tuple[float, float]]:
    """Name -> median nanoseconds per sample, and median of the ratios to ours (the first) in the same turn."""
    work: list[Callable[[], object]] = [lambda form=form: form.encode(window) for form in forms]  # type: ignore[misc]
    repeats = [max(1, round(GOES_NS / cpu_ns(each, 2))) for each in work]
    turns = [[cpu_ns(*each) for each in zip(work, repeats, strict=True)] for _ in range(TURNS)]
    found = {}
    for place, form in enumerate(forms):
        median = statistics.median(turn[place] for turn in turns) / window.batch.samples
        found[form.name] = median, statistics.median(turn[place] / turn[0] for turn in turns)
    return found


def main() -> int:
    """Print a table for each car and one JSON line."""
    if not DATA.is_dir():
        print("bench/bytes_rivals: the shared vehicle data is missing: set CARNET_DATA to its folder", file=sys.stderr)
        return 1
    forms = formats()
    say_missing()
    rows = []
    for car, source in CARS.items():
        series = drive(*source)
        busiest = Window(max((batch_of(w, 1000) for w in windows(series, 1000, 60)), key=lambda batch: batch.samples))
        for form in forms:
            check(form, busiest)
        speed = speeds(forms, busiest)
        print(f"\n{car}, {busiest.batch.samples} samples; bytes per sample, encoding in CPU nanoseconds per sample")
        print(f"{'':24} {'one':>7} {'five':>7} {'wire':>7} {'encode':>8} {'/ ours':>7}")
        for form in forms:
            size, (ns, ratio) = sizes(series, form), speed[form.name]
            row = " ".join(f"{size[name]:>7.3f}" for name in ("one", "five", "wire"))
            notes = form.language + (form.lost and f", loses {form.lost}")
            print(f"{form.name:24} {row} {ns:>8.0f} {ratio:>6.2f}x  {notes}")
            kept = {name: round(each, 3) for name, each in size.items()}
            rows.append(
                {"car": car, "format": form.name, **kept, "encode_ns": round(ns), "encode_ratio": round(ratio, 2)}
            )
    record = {"bench": "bytes_rivals", **machine(), **versions(*PACKAGES), "load": os.getloadavg()[0], "rows": rows}
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
