"""Bounds that documents and programs rely on, written out: a test that takes them from the code agrees with any."""

from __future__ import annotations

import importlib

import pytest

LIMITS = [
    # envelope and box (docs/wire-format.md)
    ("carnet.envelope", "BOXES_MAX", 32),
    ("carnet.box", "RECORDS_MAX", 64),
    ("carnet.box", "WALL_UNKNOWN", 0),
    ("carnet.box", "UNCERTAINTY_UNKNOWN", 0xFFFFFFFF),
    ("carnet.box", "NO_SCHEMA", bytes(16)),
    ("carnet.envelope", "NO_PREVIOUS", bytes(32)),
    ("carnet.note", "NOTE_BYTES", 104),
    ("carnet.padding", "LENGTH_MIN", 256),
    ("carnet_cloud.boxes", "INFLATED_BYTES_MAX", 4 * 1024 * 1024),
    ("carnet_cloud.boxes", "KEPT_BYTES_MAX", 64 * 1024),
    # consent (docs/consent.md)
    ("carnet.offers", "OFFER_BYTES_MAX", 65_536),
    ("carnet.offers", "ITEMS_MAX", 256),
    ("carnet.offers", "CONDITIONS_MAX", 8),
    ("carnet.offers", "NAME_BYTES_MAX", 128),
    ("carnet.offers", "VALUE_BYTES_MAX", 256),
    ("carnet.offers", "TEXT_BYTES_MAX", 2048),
    ("carnet.offers", "RETENTION_DAYS_MAX", 3650),
    ("carnet.offers", "VALID_DAYS_MAX", 365),
    ("carnet.offers", "REPLAY_MS_MAX", 604_800_000),
    ("carnet.recordevents", "EVENTS_MAX", 256),
    ("carnet.recordevents", "WIDENING_SEQ_MAX", 240),
    ("carnet.recordevents", "OPERATOR_EVENT_BYTES_MAX", 1024),
    ("carnet.ownerkeys", "PINNED_MAX", 8),
    ("carnet.ownerkeys", "ADDED_MAX", 8),
    ("carnet.ownerkeys", "EPOCH_MAX", 4_294_967_295),
    ("carnet.ownerkeys", "OWNER_BYTES_MAX", 65_536),
    ("carnet.grantsets", "RECORDS_MAX", 64),
    ("carnet.grantsets", "ENDED_MAX", 1024),
    ("carnet.grantsets", "GENERATION_MAX", 4_294_967_295),
    ("carnet.grantsets", "ENDED_KEPT_MS", 31_536_000_000),
    # buffer
    ("carnet_agent.buffer.disk", "EVICT_ROWS", 16),
    ("carnet_agent.buffer.disk", "EVICT_TRIES", 64),
    ("carnet_agent.buffer.disk", "NOTED_MAX", 256),
    ("carnet_agent.buffer.destruction", "ROWS_AT_ONCE", 512),
    ("carnet_agent.buffer.files", "WHOLE_BYTES", 16_777_216),
    ("carnet_agent.buffer.salvage", "TRIES", 3),
    ("carnet_agent.buffer.remains", "KEPT", 2),
    ("carnet_agent.buffer.sealed", "KEEP_DAYS", 90),
]


@pytest.mark.parametrize(("module", "name", "value"), LIMITS, ids=lambda each: str(each)[:40])
def test_a_bound_is_the_documented_one(module: str, name: str, value: object) -> None:
    assert getattr(importlib.import_module(module), name) == value
