"""The picture of a run: what left over time, a row for each path, a panel for each recipient, the withdrawal marked.

Law: a mark stands for samples that the recipient has in its own file; nothing is drawn that did not leave.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from carnet.errors import UnavailableError
from carnet_simulator.demo.words import shortened

WIDTH: Final = 1080
EDGE: Final = 24
HOW: Final = 352
PATH_MAX: Final = 40
"""Characters that fit before HOW in any usual font of that size."""
LEFT: Final = 520
RIGHT: Final = 96
LEGEND: Final = 560
ROW: Final = 22
HEAD: Final = 42
GAP: Final = 22
TOP: Final = 128
FOOT: Final = 56
MARK: Final = 13
SECOND_MS: Final = 1000
STYLE: Final = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1c2733 }
.title { font-size: 23px; font-weight: 700 } .name { font-size: 17px; font-weight: 700 } .faint { fill: #5d6b7a }
.how { fill: #5d6b7a; font-size: 12px } .stem { fill: #8a97a5 } .count { font-weight: 600; text-anchor: end }
.tick { fill: #5d6b7a; font-size: 12px; text-anchor: middle } .grid { stroke: #e3e9ef; stroke-width: 1 }
.card { fill: #fff; stroke: #d9e1e8; rx: 8px } .paper { fill: #f5f7fa } .no { fill: #b3202c; font-size: 12px }
.silent, .hatch { fill: url(#hatch) } .end, .limit { stroke: #b3202c; stroke-width: 2 }
.red { fill: #b3202c; font-weight: 700 } .dash { stroke: #d7959a; stroke-width: 1.5; stroke-dasharray: 3 5 }
.key { fill: #5d6b7a } .a { fill: #0e7c86 } .b { fill: #7a3fb0 }
"""
HATCH: Final = (
    '<defs><pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="8" height="8" fill="#fdf1f1"/><rect width="2.5" height="8" fill="#f3cfd1"/></pattern></defs>'
)
AXIS_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 86_400)


@dataclass(frozen=True, slots=True)
class Panel:
    """One recipient. ``times_ms``: path -> capture times; ``how``: path -> its transforms in words; ``refused``: path
    that it asked for and does not get -> why.
    """

    name: str
    purpose: str
    times_ms: Mapping[str, Sequence[int]]
    how: Mapping[str, str]
    withdrawn_ms: int | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Of the whole card."""
        return HEAD + ROW * (max(1, len(self.times_ms)) + len(self.refused)) + 12


@dataclass(frozen=True, slots=True)
class Span:
    """What the time axis spans."""

    start_ms: int
    end_ms: int

    def x(self, t_ms: int) -> float:
        """Where a moment lies on the page."""
        share = (t_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - RIGHT - LEFT)


def save(path: Path | None, page: str) -> Path:
    """Write the page; without a name it is a new file in the temporary folder, which is everybody's."""
    try:
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="carnet-demo-", suffix=".svg")
            os.close(descriptor)
            path = Path(name)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        where = path or tempfile.gettempdir()
        raise UnavailableError("picture", f"{where}: the picture cannot be written: {error.strerror}") from None
    return path


def draw(title: str, panels: Sequence[Panel], start_ms: int, end_ms: int, note: str) -> str:
    """The SVG page. ``start_ms`` to ``end_ms`` is what the time axis spans; ``note`` is its last line."""
    span = Span(start_ms, max(end_ms, start_ms + SECOND_MS))
    body: list[str] = []
    top = TOP
    for number, panel in enumerate(panels):
        body += _panel(panel, "ab"[number % 2], top, span)
        top += panel.height + GAP
    height = top - GAP + FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>{HATCH}",
            _rect(0, 0, WIDTH, height, "paper"),
            _text(EDGE, 42, title, "title"),
            *_legend(panels),
            *body,
            *_axis_names(top - GAP, span),
            _text(EDGE, height - 14, note, "faint"),
            "</svg>\n",
        ]
    )


def _legend(panels: Sequence[Panel]) -> list[str]:
    """What each sign means; signs that the page does not have are left out."""
    y, second = 76, 102
    out = [
        *(_rect(EDGE + 9 * n, y + 3.5 - tall / 2, 7, tall, "key") for n, tall in enumerate((5, 9, MARK))),
        _text(EDGE + 36, y + 8, "samples of one second that this recipient received; taller: more", ""),
    ]
    if any(panel.withdrawn_ms is not None for panel in panels):
        out += [
            _rect(EDGE, second - 4, 25, MARK, "hatch"),
            f'<line class="limit" x1="{EDGE}" x2="{EDGE}" y1="{second - 6}" y2="{second + 11}"/>',
            _text(EDGE + 36, second + 8, "after the withdrawal: silence; what waited then was destroyed", ""),
        ]
    if any(panel.refused for panel in panels):
        x = LEGEND
        out += [_dash(x, x + 28, y + 3), _text(x + 40, y + 8, "asked for and refused, and by whom", "")]
    return out


