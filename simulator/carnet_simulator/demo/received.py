"""What a recipient has: its own file, read as it grows, one event a line.

Law: everything here is counted from the recipient's file, and from nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest sample of a path, as the recipient may know it."""

    value: object
    unit: str
    transform: dict[str, Any]
    t_ms: int


@dataclass(slots=True)
class Received:
    """All that one recipient got so far. ``arrived_ms``: when each event was seen here, ms since 1970."""

    file: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    arrived_ms: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    latest: dict[str, Latest] = field(default_factory=dict)
    _at: int = 0
    _ids: set[str] = field(default_factory=set)

    @property
    def samples(self) -> int:
        return self.counts.total()

    @property
    def doubled(self) -> int:
        """Events that stand in the file under an id that was there before."""
        return len(self.events) - len(self._ids)

    def look(self, now_ms: int) -> int:
        """Read what is new; the number of new events. A line that is still being written waits."""
        if not self.file.exists():
            return 0
        with self.file.open("rb") as file:
            file.seek(self._at)
            lines = file.read().split(b"\n")[:-1]
        for line in lines:
            self._at += len(line) + 1
            self._take(json.loads(line), now_ms)
        return len(lines)

    def _take(self, event: dict[str, Any], now_ms: int) -> None:
        self.events.append(event)
        self.arrived_ms.append(now_ms)
        self._ids.add(event["id"])
        for column in event["data"]["columns"]:
            path = column["path"]
            self.counts[path] += len(column["v"])
            if column["v"] and column["t_ms"][-1] >= self.latest.get(path, _NEVER).t_ms:
                value = column.get("labels", {}).get(str(column["v"][-1]), column["v"][-1])
                self.latest[path] = Latest(value, column["unit"], column["transform"], column["t_ms"][-1])


_NEVER = Latest(None, "", {}, 0)
