"""A cloud that lies in its transparency log: it has the log's key, and whoever saw another log or account convicts it.

Law 6: what the cloud once said that a recipient got, it can never say less of.
"""

# ruff: noqa: F811 - fixtures of another file

from __future__ import annotations

import fcntl
import random
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest

from carnet import canonical
from carnet.cli import main
from carnet.errors import UnavailableError
from carnet.ledger.account import Account, Count
from carnet.ledger.checkpoint import Checkpoint, verify_checkpoint
from carnet.ledger.follow import Verdict, judge
from carnet.ledger.leaf import Leaf, parse_leaf
from carnet.ledger.merkle import Frontier, leaf_hash
from carnet.states import State
from carnet_cloud.ledger.leaves import queue_leaf
from carnet_cloud.ledger.receipts import growth_of
from carnet_cloud.ledger.sequencer import LEASE_MS
from tests import consentkit as kit
from tests.carnet.ownertool import cloud, owned  # noqa: F401 - fixtures
from tests.carnet.test_owner_receipts import KEY, ORIGIN, Owned, fetch, story  # noqa: F401 - a fixture, too
from tests.cloud.kit import LOG_KEY, Cloud

Leaves = list[tuple[str, int, bytes, bytes]]
"""(record, step, salt, document) in the order of the log."""


def rebuild(cloud: Cloud, change: Callable[[Leaves], Leaves]) -> None:
    """The operator writes the log anew, and signs it."""
    db = cloud.store._connection
    rows = db.execute("select record, step, salt, document from log_leaf where position is not null order by position")
    leaves, frontier = change([(r, s, bytes(salt), bytes(d)) for r, s, salt, d in rows]), Frontier()
    db.execute("delete from log_leaf")
    db.execute("delete from log_node")
    with cloud.store.transaction() as t:
        for place, (record, step, salt, document) in enumerate(leaves):
            values = kit.TENANT, record, step, 0, salt, document, place
            db.execute("insert into log_leaf values (?, ?, ?, ?, ?, ?, ?)", values)
            frontier, made = frontier.append(leaf_hash(salt + document))
            t.ledger.add_nodes(kit.TENANT, made)
        log = t.ledger.log(kit.TENANT)
        assert log is not None
        head = frontier.head()
        note = Checkpoint(ORIGIN, head).signed_by(LOG_KEY)
        t.ledger.set_log(replace(log, size=head.size, root=head.root, checkpoint=note))


def add_account(cloud: Cloud, record: str, **changes: object) -> None:
    """The operator logs one more account, made of the last one."""
    with cloud.store.transaction() as t:
        leaves = [parse_leaf(canonical.parse(each.document, 9999)) for each in t.ledger.leaves(record)]
        last = [leaf for leaf in leaves if isinstance(leaf, Account)][-1]
        time_ms = last.time_ms + 2 * kit.DAY_MS
        later: Leaf = replace(last, number=last.number + 1, time_ms=time_ms, day="2025-10-12", ended=None)
        queue_leaf(t, kit.TENANT, record, replace(later, **changes), b"salt" * 4, cloud.clock.ms)  # type: ignore[arg-type]
    cloud.sequencer.turns()


def without(number: int) -> Callable[[Leaves], Leaves]:
    return lambda leaves: leaves[:number] + leaves[number + 1 :]


def dated_anew(leaves: Leaves) -> Leaves:
    """Another time in the withdrawal."""
    record, step, salt, document = leaves[3]
    at = document.index(b'"time_ms":') + len(b'"time_ms":1')
    return [*leaves[:3], (record, step, salt, document[:at] + b"0" + document[at + 1 :]), *leaves[4:]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without(3), "the log is smaller"),
        (lambda leaves: leaves[:-2], "the log is smaller"),
        (lambda leaves: [*leaves[:3], leaves[4], leaves[3], *leaves[5:]], "the log has another history"),
        (dated_anew, "the log has another history"),
    ],
    ids=["dropped", "truncated", "reordered", "rewritten"],
)
def test_w24_a_log_that_is_written_anew_is_found_out_by_the_owner_who_saw_it(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
    change: Callable[[Leaves], Leaves],
    reason: str,
) -> None:
    """Dropping a leaf, cutting the end, turning two around, changing one: the signature is right each time."""
    assert fetch(owned, tmp_path / "one")[0] == 0
    rebuild(cloud, change)
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert reason in err
    assert (tmp_path / "one" / "contradiction.json").exists()


