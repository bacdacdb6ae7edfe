"""Which subscriptions a topic matches, with MQTT's wildcards ``+`` (one level) and ``#`` (all further levels).

Law: a filter that begins with a wildcard never matches a topic that begins with ``$``.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

import mqtt5

Owner = TypeVar("Owner", bound=Hashable)


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter covers a topic; a topic may be a filter itself, whose ``+`` only a wildcard covers."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or levels[position] == "#":
            return False
        if level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


class TopicFilters(Generic[Owner]):
    """Subscriptions by owner. Filters without wildcards are looked up, those with wildcards are tried one by one."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[Owner, mqtt5.TopicFilter]] = {}
        self._wild: dict[str, dict[Owner, mqtt5.TopicFilter]] = {}
        self._of: dict[Owner, set[str]] = {}

    def add(self, owner: Owner, wanted: mqtt5.TopicFilter) -> None:
        """Subscribe; the same filter again replaces its options."""
        self._table(wanted.pattern).setdefault(wanted.pattern, {})[owner] = wanted
        self._of.setdefault(owner, set()).add(wanted.pattern)

    def remove(self, owner: Owner, pattern: str) -> bool:
        """Unsubscribe; whether there was such a subscription."""
        if pattern not in self._of.get(owner, ()):
            return False
        self._of[owner].discard(pattern)
        table = self._table(pattern)
        del table[pattern][owner]
        if not table[pattern]:
            del table[pattern]
        return True

    def remove_all(self, owner: Owner) -> None:
        """Forget an owner."""
        for pattern in list(self._of.get(owner, ())):
            self.remove(owner, pattern)
        self._of.pop(owner, None)

    def count(self, owner: Owner) -> int:
        """Subscriptions of one owner."""
        return len(self._of.get(owner, ()))

    def match(self, topic: str) -> dict[Owner, mqtt5.TopicFilter]:
        """Every owner once, with the options of its matching filter that asks for the highest quality of service."""
        found = dict(self._exact.get(topic, {}))
        for pattern, owners in self._wild.items():
            if matches(pattern, topic):
                for owner, option in owners.items():
                    if owner not in found or int(option.max_qos) > int(found[owner].max_qos):
                        found[owner] = option
        return found

    def _table(self, pattern: str) -> dict[str, dict[Owner, mqtt5.TopicFilter]]:
        return self._wild if "+" in pattern or "#" in pattern else self._exact
