"""The owner: offers to answer, records, pauses, withdrawals; every call is repeated until the cloud has answered.

Law: the truth is written down before the cloud hears of what widens, and after it has answered to what narrows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from carnet.errors import ConsentError
from carnet.ids import format_id
from carnet.keys import SigningKey
from carnet.records import sign_record
from tests import consentkit as kit
from tests.world.car import IGNITION, LATITUDE, LONGITUDE, ODOMETER, SERVICE, SPEED
from tests.world.clockwork import Clockwork, law
from tests.world.cloudside import CloudSide
from tests.world.identity import BUYER, FIRST, Identity
from tests.world.ledger import Ledger
from tests.world.truth import Agreed, Item

INSURER, GARAGE, MAP = (format_id("rcp_", name) for name in (b"insurer---", b"repairshop", b"mapmaker--"))
SEALED = INSURER
"""The recipient whose readings only its own key opens."""
AGAIN_MS = 1_500
RETURNS_MS = 1_500
"""Within this a pause or withdrawal has returned, whatever is in flight."""
CELL = {"cell_m": 50, "interval_ms": 2000}
ITEMS: dict[str, list[Item]] = {
    INSURER: [
        kit.item(ODOMETER),
        kit.item(SPEED, transform={"interval_ms": 1000, "round": "0.5"}, **{"class": "live"}),
    ],
    GARAGE: [
        kit.item(ODOMETER),
        kit.item(SERVICE, transform={"dead_band": "7"}, **{"class": "event"}),
        kit.item(SPEED, transform={"interval_ms": 2000}, when=[kit.when(IGNITION, "==", "1")]),
        kit.item(IGNITION, "condition"),
    ],
    MAP: [
        kit.item(LATITUDE, transform=CELL, **{"class": "live"}),
        kit.item(LONGITUDE, transform=CELL, **{"class": "live"}),
        kit.item(SPEED, **{"class": "live"}),
    ],
}
SHORT_ITEMS = [kit.item(SPEED, **{"class": "live"}), kit.item(ODOMETER)]
"""Of a record that expires. The unit decides by its own clock when; so it shares no column that has a state."""


def _offer(name: bytes, recipient: str, items: list[Item]) -> bytes:
    key = kit.sealed_to() if items is ITEMS[SEALED] else {}
    return kit.offer_bytes(id=format_id("off_", name), recipient=recipient, items=items, **key)


OFFERS = {recipient: _offer(recipient[4:14].encode(), recipient, items) for recipient, items in ITEMS.items()}
SHORT_OFFER = _offer(b"short-time", MAP, SHORT_ITEMS)


class Owner:
    """Keeps ``agreed``: what is true."""

    def __init__(self, clockwork: Clockwork, cloud: CloudSide, ledger: Ledger) -> None:
        self._clockwork, self._cloud, self._ledger, self._agreed = clockwork, cloud, ledger, ledger.agreed
        self._who = FIRST

    def give(self, recipient: str) -> None:
        """A new record for this recipient."""
        self._give(recipient, OFFERS[recipient], ITEMS[recipient], 30 * kit.DAY_MS)

    def give_for(self, length_ms: int) -> None:
        """A record that expires soon."""
        self._give(MAP, SHORT_OFFER, SHORT_ITEMS, length_ms)

    def _give(self, recipient: str, offer: bytes, items: list[Item], length_ms: int) -> None:
        now_ms = self._clockwork.now_ms
        name = format_id("rec_", self._clockwork.random.randbytes(10))
        times = {"given_ms": now_ms, "not_before_ms": now_ms, "expires_ms": now_ms + length_ms}
        token = sign_record(
            kit.record(offer, optional=(), id=name, epoch=self._who.epoch, **times), self._who.owner_key.secret
        )
        agreed = Agreed(name, recipient, offer, items, token, now_ms, now_ms + length_ms, self._who.epoch, [token])
        self._agreed[name] = agreed
        self._deliver_record(agreed)

    def _deliver_record(self, agreed: Agreed) -> None:
        def work() -> bool:
            if agreed.epoch == self._who.epoch and not self._cloud.is_quarantined:
                if self._cloud.tenure != agreed.epoch:
                    # it has not heard of the sale, or forgotten it: it would refuse, and he asks again when it has
                    return False
                self._cloud.offers.publish(agreed.offer)
                self._cloud.consents.give(agreed.token, kit.VEHICLE)
            return True

        if self._attempt(work, lambda: self._deliver_record(agreed)):
            self._clockwork.note("given")

    def _attempt(self, work: Callable[[], bool], again: Callable[[], None]) -> bool:
        """Ask the cloud; ``again`` a little later if it did not answer, or died in the middle of it."""
        done = False
        try:
            done = bool(self._cloud.call(work))
        finally:
            if not done:
                self._clockwork.at(AGAIN_MS, "again", again)
        return done

    def sell(self, buyer: Identity) -> None:
        """The buyer's pairing is brought to the cloud; from when that has returned the seller's records are silent."""
        for agreed in self._agreed.values():
            agreed.ended = agreed.narrowed = True
        self._who = buyer
        self._bring()

    def _bring(self) -> None:
        if not self._attempt(partial(self._cloud.enrol, self._who), self._bring):
            return
        self._clockwork.note("sale_returned")
        self._cloud.end_seller()
        for agreed in self._agreed.values():
            if agreed.epoch != self._who.epoch:
                law(not self._cloud.remains(agreed.record), "law 3: payloads or keys of the seller remain stored")
                agreed.silent = True

    def withdraw(self, agreed: Agreed) -> None:
        """From the moment at which this has returned the recipient hears nothing more under it."""
        if not agreed.ended:
            agreed.ended = agreed.narrowed = True
            self._event(agreed, "withdraw")

    def pause(self, agreed: Agreed) -> None:
        if not agreed.ended and self._clockwork.now_ms < agreed.expires_ms:
            agreed.narrowed = True
            self._event(agreed, "pause")

    def resume(self, agreed: Agreed) -> None:
        if agreed.ended or self._clockwork.now_ms >= agreed.expires_ms:
            return
        if not agreed.silent:
            self._clockwork.at(AGAIN_MS, "resume later", lambda: self.resume(agreed))
            return
        self._event(agreed, "resume")

    def _event(self, agreed: Agreed, kind: str) -> None:
        self._clockwork.note(kind)
        self._deliver(agreed, kind, "")

    def _deliver(self, agreed: Agreed, kind: str, entry: str) -> None:
        """Send ``entry``, or another one if that does not follow what the cloud has; again until it is answered."""
        began_ms, held_up_ms = self._clockwork.now_ms, self._cloud.held_up_ms

        def work() -> bool:
            nonlocal entry
            history = self._history(agreed)
            if kind == "resume" and agreed.epoch != self._who.epoch:
                # sold meanwhile: nobody asks for that any more
                return True
            if not history:
                return False
            if entry not in history:
                entry = kit.event(kind, history, began_ms, _key_of(agreed), record=agreed.record)
                if kind == "resume":
                    # a cloud that died after its commit has this entry, and the next try makes no other
                    agreed.covers_from_ms, agreed.silent = began_ms, False
            self._cloud.consents.event(entry, agreed.record)
            agreed.entries = self._history(agreed)
            return True

        if not self._attempt(work, lambda: self._deliver(agreed, kind, entry)):
            return
        if kind != "resume":
            took_ms = self._clockwork.now_ms - began_ms - (self._cloud.held_up_ms - held_up_ms)
            law(took_ms <= RETURNS_MS, "law 3: a narrowing did not return in time")
            law(not self._cloud.remains(agreed.record), "law 3: payloads or keys of a silent record remain stored")
            agreed.silent = True
            self._clockwork.note(f"{kind}_returned")

    def _history(self, agreed: Agreed) -> list[str]:
        """The record and its events as the cloud has them; empty if it has forgotten the record."""
        with self._cloud.store.transaction() as t:
            stored = t.consents.record(agreed.record)
            return [] if stored is None else [stored.jws, *t.consents.events(agreed.record)]

    def make_up(self) -> None:
        """A restored cloud: the tool gives it back what it has forgotten and confirms what still holds."""
        if not self._attempt(partial(self._cloud.enrol, self._who), self.make_up):
            return
        for agreed in [one for one in self._agreed.values() if one.epoch == self._who.epoch]:
            agreed.narrowed = True
            if not self._attempt(partial(self._make_up, agreed), self.make_up):
                return

    def look(self) -> None:
        """The tool lists the owner's records, and he confirms what stands silent there."""
        with self._cloud.store.transaction() as t:
            stored = [t.consents.record(record) for record in self._agreed]
        if any(one.silent for one in stored if one):
            self._clockwork.note("confirmed_late")
            self.make_up()

    def _make_up(self, agreed: Agreed) -> bool:
        """Also what has ended is given again, as by a request that somebody recorded: nothing may come of it."""
        consents = self._cloud.consents
        self._cloud.offers.publish(agreed.offer)
        try:
            consents.give(agreed.token, kit.VEHICLE)
        except ConsentError as refused:
            self._clockwork.note(f"give_refused_{refused.reason}")
            return True
        if agreed.ended or self._clockwork.now_ms >= agreed.expires_ms:
            return True
        with self._cloud.store.transaction() as t:
            stored = t.consents.record(agreed.record)
        assert stored is not None
        if agreed.silent == (stored.state == "given"):
            kind = "pause" if agreed.silent else "resume"
            self._clockwork.note(f"{kind}_after_restore")
            self._clockwork.at(1, kind, lambda: self._deliver(agreed, kind, ""))
        consents.confirm(agreed.record)
        return True


def _key_of(agreed: Agreed) -> SigningKey:
    return {who.epoch: who.owner_key for who in (FIRST, BUYER)}[agreed.epoch]
