"""A recipient asks for its events once more: the same ids, judged now, and a report that adds up to what was asked.

What the statement and the log say of it: test_replay_accounts.py.
"""

# ruff: noqa: F811 - a fixture of another file

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.errors import ConsentError, FormatError, UnavailableError
from carnet.ids import format_id
from carnet_cloud import replay
from carnet_cloud.api import make_api
from carnet_cloud.recipients import JsonLines, Outcome
from carnet_cloud.replay import Replaying
from carnet_cloud.replayapi import add_replays
from tests import consentkit as kit
from tests.cloud.forwardkit import OTHER
from tests.cloud.kit import Cloud, Unit
from tests.cloud.replaykit import INSURER, WINDOW_MS, Shop, opened, shop  # noqa: F401 - a fixture, too
from tests.cloud.test_api import Client, facts
from tests.cloud.test_keeper import turn

INSURED = format_id("rec_", b"insured---")
TOKENS = {kit.RECIPIENT: "the repair shop's own token", INSURER: "another token of the insurer"}
PATH = f"/v1/recipients/{kit.RECIPIENT}/replay"


def test_what_was_sent_comes_again_from_the_event_on_under_its_own_id(shop: Shop, tmp_path: Path) -> None:
    """Byte for byte what a file would have had, and nothing from before it."""
    shop.send(5)
    first = shop.listener.got[2]
    asked = shop.ask(first)
    assert (asked.asked, asked.waiting, asked.sent) == (3, 3, 0)
    again = JsonLines(tmp_path / "again.jsonl")
    shop.forward(again)
    again.close()
    lines = (tmp_path / "again.jsonl").read_bytes().splitlines()
    assert [line.split(b'"id":"')[1][:32].decode() for line in lines] == [each.hex() for each in shop.listener.got[2:]]
    done = shop.report()
    assert (done.asked, done.sent, done.waiting, done.next) == (3, 3, 0, "")


def test_what_is_still_on_its_way_is_not_asked_for(shop: Shop) -> None:
    """It comes by itself, once."""
    shop.send(2)
    shop.cloud.send(shop.unit.data())
    assert shop.ask().asked == 2
    shop.forward()
    assert len(shop.listener.got) == 2 + 3
    assert shop.report().sent == 2


# judged again


def test_a_withdrawal_before_the_question_blocks_its_record_and_no_other(shop: Shop) -> None:
    shop.send(3, kit.RECORD_ID)
    shop.send(2, OTHER)
    first = shop.listener.got[0]
    shop.happen("withdraw")
    assert shop.ask(first).blocked == {"owner": 3}
    shop.forward()
    done = shop.report()
    assert (done.asked, done.sent, done.blocked) == (5, 2, {"owner": 3})
    assert shop.listener.records[5:] == [OTHER] * 2


def test_a_withdrawal_between_question_and_send_is_silence(shop: Shop) -> None:
    """What waited is destroyed; that it was disclosed before stays told."""
    shop.send(4)
    shop.ask()
    shop.happen("withdraw")
    shop.forward()
    assert len(shop.listener.got) == 4
    done = shop.report()
    assert (done.asked, done.destroyed) == (4, 4)
    assert {word: each["events"] for word, each in shop.statement()["outcomes"].items()} == {"confirmed": 4}
    assert shop.statement()["replayed"] == {"events": 0, "samples": 0}


class Interrupted(Replaying):
    """Something happens between the judgement and the writing down."""

    def __init__(self, shop: Shop, happens: Callable[[], object]) -> None:
        super().__init__(shop.cloud.store, shop.cloud.book.standing, shop.cloud.clock.now_ms)
        self._happens = happens

    def _judge(self, records: list[str]) -> dict[str, str]:
        verdicts = super()._judge(records)
        self._happens()
        return verdicts


@pytest.mark.parametrize("kind", ["withdraw", "pause"])
def test_nobody_who_narrows_waits_until_a_question_is_judged(shop: Shop, kind: str) -> None:
    """And what the narrowing has destroyed is put back by nobody."""
    shop.send(3)
    asked = Interrupted(shop, lambda: shop.happen(kind)).ask(kit.RECIPIENT, shop.listener.got[0].hex())
    assert (asked.asked, asked.destroyed) == (3, 3)
    assert not shop.forwarder.step(kit.RECIPIENT)
    assert shop.count("payload is not null or replay_ms is not null") == 0