def test_w24_two_who_are_shown_different_logs_need_only_compare(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one is new and follows a log of the same size, in which the withdrawal has another time."""
    assert fetch(owned, tmp_path / "one")[0] == 0
    rebuild(cloud, dated_anew)
    (tmp_path / "owner.kept").unlink()
    assert fetch(owned, tmp_path / "other")[0] == 0
    files = [*(tmp_path / "one").glob("rec_*.0000.json"), *(tmp_path / "other").glob("rec_*.0000.json")]
    assert main(["verify", *map(str, files), "--checkpoint-key", KEY.text()]) == 1
    assert "different people different logs" in capsys.readouterr().err


def test_w24_an_ending_that_is_never_logged_is_missed(story: str, owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    """The owner's tool asks for a receipt of every entry, and for the account of the end."""
    rebuild(cloud, without(4))
    code, _, err = fetch(owned, tmp_path / "one")
    assert (code, "the account of an end" in err) == (1, True)
    rebuild(cloud, without(4))
    assert fetch(owned, tmp_path / "one")[0] == 1


def test_w24_an_entry_of_the_clouds_own_making_is_not_the_owners(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """The leaf of a consent bears the hash of what the owner signed."""

    def change(leaves: Leaves) -> Leaves:
        record, step, salt, document = leaves[1]
        at = document.index(b'"entry":"') + 9
        return [leaves[0], (record, step, salt, document[:at] + b"0" * 64 + document[at + 64 :]), *leaves[2:]]

    rebuild(cloud, change)
    code, _, err = fetch(owned, tmp_path / "one")
    assert (code, "another entry" in err) == (1, True)


def test_w24_a_node_of_the_tree_is_no_leaf_of_the_log(story: str, owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    """A leaf of two hashes, whose proof would be one shorter, is hashed under another first byte."""
    fetch(owned, tmp_path / "one")
    with cloud.store.transaction() as t:
        pair = t.ledger.node(kit.TENANT, 0, 0) + t.ledger.node(kit.TENANT, 0, 1)
        assert leaf_hash(pair) != t.ledger.node(kit.TENANT, 1, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"confirmed": Count(1, 4)}, "says less than the one before it"),
        ({"confirmed": Count(3, 12)}, "after the end of its consent has another total"),
        ({"ended": State.WITHDRAWING, "day": ""}, "after the end of its consent has another total"),
        ({"number": 2}, "missing between two others, or is there twice"),
        ({"number": 4}, "missing between two others, or is there twice"),
    ],
    ids=["smaller", "one event more", "a second end", "a second chain", "one kept back"],
)
def test_w24_an_account_that_does_not_follow_the_others_convicts_the_cloud(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    sentence: str,
) -> None:
    """In the log that only grew, with good proofs: the owner's tool says so, and whoever has the receipts can."""
    assert fetch(owned, tmp_path / "one")[0] == 0
    add_account(cloud, story, **changes)
    code, _, err = fetch(owned, tmp_path / "one")
    assert code == 1
    assert sentence in err


