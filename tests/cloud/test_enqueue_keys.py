"""The key of a record, and what else a transaction asks its store once."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.errors import UnavailableError
from carnet_cloud import gate
from carnet_cloud.enqueue import Enqueuer
from carnet_cloud.wrapping import KEY_BYTES
from tests import consentkit as kit
from tests.cloud.enqueuekit import calls, enqueue, judge, payloads
from tests.cloud.kit import Cloud, Unit


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    """One whose owner has given the example record, and whose schema is known."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    return unit


def test_the_key_of_a_record_is_made_once_and_taken_again(
    cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its grant; the wrapping keys are held while it is made, and only then."""
    held = []
    for _ in range(2):
        data = unit.data()
        with cloud.store.transaction() as t:
            held.append(calls(monkeypatch, t.others, "wrap"))
            enqueue(Enqueuer(cloud.outlet, t), t, data)
    assert [len(each) for each in held] == [1, 0]
    assert len(payloads(cloud)) == 2
    assert cloud.ask("select count(*), min(ends_ms) from outbox_key") == (1, kit.GIVEN_MS + 30 * kit.DAY_MS)


def lose_wrapping_key(cloud: Cloud) -> bytes:
    """A disk has lost it, and the cloud has another one; its id."""
    (path,) = cloud.wrapping._folder.glob("*.key")
    cloud.wrapping._make()
    path.unlink()
    cloud.wrapping._look()
    return bytes.fromhex(path.stem)


def test_a_key_whose_wrapping_key_is_gone_is_made_anew(cloud: Cloud, unit: Unit) -> None:
    judge(cloud, unit.data())
    lost = lose_wrapping_key(cloud)
    judge(cloud, unit.data())
    with cloud.store.transaction() as t:
        ((_, _, wrapped, wrapping_key),) = t.outbox_keys.all()
    assert wrapping_key != lost
    assert len(cloud.wrapping.unwrap(wrapped, wrapping_key) or b"") == KEY_BYTES


@pytest.mark.parametrize("is_lost", [False, True], ids=["there was none", "there was one"])
def test_a_key_that_another_receiver_has_made_meanwhile_is_taken(
    cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """There is one of each record: what the other one has sealed stays readable."""
    lost = None
    if is_lost:
        judge(cloud, unit.data())
        lost = lose_wrapping_key(cloud)
    data, others = unit.data(), b"k" * KEY_BYTES
    with cloud.store.transaction() as t:

        def other_receiver() -> None:
            wrapped = cloud.wrapping.wrap(others)
            t.outbox_keys.set(kit.RECORD_ID, kit.RECIPIENT, *wrapped, instead_of=lost)

        calls(monkeypatch, t.others, "wrap", other_receiver)
        assert enqueue(Enqueuer(cloud.outlet, t), t, data) == 1
        ((_, _, wrapped, wrapping_key),) = t.outbox_keys.all()
    assert cloud.wrapping.unwrap(wrapped, wrapping_key) == others


def test_without_a_key_that_opens_nothing_is_queued(cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store names a wrapping key that is nowhere: the car sends again."""
    data = unit.data()

    def group() -> None:
        with cloud.store.transaction() as t:
            nobodys = kit.RECORD_ID, kit.RECIPIENT, bytes(KEY_BYTES), b"nowhere!"
            calls(monkeypatch, t.others, "wrap", lambda: t.outbox_keys.set(*nobodys))
            enqueue(Enqueuer(cloud.outlet, t), t, data)

    with pytest.raises(UnavailableError) as refusal:
        group()
    assert refusal.value.reason == "outbox_key_gone"
    assert payloads(cloud) == []
    monkeypatch.undo()
    assert len(cloud.send(data)) == 1
    assert len(cloud.events()) == 1


# one question in a transaction


def test_a_transaction_asks_once_for_each_record(cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many envelopes come under it: its standing, its key, its columns and the vehicle's generation."""
    group = [unit.data() for _ in range(5)]
    with cloud.store.transaction() as t:
        questions = [
            calls(monkeypatch, cloud.book, "standing"),
            calls(monkeypatch, t.outbox_keys, "get"),
            calls(monkeypatch, t.consents, "generation"),
            calls(monkeypatch, gate, "may_hold"),
        ]
        enqueuer = Enqueuer(cloud.outlet, t)
        asked = []
        for data in group:
            enqueue(enqueuer, t, data)
            asked.append([len(each) for each in questions])
    # the key is read once more when it was made
    assert asked == [[1, 2, 1, 2]] * 5
