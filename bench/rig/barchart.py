"""A chart of horizontal bars as SVG: every bar has its figure beside it, and the first row is ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 200, 70, 13, 8, 72
COLOURS = ("#1f6f8b", "#7a4a9e", "#c07a1c")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 } .faint { fill: #667 }
.title { font-size: 16px; font-weight: 600 } .ours { font-weight: 700 }
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """``rows``: label and one figure for each of ``series``; the first is ours. On a ``log`` axis bars begin at 1."""

    title: str
    note: str
    series: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]
    form: str = "{:.2f}"
    log: bool = False


def draw(chart: Chart) -> str:
    """The SVG page."""
    step = BAR * len(chart.series) + GAP
    height = TOP + step * len(chart.rows) + 8
    top = max(value for _, values in chart.rows for value in values)
    body = []
    for number, (label, values) in enumerate(chart.rows):
        y, kind = TOP + step * number, "" if number else "ours"
        body.append(_text(LEFT - 8, y + BAR * len(values) / 2 + 4, label, kind, anchor="end"))
        for place, value in enumerate(values):
            share = math.log(max(value, 1)) / math.log(top) if chart.log else value / top
            wide, at = share * (WIDTH - LEFT - RIGHT), y + BAR * place
            body.append(_rect(LEFT, at, wide, BAR - 2, COLOURS[place], 0.55 if number else 1))
            body.append(_text(LEFT + wide + 5, at + BAR - 3, chart.form.format(value), kind))
    head = [_text(16, 26, chart.title, "title"), _text(16, 45, chart.note, "faint"), *_legend(chart.series)]
    page = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">'
    named = f"<title>{escape(chart.title)}</title><style>{STYLE}</style>"
    return "\n".join([page, named, _rect(0, 0, WIDTH, height, "#fff"), *head, *body, "</svg>\n"])


def _legend(series: Sequence[str]) -> list[str]:
    out = []
    for place, name in enumerate(series if len(series) > 1 else ()):
        x = LEFT + 150 * place
        out.append(_rect(x, 52, 9, 9, COLOURS[place]))
        out.append(_text(x + 14, 61, name, "faint"))
    return out


def _rect(x: float, y: float, width: float, height: float, fill: str, opacity: float = 1) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" fill="{fill}" opacity="{opacity}"/>'


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
