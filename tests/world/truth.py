"""What the owner has really said, to whom and when; the judge of everything that reaches a recipient.

Law: this is filled by the owner's own acts and reads no document of ours back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]


@dataclass
class Agreed:
    """One record of the owner. Times in ms since 1970, true."""

    record: str
    recipient: str
    offer: bytes
    items: list[Item]
    token: str
    covers_from_ms: int
    expires_ms: int
    epoch: int = 1
    entries: list[str] = field(default_factory=list)
    """The token and every event that the cloud has taken."""
    silent: bool = False
    """A pause or a withdrawal has returned, and no resume was asked for since."""
    ended: bool = False
    """A withdrawal was asked for."""
    narrowed: bool = False
    """It was ever paused or withdrawn, or its store fell back."""

    @property
    def is_sealed(self) -> bool:
        """Whether only the recipient may read it."""
        return bool(json.loads(self.offer)["v"] == 2)

    def item(self, path: str, transform: Item) -> Item | None:
        """What it allows of this path under this transform."""
        return next(
            (
                one
                for one in self.items
                if one.get("path") == path and one["transform"] == transform and one["need"] != "condition"
            ),
            None,
        )
