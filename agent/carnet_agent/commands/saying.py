"""What a command says on standard error about what it could not use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Voice:
    """Of one command."""

    command: str

    def say(self, sentence: str) -> None:
        """One line."""
        print(f"carnet-agent {self.command}: {sentence}", file=sys.stderr)

    def name_all(self, sentences: Sequence[str], total: int = 0) -> None:
        """The first of these, one line each, and how many there are besides, ``total`` in all."""
        for sentence in sentences[:NAMED_MAX]:
            self.say(f"not used: {sentence}")
        more = max(total, len(sentences)) - NAMED_MAX
        if more > 0 and sentences:
            self.say(f"not used: {more:,} more")
