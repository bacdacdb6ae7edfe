"""The reckoning at the end of a world: every sample is accounted for, and what the owner is told adds up.

Law: what is gone is gone by the owner's will or by a crash within its bound, or it was counted by the product.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from carnet.ledger.account import Account, Count, judge_accounts, parse_account
from carnet.ledger.checkpoint import verify_checkpoint
from carnet.ledger.signednote import NoteKey
from carnet.states import ALIVE, State
from carnet_cloud.event import event_id
from carnet_cloud.store.consents import StoredRecord
from tests import consentkit as kit
from tests.carnet.ledger.rfc6962 import Tree
from tests.cloud.kit import LOG_KEY, VEHICLE
from tests.world.clockwork import law
from tests.world.cloudside import STORE
from tests.world.ledger import Sample
from tests.world.truth import Agreed

if TYPE_CHECKING:
    from tests.world.world import World

EDGE_MS = 2_000
"""So unsure is the unit of the time at most, when a consent begins."""
CLONE_BOOT = 1_000
"""Boots from this on are of a clone."""
FRAMES_MIN = 1_000
UNIT_COUNTERS = {
    "rows_evicted": "unit_evicted",
    "boxes_promoted": "unit_promoted",
    "rows_reopened": "unit_reopened",
    "boxes_destroyed": "unit_destroyed",
    "rolled_back": "unit_rolled_back",
    "samples_lost_full": "unit_full",
    "samples_outside": "unit_outside",
}
CLOUD_COUNTERS = {
    "refused_device_ended": "cloud_refused_device_ended",
    "shard_of_another": "cloud_shard_of_another",
    "quarantined_clone": "cloud_quarantined",
    "duplicates": "cloud_duplicates",
    "held_": "cloud_held",
    "deferred_schema_missing": "cloud_schema_missing",
    "blocked_time": "cloud_blocked_time",
    "blocked_expired": "cloud_blocked_expired",
    "lost_": "cloud_gap",
    "behind_floor": "cloud_behind_floor",
    "journal_applied": "cloud_journal_applied",
    "send_unsent": "cloud_send_unsent",
}


def reckon(world: World) -> None:
    agent = world.unit.agent
    law(world.clone is not None or not world.cloud.is_quarantined, "law 5: an honest unit is quarantined")
    if world.plan.is_whole:
        _check_quota(world)
    for data in world.unit.disk.images().values():
        world.ledger.hidden(data, "the unit's disk")
    world.cloud.look()
    _check_sums(world)
    _check_statement(world)
    _check_log(world)
    has_keys = agent is not None and agent._out.cloud.version == world.cloud.keys.public.version
    law(has_keys or world.cloud.is_quarantined, "the unit has other keys of the cloud")
    law(not world.unit.counted["log_shrunk"], "law 6: the unit was shown a smaller log")
    forked, lies = world.unit.counted["log_forked"], world.clockwork.happened["second_log"]
    law(not forked or lies, "law 6: the unit was shown two logs")
    # a unit that is quarantined hears nothing any more
    law(forked or not lies or world.cloud.is_quarantined, "law 6: the unit was shown two logs, and did not see it")
    _note_counters(world)


def _check_quota(world: World) -> None:
    """Every world has enough in it; one of which something was left out need not."""
    happened = world.clockwork.happened
    law(world.unit.frames >= FRAMES_MIN, f"the unit heard only {world.unit.frames} frames")
    law(happened["withdraw_returned"] or happened["sale_returned"], "no withdrawal")
    law(happened["agent_crash"], "no crash")
    law(world.unit.counted["log_followed"], "the unit followed no log")


def _note_counters(world: World) -> None:
    """What only the counters of both sides tell to have happened."""
    unit, cloud = world.unit.counted, world.cloud.counters()
    for name, kind in UNIT_COUNTERS.items():
        world.clockwork.note(kind, unit[name])
    for name, kind in CLOUD_COUNTERS.items():
        world.clockwork.note(kind, sum(count for key, count in cloud.items() if key.startswith(name)))


def _check_sums(world: World) -> None:
    """Every sample that was kept was forwarded, or it is known where it went; of a clone's, nothing is known."""
    if world.cloud.is_quarantined:
        return
    counters = world.cloud.counters()
    lost = sum(count for name, count in counters.items() if name.startswith("lost_")) + world.cloud.losses_forgotten
    full = world.unit.counted["samples_lost_full"] + world.unit.counted["samples_lost_disk"]
    outside = world.unit.counted["samples_outside"]
    with world.cloud.store.transaction() as t:
        blocks = t.blocks.of(VEHICLE)
    waiting, unreadable = world.cloud.held(), _unreadable(world)
    for agreed in world.agreed.values():
        missing = [
            (path, sample)
            for (record, path, _), column in world.ledger.kept.items()
            if record == agreed.record
            for sample in column.values()
            if not sample.event and sample.sealed not in waiting and not _excused(world, agreed, sample)
            if not _is_of(sample, agreed, unreadable, world.unit.identity.device)
        ]
        if not missing:
            continue
        blocked = sum(block.samples for block in blocks if block.record in {agreed.record, ""})
        law(
            len(missing) <= lost + full + blocked + outside,
            f"law 5: {len(missing)} samples of {agreed.record} are gone, only {lost} named in gaps, {full} lost to"
            " a full"
            f" disk, {outside} outside of the grant and {blocked} blocked; the first is {missing[0]}",
        )


