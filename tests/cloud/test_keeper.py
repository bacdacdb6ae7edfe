"""Housekeeping: what has ended or waited too long goes although no event says so, and no duty waits for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.errors import UnavailableError
from carnet_cloud.keeper import Duty, Keeper, duties
from carnet_cloud.wrapping import ROTATE_MS
from tests.cloud.kit import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def duties_of(cloud: Cloud) -> dict[str, Duty]:
    clock = cloud.clock
    return duties(cloud.store, cloud.consents, cloud.receiver, cloud.wrapping, clock.now_ms, clock.monotonic_ms)


# no duty waits for another


def test_a_duty_that_fails_is_told_and_all_others_are_done(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending that cannot be finished keeps no wrapping key alive."""

    def fail(*_: object) -> int:
        raise UnavailableError("store_unavailable", "full")

    monkeypatch.setattr(cloud.consents, "finish_endings", fail)
    monkeypatch.setattr(cloud.receiver, "sweep", fail)
    wrapped = cloud.wrapping.wrap(b"k" * 32)
    failed: list[tuple[str, str]] = []
    Keeper(duties_of(cloud), lambda name, error: failed.append((name, str(error)))).turn()
    assert failed == [("endings", "full"), ("held", "full")]
    assert cloud.wrapping.unwrap(*wrapped) is None


def test_the_wrapping_key_changes_at_the_start_and_once_an_hour(cloud: Cloud) -> None:
    """However often the keeper comes round; and after a failure it is tried again at the next turn."""
    keeper = Keeper(duties_of(cloud), lambda *_: None)
    keys = set()
    for _ in range(150):
        keeper.turn()
        keys.add(cloud.wrapping.wrap(b"k" * 32)[1])
        cloud.clock.ms += 60_000
    assert len(keys) == 1 + 149 * 60_000 // ROTATE_MS
