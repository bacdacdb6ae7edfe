"""What the models of consent documents share: strictness, the form of ids, and every small change of a document.

Law: nothing here is taken from ``carnet``; it is written from ``docs/consent.md``.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, ConfigDict

_ID = r"[a-z2-7]{16}\z"
OFFER_ID, RECORD_ID, RECIPIENT_ID, TENANT_ID = (rf"\A{kind}_{_ID}" for kind in ("off", "rec", "rcp", "ten"))
VEHICLE = r"\A[a-z2-7]{25}[aeimquy4]\z"
"""The last of 26 characters stands for three bits."""
HASH = r"\A[0-9a-f]{64}\z"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document that can be changed, but for the insides of transforms, which have a test of their
    own.
    """
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    deeper = [found for key, child in inner if key != "transform" for found in places(child, (*place, key))]
    return [place, *deeper] if place else deeper


def changed(document: Any, place: tuple[Any, ...], change: Any) -> Any:
    document = copy.deepcopy(document)
    *way, last = place
    target = document
    for key in way:
        target = target[key]
    if change == "drop":
        del target[last]
    elif change == "rename" and isinstance(target, dict):
        target[f"{last}_"] = target.pop(last)
    elif change == "twice" and isinstance(target, list):
        target.append(target[last])
    elif not isinstance(change, str) or change.startswith("="):
        target[last] = change[1:] if isinstance(change, str) else change
    return document