def test_f27_a_restored_store_goes_on_with_the_log_that_was_signed(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """What it forgot stays in the tree as hashes; whoever followed the log is shown that it has grown."""
    backup = cloud.store._connection.serialize()
    owned("grant", kit.OFFER_ID, "--days", "9")
    with cloud.store.transaction() as t:
        before = t.ledger.log(kit.TENANT)
    cloud.store._connection.deserialize(backup)
    assert cloud.make_sequencer(b"restored", random.Random(2)).start() == 1
    assert cloud.counters()["log_leaves_forgotten"] == 1
    cloud.clock.ms += LEASE_MS
    owned("grant", kit.OFFER_ID, "--days", "9")
    with cloud.store.transaction() as t:
        after = t.ledger.log(kit.TENANT)
        assert before is not None
        assert after is not None
        path = growth_of(t, after, before.size, after.size)
    seen, told = (verify_checkpoint(each.checkpoint, [KEY]).head for each in (before, after))
    assert judge(seen, told, path).verdict is Verdict.GROWN
    assert fetch(owned, tmp_path / "one")[0] == 0


def test_f27_a_backup_from_before_the_log_goes_on_with_it_too(cloud: Cloud) -> None:
    """Its first leaf is signed already: it begins no second time."""
    backup = cloud.store._connection.serialize()
    cloud.give()
    cloud.store._connection.deserialize(backup)
    cloud.make_sequencer(b"restored", random.Random(2)).start()
    cloud.clock.ms += LEASE_MS
    cloud.give()
    with cloud.store.transaction() as t:
        log = t.ledger.log(kit.TENANT)
        (given,) = t.ledger.leaves(kit.RECORD_ID)
    assert log is not None
    assert (log.size, given.position) == (3, 2)


def test_f27_what_is_too_much_for_a_turn_is_taken_back_in_several(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the hashes that were signed is lost meanwhile."""
    backup, entries = cloud.store._connection.serialize(), [cloud.give()]
    for kind in ("pause", "resume", "pause"):
        cloud.clock.ms += 1000
        entries.append(kit.event(kind, entries, cloud.clock.ms))
        cloud.consents.event(entries[-1], kit.RECORD_ID)
    signed = cloud.log_hashes.read(kit.TENANT, 0, 99)
    with cloud.store.transaction() as t:
        before = t.ledger.log(kit.TENANT)
    monkeypatch.setattr("carnet_cloud.ledger.sequencer.FORGOTTEN_AT_ONCE", 2)
    cloud.store._connection.deserialize(backup)
    assert cloud.make_sequencer(b"restored", random.Random(2)).start() == len(signed) == 5
    with cloud.store.transaction() as t:
        after = t.ledger.log(kit.TENANT)
    assert before is not None
    assert after is not None
    assert (after.size, after.root) == (before.size, before.root)
    assert cloud.log_hashes.read(kit.TENANT, 0, 99) == signed


def test_who_stood_still_while_another_signed_cuts_nothing_off(cloud: Cloud) -> None:
    """Its transaction is over when it wakes up (PostgreSQL ends it after ten seconds), and it is about to write."""
    cloud.give()
    signed = cloud.log_hashes.read(kit.TENANT, 0, 9)
    for first in (0, 1, 3):
        with pytest.raises(UnavailableError, match="another signed"):
            cloud.log_hashes.append(kit.TENANT, first, [bytes(32)])
    assert cloud.log_hashes.read(kit.TENANT, 0, 9) == signed
    cloud.log_hashes.append(kit.TENANT, 2, [bytes(32)])
    assert cloud.log_hashes.read(kit.TENANT, 0, 9) == [*signed, bytes(32)]


def test_who_comes_right_behind_another_cuts_nothing_off_either(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.give()
    signed, flock = cloud.log_hashes.read(kit.TENANT, 0, 9), fcntl.flock

    def after_another(file: FileIO, how: int) -> None:
        with (cloud.log_hashes._folder / f"log-{kit.TENANT}").open("ab") as other:
            other.write(bytes(32))
        flock(file, how)

    monkeypatch.setattr("carnet_cloud.ledger.loghashes.fcntl.flock", after_another)
    with pytest.raises(UnavailableError, match="another signed"):
        cloud.log_hashes.append(kit.TENANT, len(signed), [b"x" * 32])
    assert cloud.log_hashes.read(kit.TENANT, 0, 9) == [*signed, bytes(32)]


def test_who_stands_still_in_the_middle_of_writing_is_not_waited_for(cloud: Cloud) -> None:
    """Its turn is over, and it may stand so for hours; the next turn tries again."""
    cloud.give()
    signed = cloud.log_hashes.read(kit.TENANT, 0, 9)
    with (cloud.log_hashes._folder / f"log-{kit.TENANT}").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="cannot be written"):
            cloud.log_hashes.append(kit.TENANT, len(signed), [bytes(32)])
    cloud.log_hashes.append(kit.TENANT, len(signed), [bytes(32)])
    assert cloud.log_hashes.read(kit.TENANT, 0, 9) == [*signed, bytes(32)]


def test_a_copy_of_the_hashes_that_lies_beside_them_is_no_log(cloud: Cloud) -> None:
    cloud.give()
    file = cloud.log_hashes._folder / f"log-{kit.TENANT}"
    file.with_name(file.name + ".copy").write_bytes(file.read_bytes())
    cloud.sequencer.start()
    with cloud.store.transaction() as t:
        assert [log.tenant for log in t.ledger.logs()] == [kit.TENANT]


def test_a_crash_between_hashes_and_store_gives_every_leaf_the_place_it_had(cloud: Cloud) -> None:
    """The hashes are on disk, the transaction is not: the leaf waits still, and its place waits for it."""
    cloud.give()
    image = cloud.store._connection.serialize()
    cloud.consents.event(kit.event("pause", [kit.token()], cloud.clock.ms), kit.RECORD_ID)
    with cloud.store.transaction() as t:
        before = t.ledger.log(kit.TENANT)
        (_, pause) = t.ledger.leaves(kit.RECORD_ID)
    cloud.store._connection.deserialize(image)
    with cloud.store.transaction() as t:
        t.ledger.queue(kit.TENANT, kit.OTHER_RECORD_ID, b"o" * 16, pause.document, 0)
        t.ledger.queue(kit.TENANT, pause.record, pause.salt, pause.document, pause.queued_ms)
    cloud.sequencer.turns()
    with cloud.store.transaction() as t:
        after = t.ledger.log(kit.TENANT)
        assert [leaf.position for leaf in t.ledger.leaves(kit.RECORD_ID)] == [1, 2]
        assert [leaf.position for leaf in t.ledger.leaves(kit.OTHER_RECORD_ID)] == [3]
    assert before is not None
    assert after is not None
    assert (before.size, after.size) == (3, 4)


def test_a_store_whose_log_differs_from_what_was_signed_signs_nothing(cloud: Cloud) -> None:
    """It was exchanged for another one, say: what is in force goes on, and nothing comes to it."""
    cloud.give()
    cloud.store._connection.execute("update log_node set hash = ? where level = 0", (bytes(32),))
    with pytest.raises(Exception, match="another history"):
        cloud.consents.event(kit.event("pause", [kit.token()], cloud.clock.ms), kit.RECORD_ID)
    with cloud.store.transaction() as t:
        stored, log = t.consents.record(kit.RECORD_ID), t.ledger.log(kit.TENANT)
    assert stored is not None
    assert log is not None
    assert (stored.state, log.size) == ("suspended", 2)


def test_hashes_that_are_lost_are_made_again_from_the_store(cloud: Cloud) -> None:
    cloud.give()
    (cloud.log_hashes._folder / f"log-{kit.TENANT}").unlink()
    cloud.consents.event(kit.event("pause", [kit.token()], cloud.clock.ms), kit.RECORD_ID)
    with cloud.store.transaction() as t:
        nodes = [t.ledger.node(kit.TENANT, 0, index) for index in range(3)]
    assert cloud.log_hashes.read(kit.TENANT, 0, 9) == nodes