def _check_statement(world: World) -> None:
    """Law 6: what the owner is told adds up to what recipients heard. A backup has forgotten a part of it."""
    if world.ledger.fallen_back:
        return
    with world.cloud.store.transaction() as t:
        told = {each.event_id.hex(): each for record in world.agreed for each in t.outbox.deliveries(record)}
    for name, heard in world.ledger.received.items():
        law(name in told, "law 6: a recipient heard an event that no statement names")
        each = told[name]
        law(each.record == heard.record and each.samples == len(heard.samples), "law 6: the statement miscounts")
        law(each.outcome in {"confirmed", "refused", "unknown"}, f"law 6: heard, but told as {each.outcome}")
    for name, each in told.items():
        law(each.outcome != "queued", "law 5: an event still waits, long after everything healed")
        law(each.outcome != "confirmed" or name in world.ledger.received, "law 6: confirmed by nobody")


def _check_log(world: World) -> None:
    """Law 6: every entry has its leaf and its place, every event names the place of what its owner gave, and what is
    signed is the tree over all leaves, built anew by the RFC's recursion.
    """
    with world.cloud.store.transaction() as t:
        (log,) = t.ledger.logs()
        every = [each for of in [kit.TENANT, *world.agreed] for each in t.ledger.leaves(of)]
        records = [each for each in map(t.consents.record, world.agreed) if each is not None]
        entries = {each.id: 1 + len(t.consents.events(each.id)) for each in records}
    law(all(each.position is not None for each in every), "law 6: a leaf has no place, long after everything healed")
    stored = {each.position or 0: each for each in every}
    checkpoint = verify_checkpoint(log.checkpoint, [NoteKey(log.origin, LOG_KEY.public)])
    if not world.ledger.fallen_back:
        law(stored.keys() == set(range(log.size)), "law 6: a place has no leaf")
        tree = Tree(tuple(stored[place].salt + stored[place].document for place in range(log.size)))
        law(checkpoint.head.root == tree.mth(0, log.size), "law 6: another tree is signed than the one over the leaves")
    leaves = {place: json.loads(each.document) for place, each in stored.items()}
    for record in records:
        mine = [leaf for _, leaf in sorted(leaves.items()) if leaf.get("record") == record.id]
        seqs = [leaf["seq"] for leaf in mine if leaf["kind"] == "consent"]
        law(seqs == list(range(entries[record.id])), "law 6: the log has not every entry of a record once")
        law(record.in_force == entries[record.id], "law 3: an entry is in the log and not in force")
        accounts = [
            (place, parse_account(leaf, leaf["kind"]))
            for place, leaf in sorted(leaves.items())
            if leaf.get("record") == record.id and leaf["kind"] != "consent"
        ]
        _check_accounts(world, record, accounts)
    for heard in [] if world.ledger.fallen_back else world.ledger.received.values():
        leaf = leaves[heard.log_position]
        law(leaf["record"] == heard.record and leaf["state"] == "given", "law 6: an event names another place")


def _check_accounts(world: World, record: StoredRecord, placed: list[tuple[int, Account]]) -> None:
    """Law 6: one end has one account, accounts are one story, and what they count is what the recipient confirmed."""
    if world.ledger.fallen_back:
        # a backup has forgotten a part of the story
        return
    judge_accounts(placed)
    ends = [account for _, account in placed if account.ended]
    is_over = State(record.state) not in ALIVE or any(account.ended is State.EXPIRED for account in ends)
    law(len(ends) == is_over, "law 6: an end has not one account")
    with world.cloud.store.transaction() as t:
        tally, deliveries = t.tallies.get(record.id, record.recipient), t.outbox.deliveries(record.id)
    confirmed = [each for each in deliveries if each.outcome == "confirmed"]
    doubtful = [each for each in deliveries if each.outcome in {"refused", "unknown"}]
    law(tally.confirmed == Count(len(confirmed), sum(d.samples for d in confirmed)), "law 6: another sum is confirmed")
    least = Count(len(doubtful), sum(each.samples for each in doubtful))
    law(tally.unknown.covers(least), "law 6: a recipient may have more than its account says")
    for account in ends:
        law(account.total == tally.confirmed + tally.unknown, "law 6: the sum went on after the end")


def _unreadable(world: World) -> set[bytes]:
    """Events that a backup of before the night has brought back, without the key that the night has destroyed."""
    is_back = world.ledger.fallen_back and world.clockwork.happened["night"]
    if not (is_back and world.cloud.counters().get("outbox_key_gone")):
        return set()
    query = "select event_id from outbox where state in ('unknown', 'destroyed') and payload is null"
    return {bytes(row[0]) for row in world.cloud.disk.connection(STORE).execute(query)}


def _is_of(sample: Sample, agreed: Agreed, events: set[bytes], device: bytes) -> bool:
    return sample.sealed is not None and event_id(device, *sample.sealed, agreed.record, agreed.recipient) in events


def _excused(world: World, agreed: Agreed, sample: Sample) -> bool:
    """Whether it may be gone without a count: it ended or was paused, or a crash took the open window."""
    is_over = agreed.ended or agreed.silent or agreed.expires_ms <= world.clockwork.now_ms
    if sample.boot >= CLONE_BOOT:
        return True
    # a restored cloud that does not know a record has ended it on the car
    if sample.sealed in world.ledger.lost_by_backup:
        return True
    # what a checkpoint leaves out because it is not surely inside, a crash takes along uncounted
    is_early = 0 <= sample.true_ms - agreed.covers_from_ms <= EDGE_MS
    if agreed.is_sealed and is_early and world.clockwork.happened["agent_crash"]:
        return True
    forgotten = world.ledger.fallen_back and agreed.record in world.unit.ended
    if is_over or forgotten or sample.true_ms < agreed.covers_from_ms:
        return True
    return any(one.boot == sample.boot and one.from_ms <= sample.boot_ms <= one.to_ms for one in world.unit.outages)