def test_records_are_judged_a_few_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "JUDGED_AT_ONCE", 1)
    shop.send(2, kit.RECORD_ID, OTHER)
    shop.happen("withdraw", OTHER)
    asked = shop.ask()
    assert (asked.waiting, asked.blocked) == (2, {"owner": 2})


def test_what_comes_to_its_end_while_a_question_is_judged_waits_for_the_next_one(shop: Shop) -> None:
    """Nothing goes out of a record that nobody has judged."""
    shop.send(1)
    first = shop.listener.got[0]
    asked = Interrupted(shop, lambda: shop.send(1, OTHER)).ask(kit.RECIPIENT, first.hex())
    assert (asked.asked, asked.waiting) == (1, 1)
    shop.forward()
    assert shop.ask(first).asked == 2


def test_two_questions_at_once_are_one_after_the_other(shop: Shop) -> None:
    """Whoever comes second, with a verdict in hand, is told that the first is not done."""
    shop.send(2)
    with pytest.raises(UnavailableError) as refused:
        Interrupted(shop, shop.ask).ask(kit.RECIPIENT, shop.listener.got[1].hex())
    assert (refused.value.reason, shop.report().asked) == ("replay_running", 2)


def test_a_withdrawal_in_the_middle_tells_of_every_event_what_became_of_it(shop: Shop) -> None:
    """Answered: sent. In the air: unknown. Not begun: destroyed."""
    shop.send(6)
    shop.ask()
    shop.listener.during = lambda n: shop.happen("withdraw") if n == 6 + 3 else None
    shop.forward()
    done = shop.report()
    assert (done.asked, done.sent, done.unknown, done.destroyed) == (6, 2, 1, 3)
    assert {word: each["events"] for word, each in shop.statement()["outcomes"].items()} == {"confirmed": 6}
    assert shop.statement()["replayed"]["events"] == 2


def test_a_paused_record_is_blocked_and_after_its_resume_what_was_kept_is_gone(shop: Shop) -> None:
    """A pause destroys what is kept; only later captures are covered afterwards."""
    shop.send(2)
    shop.happen("pause")
    assert shop.ask().blocked == {"owner": 2}
    shop.cloud.clock.ms += 1000
    entry = kit.event("resume", [shop.tokens[kit.RECORD_ID], *events_of(shop)], shop.cloud.clock.ms)
    shop.cloud.consents.event(entry, kit.RECORD_ID)
    assert (shop.ask().destroyed, shop.report().blocked) == (2, {})


def events_of(shop: Shop) -> list[str]:
    with shop.cloud.store.transaction() as t:
        return t.consents.events(kit.RECORD_ID)


def test_a_silent_record_is_blocked_by_its_own_word(shop: Shop) -> None:
    """A restored store: until the owner has confirmed."""
    shop.send(2)
    with shop.cloud.store.transaction() as t:
        t.consents.set_silent(kit.RECORD_ID, True)
    assert shop.ask().blocked == {"unconfirmed": 2}
    assert not shop.forwarder.step(kit.RECIPIENT)


# the window


def test_beyond_the_window_nothing_comes(shop: Shop) -> None:
    """Whether the keeper has been there or not; to the last millisecond before it, it does."""
    shop.send(1)
    shop.cloud.clock.ms += WINDOW_MS // 2
    shop.send(1)
    first = shop.listener.got[0]
    shop.cloud.clock.ms += WINDOW_MS // 2 - 1001
    assert shop.ask(first).waiting == 2
    shop.forward()
    shop.cloud.clock.ms += 1
    asked = shop.ask(first)
    assert (asked.waiting, asked.destroyed) == (1, 1)
    shop.forward()
    assert shop.report().sent == 1


def test_a_window_that_ends_between_question_and_send_ends_the_replay(shop: Shop) -> None:
    """An event that is late is never sent, and is told as destroyed once the keeper has come by."""
    shop.send(3)
    shop.ask()
    shop.cloud.clock.ms += WINDOW_MS
    assert not shop.forwarder.step(kit.RECIPIENT)
    assert shop.report().waiting == 3
    turn(shop.cloud)
    assert (shop.report().destroyed, len(shop.listener.got)) == (3, 3)
    assert shop.count("payload is not null") == 0


