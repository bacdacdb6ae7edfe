"""Further keys of an owner, in the cloud: taken and removed by the word of a pinned one.

Law: an added key widens only what is signed after the cloud has it. A removal ends whatever the key has given, resumed
or renewed, in the transaction that takes it; what the key has narrowed stays narrow.
"""

from __future__ import annotations

from carnet import jws
from carnet.errors import ConsentError
from carnet.grants import compile_grant
from carnet.ids import device_bytes
from carnet.ownerkeys import ADD, OwnerKeys, claimed_change
from carnet.states import ALIVE, EventKind, State
from carnet_cloud.consents import CLOCK_MS_MAX, Consents
from carnet_cloud.grantbook import owner_keys, tenure_of
from carnet_cloud.grantsets import require_deliverable
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord


def change_keys(consents: Consents, token: str, vehicle: str, now_ms: int) -> list[str]:
    """Take a token of the vehicle's present owner; the records that ended with a removed key, silent when it returns.

    Repeating it changes nothing. RemoteError of `OwnerKeys.with_tokens`; ``key_clock``; ``grants_excess``.
    """
    name = device_bytes(vehicle)
    act, time_ms = claimed_change(token)

    def change(t: Transaction) -> list[str]:
        epoch, _ = tenure_of(t, name)
        before = owner_keys(t, name, epoch)
        after = before.with_tokens((token,))
        if after == before:
            return []
        if act == ADD and abs(time_ms - now_ms) > CLOCK_MS_MAX:
            raise ConsentError("key_clock", "the key is dated far from now: check the clock of this machine")
        t.devices.add_owner_token(name, epoch, len(before.tokens) + 1, token)
        t.consents.raise_generation(name, epoch)
        if act == ADD:
            require_deliverable(t, name, epoch)
        living = [one for one in t.consents.records(name, epoch) if State(one.state) in ALIVE]
        return [one.id for one in living if _lapses(t, one, before, after)]

    return consents.end_several(name, EventKind.REVOKE, "key_removed", change)


def keys_of(t: Transaction, vehicle: bytes, epochs: frozenset[int]) -> list[dict[str, object]]:
    """Every key of these epochs: its thumbprint, the key itself, and whether it is pinned, added or removed."""
    return [
        {"epoch": epoch, "thumbprint": jws.thumbprint(key), "key": jws.base64url(key), "standing": standing}
        for epoch in sorted(epochs)
        for owner in (owner_keys(t, vehicle, epoch),)
        for standing, keys in (("pinned", owner.pinned), ("added", owner.added), ("removed", owner.removed))
        for key in keys
    ]


def _lapses(t: Transaction, stored: StoredRecord, before: OwnerKeys, after: OwnerKeys) -> bool:
    """Whether it stands by the keys of before and not by those of after."""
    offer, events = t.consents.offer(stored.offer) or b"", t.consents.events(stored.id)
    stands = [compile_grant(offer, stored.jws, events, keys).state in ALIVE for keys in (before, after)]
    return stands == [True, False]
