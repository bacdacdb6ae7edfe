"""Collect: from frames to the columns that grants ask for, and nothing else. ``docs/transforms.md`` is the law."""

from carnet_agent.collect.collector import Collector
from carnet_agent.collect.cuts import Cut

__all__ = ["Collector", "Cut"]