def test_a_replay_whose_receiver_died_in_it_ends_with_its_window(shop: Shop) -> None:
    """Its payload goes, nobody knows whether it came, and the recipient may ask again."""
    shop.send(2)
    shop.ask()
    with shop.cloud.store.transaction() as t:
        leased = [each.event_id for each in t.outbox.due(kit.RECIPIENT, b"who died", shop.cloud.clock.ms, 1)]
        t.outbox.lease(leased, b"who died", shop.cloud.clock.ms + 400)
    shop.cloud.clock.ms += WINDOW_MS
    shop.forward()
    turn(shop.cloud)
    done = shop.report()
    assert (done.unknown, done.destroyed, shop.count("payload is not null")) == (1, 1, 0)
    assert shop.ask().destroyed == 2
    assert len(shop.listener.got) == 2


def test_what_is_in_the_air_when_its_window_ends_is_told_by_who_sends_it(shop: Shop) -> None:
    """The keeper leaves it alone until its lease is over; what comes of it then is kept no longer."""
    shop.send(1)
    shop.ask()
    (end_ms,) = shop.cloud.ask("select replay_until_ms from outbox")

    def end(_: int) -> None:
        shop.cloud.clock.ms = end_ms
        turn(shop.cloud)
        kept.append(shop.count("state = 'leased' and payload is not null"))

    kept: list[int] = []
    shop.listener.during = end
    shop.cloud.clock.ms = end_ms - 100
    shop.forward()
    assert kept == [1]
    assert (shop.report().sent, shop.count("payload is not null")) == (1, 0)


def test_no_more_windows_end_in_one_transaction_than_are_asked_for(shop: Shop) -> None:
    """Of each kind: nobody else's transaction waits for all of them."""
    shop.send(5)
    shop.ask(shop.listener.got[2])
    shop.cloud.clock.ms += WINDOW_MS
    with shop.cloud.store.transaction() as t:
        assert [replay.end_windows(t, shop.cloud.clock.ms, 2) for _ in range(3)] == [4, 1, 0]
    assert (shop.report().destroyed, shop.count("payload is not null")) == (3, 0)


def test_an_offer_without_a_window_keeps_nothing(tmp_path: Path) -> None:
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    shop = Shop(cloud, unit, {kit.RECORD_ID: cloud.give()})
    cloud.send(unit.schema())
    shop.send(2)
    assert shop.ask().destroyed == 2


# the cursor


def test_a_cursor_of_another_recipient_says_no_more_than_one_that_never_was(shop: Shop) -> None:
    theirs = kit.offer_bytes(id=format_id("off_", b"offer--two"), recipient=INSURER, replay_ms=WINDOW_MS)
    shop.cloud.offers.publish(theirs)
    shop.cloud.consents.give(kit.token(theirs, id=INSURED), kit.VEHICLE)
    shop.send(1, kit.RECORD_ID, INSURED)
    with shop.cloud.store.transaction() as t:
        (foreign,) = t.outbox.due(INSURER, b"sender01", shop.cloud.clock.ms, 10)
    said = set()
    for cursor in (foreign.event_id, bytes(16), bytes([shop.listener.got[0][0] ^ 1]) + shop.listener.got[0][1:]):
        with pytest.raises(ConsentError) as refused:
            shop.ask(cursor)
        said.add((refused.value.reason, str(refused.value)))
    assert len(said) == 1
    with pytest.raises(ConsentError):
        shop.replaying.ask(INSURER, shop.listener.got[0].hex())


@pytest.mark.parametrize("cursor", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "' or 1=1 --", "٠" * 32])
def test_what_is_no_event_id_is_refused(shop: Shop, cursor: str) -> None:
    with pytest.raises(FormatError) as refused:
        shop.replaying.ask(kit.RECIPIENT, cursor)
    assert refused.value.reason == "cursor_malformed"


