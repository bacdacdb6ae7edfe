"""What the owner allowed survives starts and crashes, only rises, and is never taken from a stored conclusion."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace

import pytest

from carnet.consent import OwnerKeys, encode_grant_set, sign_addition, sign_removal
from carnet.errors import ConsentError
from carnet.ids import parse_id
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet.narrowing import Mode
from carnet_agent.buffer.sealed import Sealed
from carnet_agent.consent.store import GrantStore, check, configure
from carnet_agent.floor import Floor
from tests import consentkit as kit
from tests.agent.agentkit import grants

RECORD = parse_id(kit.RECORD_ID, "rec_")
OTHER = parse_id(kit.OTHER_RECORD_ID, "rec_")


@pytest.fixture
def db() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    configure(connection)
    return connection


def store(db: sqlite3.Connection, owner: OwnerKeys = kit.OWNER) -> GrantStore:
    return GrantStore(db, owner, random.Random(3).randbytes)


def test_a_set_is_in_force_again_after_a_start(db: sqlite3.Connection) -> None:
    store(db).apply(encode_grant_set(grants(4)))
    again = store(db)
    assert again.generation == 4
    assert [grant.record_id for grant in again.grants] == [kit.RECORD_ID]
    assert again.living(0) == {RECORD}


def test_an_older_set_is_refused_even_after_a_start(db: sqlite3.Connection) -> None:
    """A withdrawal cannot be taken back by sending again what was true before it."""
    store(db).apply(encode_grant_set(grants(4)))
    store(db).apply(encode_grant_set(grants(5, "withdraw")))
    again = store(db)
    with pytest.raises(ConsentError) as caught:
        again.apply(encode_grant_set(grants(4)))
    assert caught.value.reason == "generation_rolled_back"
    refused = again.apply(encode_grant_set(grants(6)))
    assert [one.reason for one in refused.refused] == ["record_ended"]
    assert again.grants == ()


def test_a_refused_set_changes_nothing(db: sqlite3.Connection) -> None:
    one = store(db)
    one.apply(encode_grant_set(grants(4)))
    before = b"".join(line.encode() for line in db.iterdump())
    with pytest.raises(ConsentError):
        one.apply(encode_grant_set(grants(3)))
    assert b"".join(line.encode() for line in db.iterdump()) == before


def test_the_same_set_again_costs_no_write(db: sqlite3.Connection) -> None:
    """The cloud repeats a set until a check-in has named it."""
    one = store(db)
    one.apply(encode_grant_set(grants(4)))
    changes = db.total_changes
    one.apply(encode_grant_set(grants(4)))
    assert db.total_changes == changes


def test_a_record_signed_by_nobody_pinned_grants_nothing(db: sqlite3.Connection) -> None:
    """Law 2: whatever the cloud sends."""
    stranger = replace(kit.OWNER, pinned=(kit.OTHER_KEY.public,))
    one = store(db, stranger)
    compiled = one.apply(encode_grant_set(grants(1)))
    assert one.grants == ()
    assert [each.kind for each in compiled.refused] == ["record"]


def test_a_key_that_a_pinned_one_added_counts_after_a_start_too(db: sqlite3.Connection) -> None:
    token = sign_addition(kit.OWNER, kit.SECOND_KEY.public, kit.GIVEN_MS, kit.OWNER_KEY.secret)
    one = store(db)
    one.apply(encode_grant_set(kit.grant_set(1, keys=(token,))))
    again = store(db)
    documents = kit.documents(key=kit.SECOND_KEY)
    again.apply(encode_grant_set(kit.grant_set(2, documents)))
    assert [grant.record_id for grant in again.grants] == [kit.RECORD_ID]


def test_a_key_that_was_removed_counts_never_again_whatever_the_cloud_sends(db: sqlite3.Connection) -> None:
    """Nor after a start: what it gave ends with it, and comes back with no set that leaves the removal out."""
    added = sign_addition(kit.OWNER, kit.SECOND_KEY.public, kit.GIVEN_MS, kit.OWNER_KEY.secret)
    removed = sign_removal(kit.OWNER, kit.SECOND_KEY.public, kit.GIVEN_MS, kit.OWNER_KEY.secret)
    hers, other = kit.documents(key=kit.SECOND_KEY), kit.documents(key=kit.SECOND_KEY, id=kit.OTHER_RECORD_ID)
    one = store(db)
    one.apply(encode_grant_set(kit.grant_set(1, hers, keys=(added,))))
    assert one.living(kit.GIVEN_MS) == {RECORD}
    one.apply(encode_grant_set(kit.grant_set(2, hers, keys=(added, removed))))
    assert one.living(kit.GIVEN_MS) == frozenset()
    again = store(db)
    compiled = again.apply(encode_grant_set(kit.grant_set(3, hers, other, keys=(added,))))
    assert [each.reason for each in compiled.refused] == ["record_ended"]
    assert [grant.state.value for grant in again.grants] == ["withdrawn"]
    assert again.living(kit.GIVEN_MS) == frozenset()


def test_a_handle_is_random_and_stands_for_one_set_of_records(db: sqlite3.Connection) -> None:
    one = store(db)
    handle = one.handle_of((RECORD, OTHER))
    assert one.handle_of((RECORD,)) != handle
    again = GrantStore(db, kit.OWNER, random.Random(4).randbytes)
    assert again.handle_of((RECORD, OTHER)) == handle
    assert again.records_of(handle) == (RECORD, OTHER)
    assert again.records_of(b"x" * 8) == ()


def test_a_handle_is_dead_when_all_its_records_have_ended_and_stays_until_forgotten(db: sqlite3.Connection) -> None:
    one = store(db)
    first, second = one.handle_of((RECORD,)), one.handle_of((OTHER,))
    assert one.dead_handles(frozenset({OTHER})) == {first}
    assert one.dead_handles(frozenset()) == {first, second}
    one.forget_handles({first})
    assert (one.records_of(first), one.records_of(second)) == ((), (OTHER,))


def test_an_expired_record_lives_no_more(db: sqlite3.Connection) -> None:
    one = store(db)
    one.apply(encode_grant_set(grants(1)))
    expires_ms = one.grants[0].expires_ms
    assert one.living(expires_ms - 1) == {RECORD}
    assert one.living(expires_ms) == frozenset()


def test_another_tenure_is_forgotten_whole(db: sqlite3.Connection) -> None:
    """Grants, floors, handles and the mode of the owner before; only when the caller has wiped the buffer."""
    one = store(db)
    one.apply(encode_grant_set(grants(7)))
    one.set_mode(Mode.GUEST)
    one.handle_of((RECORD,))
    sold = store(db, replace(kit.OWNER, epoch=2))
    assert sold.tenure_ended
    assert sold.grants == ()
    again = store(db, replace(kit.OWNER, epoch=2))
    assert again.tenure_ended
    again.begin_tenure()
    assert (again.generation, again.grants, again.mode, again.living(0)) == (0, (), Mode.NORMAL, frozenset())
    assert not store(db, replace(kit.OWNER, epoch=2)).tenure_ended


def test_the_time_floor_only_rises_and_ends_the_count_of_untimed_days(db: sqlite3.Connection) -> None:
    one = store(db)
    one.set_untimed(5)
    one.set_floor(Floor(100, 200, b"bootboot", 7, 3))
    one.set_floor(Floor(50, 150, b"bootboot", 9, 2))
    again = store(db)
    assert (again.floor, again.untimed_ms) == (Floor(100, 150, b"bootboot", 9, 2), 0)


def test_a_floor_of_an_earlier_version_is_kept(db: sqlite3.Connection) -> None:
    store(db)
    db.execute("insert into meta values ('time_floor_ms', ?)", ((100).to_bytes(8, "big"),))
    assert store(db).floor == Floor(100, 100)


def test_the_newer_of_two_key_sets_counts(db: sqlite3.Connection) -> None:
    """The one of the pairing may be newer than the one that came over the network, after a repair."""
    seal, sign = BoxKey.from_seed(b"1" * 32), SigningKey.from_seed(b"2" * 32)
    sets = [KeySet(n, (PublicKey.of(seal.public),), (PublicKey.of(sign.public),)) for n in (1, 2, 3)]
    one = store(db)
    assert one.key_set(sets[0]) == sets[0]
    one.set_key_set(sets[1])
    assert store(db).key_set(sets[0]) == sets[1]
    assert store(db).key_set(sets[2]) == sets[2]


def test_a_database_of_another_program_is_not_touched() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("pragma application_id=7")
    assert not check(connection)


@pytest.mark.parametrize("damage", ["name = 'sealed x'", "value = 7", "value = null"])
def test_a_damaged_count_of_what_was_sealed_holds_nothing_up(db: sqlite3.Connection, damage: str) -> None:
    one = store(db)
    kept = [(Sealed(day, b"h" * 8, 2, 3), (RECORD,)) for day in ("2026-03-01", "2026-03-02")]
    one.forget_handles({b"h" * 8}, kept)
    assert one.kept_sealed() == kept
    db.execute(f"update meta set {damage} where name glob 'sealed 2026-03-01 *'")
    assert one.kept_sealed() == kept[1:]
    one.forget_handles(set(), before_day="2026-03-03")
    assert one.kept_sealed() == []
