"""A soak as a picture: ``python -m tests.soak.picture FILE [SVG]`` draws memory, descriptors and store over the time.

Law: a line is what was sampled, broken where a process ended; nothing is smoothed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from bench.rig.barchart import STYLE
from tests.soak.judge import BY_EVENT, OURS, lives
from tests.soak.sample import Sample

PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "nightly-soak.svg"
WIDTH, LEFT, RIGHT, HIGH, GAP, TOP = 760, 60, 90, 130, 44, 64
COLOURS: Final = {"agent": "#1f6f8b", "cloud": "#7a4a9e", "cloud-2": "#c07a1c", "car": "#8a8f98", "store": "#2e7d4f"}
KILLS: Final = ("agent killed", "receiver killed")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """``lines``: (whose, points); the axis begins at 0."""

    title: str
    lines: Sequence[tuple[str, Points]]


def panels(samples: Sequence[Sample]) -> list[Panel]:
    """The three of them."""
    looks = [(sample.at_s, sum(sample.store[name] for name in BY_EVENT) / 1e6) for sample in samples if sample.store]
    return [
        Panel("Memory (Pss), MB", _by_life(samples, lambda program: program.pss_kb / 1000)),
        Panel("Descriptors", _by_life(samples, lambda program: program.descriptors)),
        Panel("What the store keeps of forwarded events, MB", [("store", looks)]),
    ]


def draw(samples: Sequence[Sample], faults: Sequence[Mapping[str, object]]) -> str:
    """The SVG page; a mark at the top edge of a panel for each fault, a long one where a program was killed."""
    height = TOP + 3 * (HIGH + GAP)
    end = samples[-1].at_s
    body = [f'<text x="16" y="26" class="title">{end / 60:.0f} minutes under {len(faults)} faults</text>']
    body.append(
        '<text x="16" y="45" class="faint">a mark is a fault, a line across an agent or a receiver killed</text>'
    )
    for number, panel in enumerate(panels(samples)):
        body += _panel(panel, TOP + number * (HIGH + GAP), end, faults)
    page = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">'
    named = f"<title>A soak</title><style>{STYLE}</style>"
    return "\n".join([page, named, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', *body, "</svg>\n"])


def _by_life(samples: Sequence[Sample], figure: Callable[..., float]) -> list[tuple[str, Points]]:
    return [
        (life.name, list(zip(life.at_s, map(figure, life.programs), strict=True)))
        for life in lives(samples)
        if life.name in OURS
    ]


def _panel(panel: Panel, top: float, end: float, faults: Sequence[Mapping[str, object]]) -> Iterator[str]:
    most = max(value for _, points in panel.lines for _, value in points) * 1.1 or 1.0
    wide, foot = WIDTH - LEFT - RIGHT, top + 14 + HIGH
    yield f'<text x="{LEFT}" y="{top + 8:.0f}">{escape(panel.title)}</text>'
    yield f'<path d="M{LEFT} {top + 14:.0f}V{foot:.0f}H{LEFT + wide}" fill="none" stroke="#99a"/>'
    for fault in faults:
        deep = HIGH if fault["kind"] in KILLS else 5
        x = LEFT + wide * float(str(fault["at_s"])) / end
        yield f'<path d="M{x:.1f} {top + 14:.0f}v{deep}" stroke="#dde"/>'
    for share in (0.0, 0.5):
        value = most / 1.1 * (share or 1)
        y = foot - HIGH * value / most
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="faint" text-anchor="end">{value:,.0f}</text>'
    for share in (0.0, 0.5, 1.0):
        yield (
            f'<text x="{LEFT + wide * share:.0f}" y="{foot + 15:.0f}" class="faint" text-anchor="middle">'
            f"{end * share / 60:.0f} min</text>"
        )
    labels: dict[str, float] = {}
    for name, points in panel.lines:
        where = [(LEFT + wide * at / end, foot - HIGH * value / most) for at, value in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.4"/>'
        labels[name] = where[-1][1]
    yield from _labels(labels)


def _labels(ends: Mapping[str, float]) -> Iterator[str]:
    """Beside the ends of the lines, one below the other."""
    last = 0.0
    for name, y in sorted(ends.items(), key=lambda each: each[1]):
        last = max(y + 4, last + 13)
        yield f'<text x="{WIDTH - RIGHT + 6}" y="{last:.1f}" style="fill: {COLOURS[name]}">{name}</text>'


def main(arguments: list[str]) -> None:
    """Draw FILE into SVG, or into the document's picture."""
    rows = [json.loads(line) for line in Path(arguments[0]).read_text(encoding="utf-8").splitlines()]
    samples = [Sample.read(row) for row in rows if row["soak"] == "sample"]
    target = Path(arguments[1]) if arguments[1:] else PICTURE
    target.write_text(draw(samples, [row for row in rows if row["soak"] == "fault"]), encoding="utf-8")
    print(target.name)


if __name__ == "__main__":
    main(sys.argv[1:])
