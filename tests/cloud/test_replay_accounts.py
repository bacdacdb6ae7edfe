"""What was sent once more is no second disclosure: what the statement and the accounts of the log say of it."""

# ruff: noqa: F811 - a fixture of another file

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

from carnet.canonical import parse
from carnet.ledger.account import Account, judge_accounts
from carnet.ledger.leaf import parse_leaf
from carnet_cloud.lease import Lease
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.store.outbox import Delivery
from tests import consentkit as kit
from tests.cloud.forwardkit import OTHER
from tests.cloud.kit import VEHICLE
from tests.cloud.replaykit import Shop, opened, shop  # noqa: F401 - a fixture, too
from tests.cloud.test_keeper import turn


def test_an_event_that_was_replayed_is_no_second_disclosure(shop: Shop) -> None:
    """The statement's outcomes and the answer to why stay as they were; what came once more is counted apart."""
    shop.send(4)
    before, why_before, told_before = shop.statement(), explained(shop), told(shop)
    for _ in range(2):
        shop.cloud.clock.ms += 1000
        shop.ask()
        shop.forward()
    after = shop.statement()
    samples = before["outcomes"]["confirmed"]["samples"]
    assert before.pop("replayed") == {"events": 0, "samples": 0}
    assert after.pop("replayed") == {"events": 8, "samples": 2 * samples}
    assert after == before
    assert explained(shop) == why_before
    assert told(shop) == told_before


def told(shop: Shop) -> list[Delivery]:
    """What is written of every event, but how often it went out again."""
    with shop.cloud.store.transaction() as t:
        return [dataclasses.replace(each, replayed=0) for each in t.outbox.deliveries(kit.RECORD_ID)]


def explained(shop: Shop) -> list[Any]:
    with shop.cloud.store.transaction() as t:
        return shop.cloud.explain(t, VEHICLE, kit.SPEED, shop.cloud.clock.ms)


def test_what_nobody_knew_becomes_a_disclosure_when_the_replay_is_confirmed(shop: Shop) -> None:
    """The first yes is the disclosure, whichever time it came; it is counted once and not as a replay."""
    shop.send(1)
    given_up(shop)
    assert shop.statement()["outcomes"]["unknown"]["events"] == 1
    shop.ask()
    shop.forward()
    assert {word: each["events"] for word, each in shop.statement()["outcomes"].items()} == {"confirmed": 2}
    assert shop.statement()["replayed"]["events"] == 1


def told_by_account(shop: Shop) -> tuple[int, int]:
    """Events that the next account would call confirmed, and unknown."""
    account = shop.statement()["account"]
    return account["confirmed"]["events"], account["unknown"]["events"]


def given_up(shop: Shop) -> None:
    """One event is sent, nobody answers, and its time is over."""
    shop.listener.outcome = Outcome.RETRY
    shop.send(1)
    with shop.cloud.store.transaction() as t:
        (late,) = t.outbox.due(kit.RECIPIENT, b"sender01", 2**52, 1)
        t.outbox.lease([late.event_id], b"sender01", shop.cloud.clock.ms + 400)
        t.outbox.give_up([late.event_id], b"sender01", shop.cloud.clock.ms)
    shop.listener.outcome = Outcome.CONFIRMED


def accounts(shop: Shop) -> list[Account]:
    shop.cloud.sequencer.turns()
    with shop.cloud.store.transaction() as t:
        leaves = [
            (each.position or 0, parse_leaf(parse(each.document, 9999))) for each in t.ledger.leaves(kit.RECORD_ID)
        ]
    found = [(place, leaf) for place, leaf in leaves if isinstance(leaf, Account)]
    judge_accounts(found)
    return [account for _, account in found]


def test_a_replay_after_the_account_of_a_day_makes_another_only_of_what_it_cleared_up(tmp_path: Path) -> None:
    """What was confirmed is in no account a second time; what was unknown moves, and the sum stays."""
    shop = opened(tmp_path, kit.offer_bytes(replay_ms=7 * kit.DAY_MS))
    shop.send(2)
    shop.cloud.clock.ms += kit.DAY_MS
    turn(shop.cloud)
    shop.ask()
    shop.forward()
    assert shop.report().sent == 2
    shop.cloud.clock.ms += kit.DAY_MS
    turn(shop.cloud)
    assert [(each.confirmed.events, each.unknown.events) for each in accounts(shop)] == [(2, 0)]
    given_up(shop)
    shop.cloud.clock.ms += kit.DAY_MS
    turn(shop.cloud)
    shop.ask()
    shop.forward()
    shop.cloud.clock.ms += kit.DAY_MS
    turn(shop.cloud)
    assert [(each.confirmed.events, each.unknown.events) for each in accounts(shop)] == [(2, 0), (2, 1), (3, 0)]
    assert shop.statement()["replayed"]["events"] == 4


def test_a_key_that_is_gone_takes_back_no_disclosure(shop: Shop) -> None:
    """The replay is destroyed; that the recipient has its events stays told, and counted once."""
    shop.send(2)
    given_up(shop)
    assert shop.ask().waiting == 3
    with shop.cloud.store.transaction() as t:
        t.outbox_keys._db.execute("delete from outbox_key")
    shop.forward()
    assert (shop.report().destroyed, told_by_account(shop)) == (3, (2, 1))
    assert {word: each["events"] for word, each in shop.statement()["outcomes"].items()} == {
        "confirmed": 2,
        "unknown": 1,
    }


