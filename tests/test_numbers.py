"""The numbers that the design promises, written out: a test that takes them from the code agrees with any of them."""

from __future__ import annotations

import importlib

import pytest

from carnet.signals import DeliveryClass
from carnet_agent.settings import BufferSection, GrantsSection
from carnet_agent.unit import Unit

DAY_MS = 86_400_000
NUMBERS = [
    # how long readings wait, and what a power cut can take
    ("carnet_agent.sending.window", "LENGTH_MS", {DeliveryClass.BACKGROUND: 60_000, DeliveryClass.LIVE: 10_000}),
    ("carnet_agent.sending.window", "SIZE_BYTES", 16_384),
    ("carnet_agent.sending.window", "CHECKPOINT_MS", 10_000),
    ("carnet_agent.service", "DRAIN_S", 0.05),
    ("carnet_agent.bus.filters", "FILTERS_MAX", 512),
    # from the car to the cloud
    ("carnet_agent.sending.sender", "WINDOW", 16),
    ("carnet_agent.sending.sender", "RETRY_FIRST_MS", 10_000),
    ("carnet_agent.sending.sender", "RETRY_MOST_MS", 300_000),
    ("carnet_agent.sending.contact", "RETRY_FIRST_MS", 10_000),
    ("carnet_agent.sending.contact", "RETRY_MOST_MS", 300_000),
    ("carnet_agent.sending.contact", "REFRESH_MS", 1_800_000),
    ("carnet_agent.mqtt", "WINDOW", 16),
    ("carnet.ack", "RANGES_MAX", 64),
    ("carnet_cloud.service", "GROUP_MAX", 256),
    ("carnet_cloud.service", "GROUP_WAIT_S", 0.05),
    ("carnet_cloud.store.streams", "REPLAY_KEEP", 4096),
    # time
    ("carnet.times", "RESOLUTION_MS", 1),
    ("carnet.times", "DRIFT_MS_PER_MS", 2000),  # 500 millionths
    ("carnet_cloud.timing", "HOLD_MS", 30 * DAY_MS),
    # consent, and its end
    ("carnet.offers", "VALID_DAYS_MAX", 365),
    ("carnet_cloud.lease", "LEASE_MS", 400),
    ("carnet_cloud.lease", "WRITE_BYTES_MAX", 16_384),
    ("carnet_cloud.consents", "DRAIN_MS", 500),
    ("carnet_cloud.wrapping", "ROTATE_MS", 3_600_000),
]


@pytest.mark.parametrize(("module", "name", "value"), NUMBERS, ids=lambda each: str(each)[:40])
def test_a_number_is_the_promised_one(module: str, name: str, value: object) -> None:
    assert getattr(importlib.import_module(module), name) == value


def test_defaults_of_a_unit_are_the_promised_ones() -> None:
    """What an installer gets who writes nothing about them."""
    assert GrantsSection().untimed_days_max == 7
    assert Unit.__dataclass_fields__["untimed_ms_max"].default == 7 * DAY_MS
    assert BufferSection().size_bytes_max == 256 * 1024 * 1024
