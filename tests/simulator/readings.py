"""Events as recipients get them, for tests of the demonstration."""

from __future__ import annotations

from typing import Any

RECORD = "rec_aaaaaaaaaaaaaaaa"
SPEED = "Vehicle.Speed"


def column(path: str, transform: dict[str, Any], t_ms: list[int], v: list[Any], **more: Any) -> dict[str, Any]:
    told = {"path": path, "unit": "km/h", "transform": transform, "t_ms": t_ms, "uncertainty_ms": 0, "v": v}
    return {**told, **more}


def event(*columns: dict[str, Any], record: str = RECORD, generation: int = 1, name: str = "00") -> dict[str, Any]:
    return {"id": name, "data": {"record": record, "generation": generation, "columns": list(columns)}}
