"""Offers as the cloud keeps them: publish one, end one, show those that are open.

Law: an offer never changes, and none is shown that could never be kept: it names a tenant, a recipient and paths that
are known here. One that has ended is shown to nobody and no new record agrees to it; records from before stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from carnet.errors import ConsentError
from carnet.ids import OFFER, parse_id
from carnet.offers import Offer, parse_offer
from carnet.signals import Category, is_private
from carnet_cloud.catalogue import Catalogue
from carnet_cloud.store import Store, Transaction

NAMED_MAX = 8
"""Ids that a refusal names as allowed."""


@dataclass(frozen=True, slots=True)
class Closed:
    """An offer that has ended, when, and how many living records agree to it and go on."""

    offer: str
    recipient_name: str
    ended_ms: int
    records: int


class Offers:
    """``recipients``: id to name of those that are configured. The name that owners see is the one the operator vouches
    for, or one recipient could call itself like another. ``now_ms`` is the server's clock.
    """

    def __init__(
        self, store: Store, catalogue: Catalogue, recipients: Mapping[str, str], now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._recipients = dict(sorted(recipients.items()))
        self._now_ms = now_ms

    def publish(self, document: bytes) -> str:
        """Take an offer; its id. The same bytes again are the same offer.

        Beside the reasons of `parse_offer`: ConsentError ``offer_tenant``, ``offer_recipient``, ``offer_path`` (not
        known here), ``offer_name`` (called otherwise here), ``offer_changed`` (other bytes under its id) and
        ``offer_ended``.
        """
        offer = parse_offer(document)
        with self._store.transaction() as t:
            known = t.consents.offer(offer.id)
            if known is not None and known != document:
                raise ConsentError("offer_changed", "id: another offer has it already: make a new id")
            if known is not None:
                require_open(t, offer.id)
                return offer.id
            self._require_known(t, offer)
            t.consents.add_offer(offer.id, offer.tenant, offer.recipient, document, self._now_ms())
            if t.consents.offer(offer.id) != document:
                # another receiver took another offer of this id in the same moment
                raise ConsentError("offer_changed", "id: another offer has it already: make a new id")
        return offer.id

    def end(self, offer: str) -> Closed:
        """End an offer; repeating it changes nothing. ConsentError ``offer_unknown``."""
        parse_id(offer, OFFER)
        with self._store.transaction() as t:
            document = t.consents.offer(offer)
            if document is None:
                raise ConsentError("offer_unknown", "there is no such offer here")
            t.consents.end_offer(offer, self._now_ms())
            ended_ms = t.consents.offer_ended_ms(offer) or 0
            return Closed(offer, parse_offer(document).recipient_name, ended_ms, t.consents.living_of(offer))

    def open_to(self, vehicle: bytes) -> list[bytes]:
        """The offers of the vehicle's tenant that have not ended."""
        with self._store.transaction() as t:
            tenants = sorted({device.tenant for device in t.devices.of_vehicle(vehicle)})
            return [document for tenant in tenants for document in t.consents.offers(tenant)]

    def paths_of(self, category: Category) -> list[str]:
        """What an item that names a category means today."""
        return self._catalogue.paths_of(category)

    def _require_known(self, t: Transaction, offer: Offer) -> None:
        """ConsentError for the first of tenant, recipient and paths that nobody here knows."""
        if not t.devices.has_tenant(offer.tenant):
            allowed = _named(t.devices.tenants(NAMED_MAX + 1))
            raise ConsentError("offer_tenant", f"tenant: no vehicle of it is enrolled here; known are {allowed}")
        if offer.recipient not in self._recipients:
            allowed = _named(self._recipients)
            raise ConsentError(
                "offer_recipient", f"recipient: no [[recipient]] of the configuration has this id; known are {allowed}"
            )
        name = self._recipients[offer.recipient]
        if offer.recipient_name != name:
            raise ConsentError("offer_name", f"recipient_name: the configuration calls this recipient {name}")
        for number, item in enumerate(offer.items):
            if item.path is None or item.path in self._catalogue or (not item.is_sent and is_private(item.path)):
                continue
            like = self._catalogue.like(item.path)
            raise ConsentError(
                "offer_path",
                f"items[{number}].path: no mapping file of [catalogue] has this path, so it would never be forwarded"
                + (f"; is {like} meant?" if like else ""),
            )


def require_open(t: Transaction, offer: str) -> None:
    """ConsentError ``offer_ended`` if nobody can agree to it any more."""
    if t.consents.offer_ended_ms(offer) is not None:
        raise ConsentError("offer_ended", "this offer has ended; what is asked for now is another one, with a new id")


def _named(known: Iterable[str]) -> str:
    some = list(islice(known, NAMED_MAX + 1))
    more = " and others" if len(some) > NAMED_MAX else ""
    return ", ".join(some[:NAMED_MAX]) + more if some else "none"
