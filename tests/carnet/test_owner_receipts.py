"""``carnet owner receipts``: what proves a consent and its accounts, checked and kept for ``carnet verify``."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carnet.cli import main
from carnet.keys import SigningKey
from carnet.ledger.checkpoint import Checkpoint, verify_checkpoint
from carnet.ledger.merkle import TreeHead
from carnet.ledger.signednote import NoteKey, parse_note_key
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.ledger.accounts import day_accounts
from tests import consentkit as kit
from tests.cloud.forwardkit import Listener
from tests.cloud.kit import LOG_KEY, Cloud, Unit

Owned = Callable[..., tuple[int, str, str]]
ORIGIN = f"carnet.example/log/{kit.TENANT}"
KEY = NoteKey(ORIGIN, LOG_KEY.public)


@pytest.fixture
def story(cloud: Cloud, owned: Owned) -> str:
    """A consent that was given, used for a day, and withdrawn; the record's id."""
    record = owned("grant", kit.OFFER_ID, "--days", "9")[1].split()[0]
    cloud.clock.ms += 60_000
    unit = Unit(wall_ms=cloud.clock.ms)
    cloud.send(unit.schema(), unit.data(records=(record,)), unit.data(records=(record,)))
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = {kit.RECIPIENT: Listener()}
    sender = Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01")
    while sender.step(kit.RECIPIENT):
        pass
    keep(cloud)
    assert owned("withdraw", record)[0] == 0
    return record


def keep(cloud: Cloud) -> None:
    """A day passes, and the keeper makes the account of it."""
    cloud.clock.ms += kit.DAY_MS
    with cloud.store.transaction() as t:
        day_accounts(t, random.Random(1).randbytes, cloud.clock.ms, 100)
    cloud.sequencer.turns()


def fetch(owned: Owned, folder: Path, *words: str) -> tuple[int, str, str]:
    return owned("receipts", "--out", str(folder), *words)


def kept(tmp_path: Path) -> list[dict[str, Any]]:
    """Heads that the owner's tool remembers."""
    lines = [json.loads(line) for line in (tmp_path / "owner.kept").read_text().splitlines()]
    return [line for line in lines if "checkpoint" in line]


def rewrite(cloud: Cloud, checkpoint: str) -> None:
    """The cloud shows another newest checkpoint from now on."""
    cloud.store._connection.execute("update log set checkpoint = ?", (checkpoint,))


def signed(size: int, root: bytes, key: SigningKey = LOG_KEY) -> str:
    return Checkpoint(ORIGIN, TreeHead(size, root)).signed_by(key)