def _panel(panel: Panel, colour: str, top: int, span: Span) -> list[str]:
    rows = top + HEAD
    name = f'<tspan class="name">{escape(panel.name)}</tspan>'
    purpose = f'<tspan class="faint" dx="14">{escape(panel.purpose)}</tspan>'
    out = [
        _rect(EDGE - 12, top, WIDTH - 2 * EDGE + 24, panel.height, "card"),
        _rect(EDGE - 12, top + 10, 5, 20, f"bar {colour}"),
        f'<text x="{EDGE}" y="{top + 26}">{name}{purpose}</text>',
        *_grid(rows - 4, top + panel.height, span),
    ]
    if panel.withdrawn_ms is not None:
        out += _silence(span.x(panel.withdrawn_ms), top, panel.height)
    for row, (path, times) in enumerate(sorted(panel.times_ms.items())):
        out += _row(path, panel.how.get(path, ""), times, colour, rows + ROW * row, span)
    if not panel.times_ms:
        out.append(_text(LEFT, rows + 12, "nothing left for this recipient", "faint"))
    first = rows + ROW * max(1, len(panel.times_ms))
    for row, (path, why) in enumerate(sorted(panel.refused.items())):
        out += _refused(path, why, first + ROW * row)
    return out


def _row(path: str, how: str, times: Sequence[int], colour: str, y: int, span: Span) -> list[str]:
    return [
        f"<g><title>{escape(path)}: {escape(how)}</title>",
        _path(path, y + 12),
        _text(HOW, y + 12, how, "how"),
        *_marks(times, colour, y + 8, span),
        _text(WIDTH - EDGE, y + 12, f"{len(times):,}", "count"),
        "</g>",
    ]


def _refused(path: str, why: str, y: int) -> list[str]:
    return [
        _path(path, y + 12),
        _text(HOW, y + 12, why, "no"),
        _dash(LEFT, WIDTH - RIGHT, y + 8),
        _text(WIDTH - EDGE, y + 12, "0", "count"),
    ]


def _silence(x: float, top: int, height: int) -> list[str]:
    """From the withdrawal on; it lies under the marks, so that one that should not be there is seen."""
    return [
        _rect(x, top + HEAD - 4, WIDTH - RIGHT - x, height - HEAD, "silent"),
        f'<line class="end" x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 10}" y2="{top + height}"/>',
        _text(x + 6, top + HEAD - 10, "consent withdrawn", "red"),
    ]


def _marks(times: Sequence[int], colour: str, middle: float, span: Span) -> list[str]:
    """One rectangle for each second that has samples; the more samples the taller."""
    seconds: dict[int, int] = {}
    for t in times:
        second = (t - span.start_ms) // SECOND_MS
        seconds[second] = seconds.get(second, 0) + 1
    out = []
    for second, count in sorted(seconds.items()):
        x = span.x(span.start_ms + second * SECOND_MS)
        wide = max(1.5, span.x(span.start_ms + (second + 1) * SECOND_MS) - x - 1.5)
        tall = min(MARK, 5 + 2 * (count - 1))
        out.append(_rect(x, middle - tall / 2, wide, tall, colour))
    return out


def _ticks(span: Span) -> range:
    seconds = (span.end_ms - span.start_ms) / SECOND_MS
    step = next((s for s in AXIS_STEPS_S if seconds / s <= 12), AXIS_STEPS_S[-1])
    return range(0, int(seconds) + 1, step)


def _grid(top: int, bottom: int, span: Span) -> list[str]:
    xs = [span.x(span.start_ms + second * SECOND_MS) for second in _ticks(span)]
    return [f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>' for x in xs]


def _axis_names(bottom: int, span: Span) -> list[str]:
    names = [
        _text(span.x(span.start_ms + second * SECOND_MS), bottom + 16, f"{second} s", "tick") for second in _ticks(span)
    ]
    return [*names, _text(WIDTH - EDGE, bottom + 16, "samples", "count")]


def _path(path: str, y: float) -> str:
    """A path whose last word stands out."""
    stem, dot, name = shortened(path, PATH_MAX).rpartition(".")
    return (
        f'<text x="{EDGE}" y="{y:.1f}"><tspan class="stem">{escape(stem + dot)}</tspan>'
        f"<tspan>{escape(name)}</tspan></text>"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _dash(left: float, right: float, y: float) -> str:
    return f'<line class="dash" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"/>'
