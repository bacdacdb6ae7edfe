"""The picture of a run: what left over time, a row for each path, a panel for each recipient, the withdrawal marked.

Law: a mark stands for samples that the recipient has in its own file; nothing is drawn that did not leave.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from carnet.errors import UnavailableError

WIDTH: Final = 960
LEFT: Final = 330
RIGHT: Final = 130
ROW: Final = 20
HEAD: Final = 34
TOP: Final = 64
FOOT: Final = 56
STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-size: 17px; font-weight: 600 } .name { font-size: 14px; font-weight: 600 } .faint { fill: #667 }
.grid { stroke: #dde; stroke-width: 1 } .silent { fill: #f4dede } .end { stroke: #b00020; stroke-width: 2 }
.red { fill: #b00020; font-weight: 600 } .a { fill: #1f6f8b } .b { fill: #7a4a9e }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One recipient. ``times_ms``: path -> capture times; ``how``: path -> its transforms in words."""

    name: str
    purpose: str
    times_ms: Mapping[str, Sequence[int]]
    how: Mapping[str, str]
    withdrawn_ms: int | None = None


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
    end_ms = max(end_ms, start_ms + 1000)
    body: list[str] = []
    top = TOP
    for number, panel in enumerate(panels):
        body += _panel(panel, "ab"[number % 2], top, start_ms, end_ms)
        top += HEAD + ROW * max(1, len(panel.times_ms)) + 14
    axis = _axis(TOP, top, start_ms, end_ms)
    height = top + FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            _text(20, 30, title, "title"),
            _text(20, 50, "one mark: the samples of one second that this recipient received", "faint"),
            *axis,
            *body,
            _text(20, height - 14, note, "faint"),
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, colour: str, top: int, start_ms: int, end_ms: int) -> list[str]:
    out = [
        _text(20, top + 16, panel.name, "name"),
        _text(20 + 9 * len(panel.name) + 14, top + 16, panel.purpose, "faint"),
    ]
    height = ROW * max(1, len(panel.times_ms))
    if panel.withdrawn_ms is not None:
        out += _silence(_x(panel.withdrawn_ms, start_ms, end_ms), top + HEAD, height)
    for row, (path, times) in enumerate(sorted(panel.times_ms.items())):
        y = top + HEAD + ROW * row
        out.append(f"<g><title>{escape(path)}: {escape(panel.how.get(path, ''))}</title>")
        out.append(_text(20, y + 8, shortened(path), ""))
        out += _marks(times, colour, y, start_ms, end_ms)
        out.append(_text(WIDTH - RIGHT + 12, y + 8, f"{len(times)} samples", "faint"))
        out.append("</g>")
    if not panel.times_ms:
        out.append(_text(LEFT, top + HEAD + 8, "nothing left for this recipient", "faint"))
    return out


def _silence(x: float, top: int, height: int) -> list[str]:
    """From the withdrawal on; it lies under the marks, so that one that should not be there is seen."""
    return [
        _rect(x, top - 8, WIDTH - RIGHT - x, height + 4, "silent"),
        f'<line class="end" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 12}" y2="{top + height}"/>',
        _text(x + 6, top - 12, "consent withdrawn", "red"),
    ]


def _marks(times: Sequence[int], colour: str, y: int, start_ms: int, end_ms: int) -> list[str]:
    """One rectangle for each second that has samples; the more samples the taller."""
    seconds: dict[int, int] = {}
    for t in times:
        seconds[(t - start_ms) // 1000] = seconds.get((t - start_ms) // 1000, 0) + 1
    out = []
    for second, count in sorted(seconds.items()):
        x = _x(start_ms + second * 1000, start_ms, end_ms)
        wide = max(1.5, _x(start_ms + (second + 1) * 1000, start_ms, end_ms) - x - 1)
        tall = min(14, 5 + 3 * (count - 1))
        out.append(_rect(x, y + 4 - tall / 2, wide, tall, colour))
    return out


def _axis(top: int, bottom: int, start_ms: int, end_ms: int) -> list[str]:
    seconds = (end_ms - start_ms) / 1000
    step = next(
        s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 86_400) if seconds / s <= 12 or s == 86_400
    )
    out = []
    for second in range(0, int(seconds) + 1, step):
        x = _x(start_ms + second * 1000, start_ms, end_ms)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(_text(x - 8, bottom + 14, f"{second} s", "faint"))
    return out


def shortened(path: str, most: int = 44) -> str:
    """A path that fits its column: the end tells more than the beginning."""
    short = path.removeprefix("Vehicle.")
    return short if len(short) <= most else "…" + short[1 - most :]


def _x(t_ms: int, start_ms: int, end_ms: int) -> float:
    share = (t_ms - start_ms) / (end_ms - start_ms)
    return LEFT + min(1.0, max(0.0, share)) * (WIDTH - RIGHT - LEFT)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"/>'
