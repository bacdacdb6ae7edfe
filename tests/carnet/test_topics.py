"""Topics: a device id, its shard and nothing else."""

from __future__ import annotations

import pytest

from carnet import topics
from carnet.errors import FormatError
from carnet.ids import device_text

DEVICE = bytes(range(0xA0, 0xB0))


def test_a_topic_comes_back_as_its_device() -> None:
    """Both directions, with the first byte as shard."""
    assert topics.topic_up(DEVICE) == f"carnet/1/a0/{device_text(DEVICE)}/up"
    assert topics.parse_up(topics.topic_up(DEVICE)) == DEVICE
    assert topics.parse_down(topics.topic_down(DEVICE)) == DEVICE


def test_a_receivers_subscription_covers_its_shard() -> None:
    """One level for the device, nothing wider."""
    assert topics.filter_up("a0") == "carnet/1/a0/+/up"


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (f"carnet/1/a1/{device_text(DEVICE)}/up", "topic_wrong_shard"),
        (f"carnet/1/A0/{device_text(DEVICE)}/up", "topic_wrong_shard"),
        (f"carnet/1/a0/{device_text(DEVICE)}/down", "topic_malformed"),
        (f"carnet/2/a0/{device_text(DEVICE)}/up", "topic_malformed"),
        (f"/carnet/1/a0/{device_text(DEVICE)}/up", "topic_malformed"),
        (f"carnet/1/a0/{device_text(DEVICE)}/up/", "topic_malformed"),
        (f"carnet/1/a0/{device_text(DEVICE).upper()}/up", "topic_malformed"),
        ("", "topic_malformed"),
    ],
)
def test_any_other_topic_is_refused(topic: str, reason: str) -> None:
    """The wrong shard has a reason of its own."""
    with pytest.raises(FormatError) as refusal:
        topics.parse_up(topic)
    assert refusal.value.reason == reason
