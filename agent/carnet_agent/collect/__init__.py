"""Collect: from frames to the columns that grants ask for, and nothing else. ``docs/transforms.md`` is the law."""

from .collector import Collector
from .cuts import Cut

__all__ = ["Collector", "Cut"]