def test_what_it_refused_at_first_is_counted_once_whatever_it_asks(shop: Shop) -> None:
    shop.send(1)
    shop.listener.outcome = Outcome.REFUSED
    shop.send(1)
    for _ in range(2):
        shop.ask()
        shop.forward()
        assert shop.report().refused
    assert told_by_account(shop) == (1, 1)


def test_a_withdrawal_in_the_middle_of_a_replay_is_in_no_account_a_second_time(shop: Shop) -> None:
    """Neither as unknown when it comes, nor as confirmed when the recipient answers after it."""
    shop.send(2)
    given_up(shop)
    shop.ask()

    def withdraw(event: Event, lease: Lease, now_s: int) -> Outcome:
        if not lease.over:
            shop.happen("withdraw")
        return Outcome.CONFIRMED

    shop.listener.send = withdraw  # type: ignore[method-assign]
    shop.forward()
    (end,) = accounts(shop)
    assert (end.ended, end.confirmed.events, end.unknown.events) == ("withdrawing", 2, 1)
    done = shop.report()
    assert (done.sent, done.destroyed) == (1, 2)
    assert (told_by_account(shop), shop.statement()["replayed"]["events"]) == ((2, 1), 1)


def test_a_receiver_that_wakes_up_speaks_of_its_own_send_alone(shop: Shop) -> None:
    """Its answer to the first try clears that up; the replay that another one sends is counted when it is answered."""
    shop.send(1)
    given_up(shop)
    shop.ask()
    clock = shop.cloud.clock
    with shop.cloud.store.transaction() as t:
        second = t.outbox.due(kit.RECIPIENT, b"receiver", clock.ms, 9)[-1].event_id
        t.outbox.lease([second], b"receiver", clock.ms + 400)
        for _ in range(2):
            t.outbox.confirm([second], b"sender01", clock.ms)
    assert (told_by_account(shop), shop.statement()["replayed"]["events"]) == ((2, 0), 0)
    with shop.cloud.store.transaction() as t:
        t.outbox.confirm([second], b"receiver", clock.ms)
        t.outbox.confirm([second], b"sender01", clock.ms)
    assert (told_by_account(shop), shop.statement()["replayed"]["events"]) == ((2, 0), 1)


def test_what_two_receivers_had_in_the_air_is_no_replay(shop: Shop) -> None:
    """One that was taken for dead and its heir, both cut by a withdrawal and both answered: nobody has asked for it."""
    shop.cloud.send(shop.unit.data())
    clock = shop.cloud.clock
    with shop.cloud.store.transaction() as t:
        (only,) = t.outbox.due(kit.RECIPIENT, b"heir", clock.ms, 1)
        for owner in (b"who died", b"heir"):
            t.outbox.lease([only.event_id], owner, clock.ms + 400)
        t.outbox.destroy(kit.RECORD_ID, clock.ms)
        for owner in (b"who died", b"heir"):
            t.outbox.confirm([only.event_id], owner, clock.ms)
    assert (told_by_account(shop), shop.statement()["replayed"]["events"]) == ((1, 0), 0)


def test_whatever_happens_the_report_adds_up_and_no_disclosure_is_unsaid(shop: Shop) -> None:
    """Two hundred steps of everything, in an order that a seed chose."""
    source = random.Random(21)
    alive = [kit.RECORD_ID, OTHER]
    shop.send(1, *alive)
    before = dict.fromkeys(alive, (0, 0))
    for step in range(200):
        shop.listener.outcome = source.choice([Outcome.CONFIRMED] * 3 + [Outcome.RETRY, Outcome.REFUSED])
        match source.randrange(6):
            case 0:
                shop.cloud.send(shop.unit.data(records=(kit.RECORD_ID, OTHER)))
            case 1 | 2:
                shop.forwarder.step(kit.RECIPIENT)
            case 3:
                shop.cloud.clock.ms += source.choice([1, 1000, 600_000])
                turn(shop.cloud)
            case 4 if not shop.count("state in ('queued', 'leased') and replay_ms is not null"):
                shop.ask(source.choice(shop.listener.got))
                shop.report()
            case 5 if step > 150 and alive:
                shop.happen("withdraw", alive.pop(source.randrange(len(alive))))
        for record in before:
            before[record] = adds_up(shop.statement(record), before[record])
    shop.report()
    assert not alive
    assert min(confirmed for confirmed, _ in before.values()) > 10


def adds_up(entry: dict[str, Any], before: tuple[int, int]) -> tuple[int, int]:
    """What the next account would say is what the recipient confirmed, or may have; (confirmed, total) never fall."""
    told = {word: (each["events"], each["samples"]) for word, each in entry["outcomes"].items()}
    confirmed, unknown = entry["account"]["confirmed"], entry["account"]["unknown"]
    assert tuple(confirmed.values()) == told.get("confirmed", (0, 0))
    assert unknown["events"] >= sum(told.get(word, (0, 0))[0] for word in ("unknown", "refused"))
    assert unknown["events"] <= sum(told.get(word, (0, 0))[0] for word in ("unknown", "refused", "destroyed"))
    after = (confirmed["events"], confirmed["events"] + unknown["events"])
    assert after >= before
    assert after[1] >= before[1]
    return after
