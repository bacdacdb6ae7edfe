"""Topic filters: the table of the standard, and subscriptions by owner."""

from __future__ import annotations

import mqtt5
import pytest

from carnet_simulator.topicfilter import TopicFilters, matches


@pytest.mark.parametrize(
    "pattern, topic, expected",
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("+", "a", True),
        ("+", "a/b", False),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+/c", "a/b/c", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/+", "a/+", True),
        ("a/b", "a/+", False),
        ("a/+", "a/#", False),
        ("a/#", "a/#", True),
        ("a/+/+/up", "a/b/+/up", True),
        ("a/+/+/up", "a/#", False),
    ],
)  # fmt: skip
def test_a_filter_covers_what_the_standard_says(pattern: str, topic: str, expected: bool) -> None:
    """The last rows ask whether one filter covers another, as access lists do."""
    assert matches(pattern, topic) is expected


def test_owners_get_each_message_once_with_the_best_of_their_filters() -> None:
    """Exact and with wildcards together; forgotten owners leave nothing behind."""
    filters: TopicFilters[str] = TopicFilters()
    filters.add("x", mqtt5.TopicFilter("a/b", max_qos=mqtt5.QoS.AT_MOST_ONCE))
    filters.add("x", mqtt5.TopicFilter("a/#", max_qos=mqtt5.QoS.AT_LEAST_ONCE))
    filters.add("y", mqtt5.TopicFilter("+/c", max_qos=mqtt5.QoS.AT_LEAST_ONCE))
    assert {owner: int(option.max_qos) for owner, option in filters.match("a/b").items()} == {"x": 1}
    assert set(filters.match("a/c")) == {"x", "y"}
    assert filters.count("x") == 2
    assert filters.remove("x", "a/#") and not filters.remove("x", "a/#") and not filters.remove("z", "a/b")
    assert {owner: int(option.max_qos) for owner, option in filters.match("a/b").items()} == {"x": 0}
    filters.remove_all("x")
    filters.remove_all("nobody")
    assert not filters.match("a/b") and filters.count("x") == 0