def test_they_prove_offline_that_nothing_went_after_the_end(
    story: str,
    owned: Owned,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With ``carnet verify``, the files and the log's key alone."""
    folder = tmp_path / "receipts"
    code, out, err = fetch(owned, folder)
    assert (code, f"{story}  5 receipts" in out) == (0, True), err
    files = sorted(map(str, folder.glob("rec_*.json")))
    assert len(files) == 5
    assert max(len(Path(file).read_bytes()) for file in files) < 2048
    assert main(["verify", *files, "--checkpoint-key", str(folder / "checkpoint.key")]) == 0
    told = capsys.readouterr().out
    assert "had confirmed 2 events with 8 samples" in told
    assert "got 0 events with 0 samples more; the last of them is its end" in told


def test_a_key_that_nobody_gave_is_said_and_pinned(story: str, owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    _, _, err = fetch(owned, tmp_path / "one")
    assert KEY.text() in err
    code, _, err = fetch(owned, tmp_path / "two")
    assert (code, err) == (0, "")
    assert parse_note_key((tmp_path / "two" / "checkpoint.key").read_text().strip()) == KEY


def test_another_key_than_the_given_one_is_refused(story: str, owned: Owned, tmp_path: Path) -> None:
    other = NoteKey(ORIGIN, SigningKey.from_seed(b"z" * 32).public)
    code, out, err = fetch(owned, tmp_path / "one", "--checkpoint-key", other.text())
    assert (code, out) == (1, "")
    assert "none of the known keys" in err
    assert list((tmp_path / "one").glob("rec_*")) == []
    assert fetch(owned, tmp_path / "one", "--checkpoint-key", "nonsense")[0] == 2


def test_without_a_consent_there_is_nothing_to_verify_and_nothing_is_written(owned: Owned, tmp_path: Path) -> None:
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out, err) == (0, "you have agreed to nothing yet: no receipts\n", "")
    assert not (tmp_path / "one").exists()


def test_receipts_that_still_wait_are_not_called_verified(owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    cloud.lagging = True
    owned("grant", kit.OFFER_ID, "--days", "9")
    code, out, _ = fetch(owned, tmp_path / "one")
    assert (code, "verified" in out, "ask again" in out) == (0, False, True)
    assert list((tmp_path / "one").iterdir()) == []


@pytest.mark.parametrize("place", ["owner.key", "owner.key/below", "/proc/carnet"])
def test_a_folder_that_cannot_be_made_is_the_command_lines_fault(
    story: str, owned: Owned, tmp_path: Path, place: str
) -> None:
    code, out, err = fetch(owned, tmp_path / place)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{tmp_path / place} cannot be made or written: " in err


OTHER_LOG = NoteKey("other.example/log/ten_x", LOG_KEY.public)
OTHER_KEY = NoteKey(ORIGIN, SigningKey.from_seed(b"z" * 32).public)


def test_a_key_of_another_log_is_not_followed_by_trust_on_first_use(story: str, owned: Owned, tmp_path: Path) -> None:
    """Whoever names a key means the log that it is of, and no other that the cloud may show in its place."""
    code, out, err = fetch(owned, tmp_path / "one", "--checkpoint-key", OTHER_LOG.text())
    assert (code, out) == (1, "")
    assert f"shows the log {ORIGIN}" in err and f"is of {OTHER_LOG.name}" in err
    assert not list((tmp_path / "one").glob("rec_*")) and not kept(tmp_path)
    fetch(owned, tmp_path / "one")
    assert fetch(owned, tmp_path / "two", "--checkpoint-key", OTHER_LOG.text())[0] == 1
    both = ("--checkpoint-key", OTHER_LOG.text(), "--checkpoint-key", KEY.text())
    assert fetch(owned, tmp_path / "two", *both)[0] == 0


def test_a_kept_key_that_is_not_among_the_given_ones_is_no_key(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """The first one that a cloud showed does not vouch for it beside the one that somebody brought from elsewhere."""
    fetch(owned, tmp_path / "one")
    code, out, err = fetch(owned, tmp_path / "two", "--checkpoint-key", OTHER_KEY.text())
    assert (code, out) == (1, "")
    assert KEY.text() in err and "--checkpoint-key" in err and str(tmp_path / "owner.kept") in err
    assert list((tmp_path / "two").glob("rec_*")) == []


def test_only_the_given_keys_verify_and_the_one_that_signed_is_kept(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """After a change of the log's key both are named, in whatever order."""
    both = ("--checkpoint-key", OTHER_KEY.text(), "--checkpoint-key", KEY.text())
    assert fetch(owned, tmp_path / "one", *both)[0] == 0
    assert [each["key"] for each in kept(tmp_path)] == [KEY.text()]
    assert fetch(owned, tmp_path / "two") == fetch(owned, tmp_path / "two", "--checkpoint-key", KEY.text())


def test_the_given_key_may_be_the_file_that_an_earlier_run_wrote(story: str, owned: Owned, tmp_path: Path) -> None:
    fetch(owned, tmp_path / "one")
    code, _, err = fetch(owned, tmp_path / "two", "--checkpoint-key", str(tmp_path / "one" / "checkpoint.key"))
    assert (code, err) == (0, "")


def test_the_largest_head_is_remembered_and_the_log_followed(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    fetch(owned, tmp_path / "one")
    (first,) = kept(tmp_path)
    fetch(owned, tmp_path / "one")
    assert len(kept(tmp_path)) == 1
    owned("grant", kit.OFFER_ID, "--days", "9")
    code, _, err = fetch(owned, tmp_path / "one")
    assert (code, err) == (0, "")
    _, second = kept(tmp_path)
    sizes = [verify_checkpoint(each["checkpoint"], [KEY]).head.size for each in (first, second)]
    assert sizes[0] < sizes[1]


def test_the_cloud_is_held_to_the_log_that_was_shown(story: str, owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    """Every later request names it: a store from before falls silent."""
    record = owned("grant", kit.OFFER_ID, "--days", "9")[1].split()[0]
    assert fetch(owned, tmp_path / "r")[0] == 0
    (line,) = kept(tmp_path)
    size = int(line["checkpoint"].split("\n")[1])
    cloud.store._connection.execute("update log set size = size - 1")
    assert owned("list")[0] == 0
    assert cloud.counters()["behind_log_floor"] == 1
    with cloud.store.transaction() as t:
        stored = t.consents.record(record)
        assert stored is not None
        assert t.consents.log_floor(stored.vehicle, stored.epoch) == size
    assert stored.silent


def test_a_leaf_that_waits_is_said(owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    cloud.lagging = True
    owned("grant", kit.OFFER_ID, "--days", "9")
    assert "0 receipts, more wait for their place" in fetch(owned, tmp_path / "one")[1]
    cloud.lagging = False
    cloud.sequencer.turns()
    assert "  1 receipt\n" in fetch(owned, tmp_path / "one")[1]


@pytest.mark.parametrize("way", ["forked", "shrunk", "rewritten"])
def test_a_log_that_contradicts_itself_fails_with_the_evidence(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
    way: str,
) -> None:
    """Another root at the same size; a smaller log; a larger one that does not begin with what was seen."""
    fetch(owned, tmp_path / "one")
    with cloud.store.transaction() as t:
        (log,) = t.ledger.logs()
    if way == "shrunk":
        rewrite(cloud, signed(log.size - 1, bytes(32)))
        cloud.store._connection.execute("update log set size = size - 1")
        cloud.store._connection.execute("update log_leaf set position = null where position = ?", (log.size - 1,))
    if way == "forked":
        rewrite(cloud, signed(log.size, bytes(32)))
    if way == "rewritten":
        cloud.store._connection.execute("update log_node set hash = ? where level = 0 and place = 0", (bytes(32),))
        cloud.store._connection.execute("update log_node set hash = ? where level > 1", (bytes(32),))
        owned("grant", kit.OFFER_ID, "--days", "9")
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "the evidence is in" in err
    evidence = json.loads((tmp_path / "one" / "contradiction.json").read_bytes())
    seen, told = (verify_checkpoint(evidence[name], [KEY]) for name in ("seen", "told"))
    assert seen.head == TreeHead(log.size, log.root)
    assert told.head != seen.head
    assert evidence["verdict"] == ("shrunk" if way == "shrunk" else "forked")
    assert len(kept(tmp_path)) == 1


def test_a_statement_that_says_less_than_an_account_fails(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    cloud.store._connection.execute("update tally set confirmed_events = confirmed_events - 1")
    code, _, err = fetch(owned, tmp_path / "one")
    assert (code, "the statement says less" in err) == (1, True)


def test_receipts_of_another_record_are_not_taken_for_this_one(
    story: str,
    owned: Owned,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    """A cloud that shows the owner somebody else's accounts, which add up so well."""
    other = owned("grant", kit.OFFER_ID, "--days", "9")[1].split()[0]
    cloud.store._connection.execute("delete from log_leaf where record = ?", (other,))
    cloud.store._connection.execute("update log_leaf set record = ? where record = ?", (other, story))
    code, _, err = fetch(owned, tmp_path / "one")
    # whichever of the two records is looked at first
    assert code == 1
    assert "a receipt of another record" in err or "the log lacks an entry" in err


# consents from before there was a log


@pytest.fixture
def old(owned: Owned, cloud: Cloud) -> str:
    """A record that was given to a cloud that had no log yet, as its store is after the update."""
    cloud.lagging = True
    record = owned("grant", kit.OFFER_ID, "--days", "9")[1].split()[0]
    db = cloud.store._connection
    db.execute("delete from log_leaf")
    db.execute("update record set until_ms = expires_ms, in_force = 1")
    cloud.clock.ms += 60_000
    return record


def test_what_was_given_before_there_was_a_log_is_said_to_be_so(
    old: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """It is proven by the time that the owner signed and by the first leaf; what came later has its receipts."""
    owned("grant", kit.OFFER_ID, "--days", "9")
    cloud.sequencer.turns()
    code, out, err = fetch(owned, tmp_path / "one")
    assert code == 0, err
    assert f"{old}  0 receipts, was given before there was a log" in out
    owned("withdraw", old)
    cloud.sequencer.turns()
    code, out, err = fetch(owned, tmp_path / "one")
    assert code == 0, err
    assert f"{old}  3 receipts, was given before there was a log" in out
    assert len(list((tmp_path / "one").glob(f"{old}.*"))) == 3


def test_a_cloud_without_any_log_is_not_believed(old: str, owned: Owned, tmp_path: Path) -> None:
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "shows no log at all" in err


def test_a_leaf_that_is_hidden_is_not_taken_for_one_from_before_the_log(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    """The owner signed when he gave it, and the log's first leaf says that it was there."""
    cloud.store._connection.execute("delete from log_leaf where record = ?", (story,))
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "the log lacks an entry" in err


@pytest.mark.parametrize("step", [0, 1])
def test_nor_is_the_first_of_several(story: str, owned: Owned, cloud: Cloud, tmp_path: Path, step: int) -> None:
    cloud.store._connection.execute("delete from log_leaf where record = ? and step <= ?", (story, step))
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "the log lacks an entry" in err


def test_what_came_after_the_beginning_of_the_log_needs_its_leaf_also_under_an_old_consent(
    old: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    owned("grant", kit.OFFER_ID, "--days", "9")
    cloud.sequencer.turns()
    cloud.clock.ms += 60_000
    owned("pause", old)
    cloud.store._connection.execute("delete from log_leaf where record = ?", (old,))
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "the log lacks an entry" in err


def test_a_store_that_has_forgotten_its_first_leaf_excuses_nothing(
    old: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    owned("grant", kit.OFFER_ID, "--days", "9")
    cloud.sequencer.turns()
    cloud.store._connection.execute("delete from log_leaf where record = ?", (kit.TENANT,))
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "when the log began is not shown" in err


def test_a_log_that_says_that_it_begins_later_than_now_excuses_nothing(
    old: str, owned: Owned, cloud: Cloud, tmp_path: Path
) -> None:
    owned("grant", kit.OFFER_ID, "--days", "9")
    late = cloud.clock.ms + 3_600_000
    cloud.sequencer._now_ms = lambda: late
    cloud.sequencer.turns()
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "does not show when its log began" in err


def test_a_record_that_the_statement_names_and_nothing_shows_is_missed(
    story: str, owned: Owned, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carnet.cli.cloud.Cloud.entries", lambda _: {})
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "shows no entry" in err


def test_the_first_leaf_is_believed_only_with_its_proof(story: str, owned: Owned, cloud: Cloud, tmp_path: Path) -> None:
    """A cloud that hides a leaf, and shows another beginning of its log than the one that it has signed."""
    db = cloud.store._connection
    db.execute("delete from log_leaf where record = ?", (story,))
    ((document,),) = db.execute("select document from log_leaf where record = ?", (kit.TENANT,))
    later = json.dumps({**json.loads(document), "time_ms": cloud.clock.ms}, sort_keys=True, separators=(",", ":"))
    db.execute("update log_leaf set document = ? where record = ?", (later.encode(), kit.TENANT))
    code, out, err = fetch(owned, tmp_path / "one")
    assert (code, out) == (1, "")
    assert "leads to another root" in err