def test_one_question_at_a_time_and_no_longer_than_its_bound(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report names where to go on."""
    monkeypatch.setattr(replay, "AT_ONCE_MAX", 3)
    shop.send(5)
    sent = list(shop.listener.got)
    asked = shop.ask()
    assert (asked.asked, asked.next) == (3, sent[3].hex())
    with pytest.raises(UnavailableError) as refused:
        shop.ask()
    assert refused.value.reason == "replay_running"
    shop.forward()
    rest = shop.ask(bytes.fromhex(asked.next))
    assert (rest.asked, rest.next) == (2, "")
    shop.forward()
    assert shop.listener.got[5:] == sent


# what the recipient answers


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.RETRY])
def test_what_it_does_not_take_the_second_time_it_still_has_had(shop: Shop, outcome: Outcome) -> None:
    """Refused, or given up three days after the question; the statement says confirmed, as it was."""
    shop.send(2)
    shop.ask()
    shop.listener.outcome = outcome
    shop.forward()
    if outcome is Outcome.RETRY:
        assert shop.report().waiting == 2
        shop.happen("withdraw")
    assert (shop.report().refused, shop.report().unknown) == ((2, 0) if outcome is Outcome.REFUSED else (0, 2))
    assert {word: each["events"] for word, each in shop.statement()["outcomes"].items()} == {"confirmed": 2}


def test_three_days_of_trying_count_from_the_question(tmp_path: Path) -> None:
    """An old event of a recipient that is away for a moment is not given up at the first try."""
    shop = opened(tmp_path, kit.offer_bytes(replay_ms=7 * kit.DAY_MS))
    cloud = shop.cloud
    shop.send(1)
    cloud.clock.ms += 5 * kit.DAY_MS
    shop.ask()
    shop.listener.outcome = Outcome.RETRY
    shop.forward()
    assert shop.report().waiting == 1
    cloud.clock.ms += 10_000
    shop.listener.outcome = Outcome.CONFIRMED
    shop.forward()
    assert shop.report().sent == 1


def test_what_it_has_refused_for_good_is_not_sent_again(shop: Shop) -> None:
    shop.send(1)
    shop.listener.outcome = Outcome.REFUSED
    shop.send(2)
    shop.listener.outcome = Outcome.CONFIRMED
    assert shop.ask().refused == 2
    shop.forward()
    assert shop.report().sent == 1


# the door


@pytest.fixture
def client(shop: Shop) -> Client:
    cloud = shop.cloud
    api = make_api(cloud.store, cloud.consents, cloud.offers, "x" * 32, cloud.clock.now_ms, facts, *cloud.tell)
    add_replays(api, shop.replaying, TOKENS)
    return Client(api)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_recipient_asks_with_its_own_token_and_reads_the_report(shop: Shop, client: Client) -> None:
    shop.send(2)
    mine = bearer(TOKENS[kit.RECIPIENT])
    answer = client.get(PATH, headers=mine)
    assert (answer.status_code, answer.json()["reason"]) == (400, "replay_unknown")
    answer = client.post(PATH, json={"first": shop.listener.got[0].hex()}, headers=mine)
    assert (answer.status_code, answer.json()["waiting"]) == (202, 2)
    again = client.post(PATH, json={"first": shop.listener.got[0].hex()}, headers=mine)
    assert (again.status_code, again.json()["reason"]) == (503, "replay_running")
    shop.forward()
    assert client.get(PATH, headers=mine).json()["sent"] == 2


@pytest.mark.parametrize("token", ["", TOKENS[INSURER], "x" * 32, TOKENS[kit.RECIPIENT] + "x"])
@pytest.mark.parametrize("recipient", [kit.RECIPIENT, format_id("rcp_", b"is nobody."), "rcp_x"])
def test_nobody_else_asks_or_reads(shop: Shop, client: Client, recipient: str, token: str) -> None:
    """Another recipient, the operator, a stranger; and for a recipient that is unknown nobody at all."""
    shop.send(1)
    path = f"/v1/recipients/{recipient}/replay"
    body = {"first": shop.listener.got[0].hex()}
    for answer in (client.post(path, json=body, headers=bearer(token)), client.get(path, headers=bearer(token))):
        assert (answer.status_code, answer.json()["reason"]) == (401, "recipient_token")
    assert not shop.forwarder.step(kit.RECIPIENT)
