"""Whose signature counts for a vehicle: the owner's keys that were pinned on the unit, and further ones that a pinned
one added and did not remove again.

Law: keys are pinned by a local command only. A key that comes over the network counts only with the signature of a
pinned one, for this vehicle and this epoch, and never adds or removes another. What was removed once never counts
again, in whatever order the tokens come; a pinned key is not removed, so that one is always left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import nacl.bindings as sodium

from carnet import canonical, fields, jws
from carnet.errors import ConsentError
from carnet.refusals import integer, refused_as, vehicle_text

PINNED_MAX = 8
ADDED_MAX = 8
REMOVED_MAX = ADDED_MAX
TOKENS_MAX = ADDED_MAX + REMOVED_MAX
ADD, REMOVE = "owner-key", "owner-key-removal"
"""What a token does with its key."""
EPOCH_MAX = 2**32 - 1
OWNER_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class OwnerKeys:
    """The 32-byte Ed25519 public keys of one vehicle's owner. ``tokens`` are the signed additions, as they came."""

    vehicle: str
    """26 characters, see `carnet.ids`."""
    epoch: int
    """Rises with every sale, lease or rental."""
    pinned: tuple[bytes, ...]
    added: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    """Added once, and now worth nothing."""
    tokens: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key whose signature counts."""
        return self.pinned + self.added

    @property
    def known(self) -> tuple[bytes, ...]:
        """The same and those that were removed: by their word nothing is widened, but what they narrowed stays so."""
        return self.keys + self.removed

    def with_pinned(self, key: bytes) -> OwnerKeys:
        """These keys and one more that is pinned, by who stands at the unit; ConsentError ``key_excess``."""
        if key in self.pinned:
            return self
        if len(self.pinned) == PINNED_MAX:
            raise ConsentError("key_excess", f"{PINNED_MAX} keys of the owner are pinned, and no more can be")
        return replace(self, pinned=(*self.pinned, key))

    def with_tokens(self, tokens: tuple[str, ...]) -> OwnerKeys:
        """These keys and what ``tokens`` add and remove; a token that says nothing new changes nothing, not even
        ``tokens``.

        FormatError and SignatureError as `carnet.jws.verify` with the pinned keys; ConsentError ``key_malformed``,
        ``key_weak``, ``key_foreign`` (another vehicle or epoch), ``key_pinned`` (cannot be removed) or ``key_excess``.
        """
        found = self
        for token in tokens:
            found = found._with(token)
        return found

    def _with(self, token: str) -> OwnerKeys:
        act, key = _parse_change(token, self)
        if key in (self.known if act == ADD else self.removed):
            return self
        found = replace(self, tokens=(*self.tokens, token))
        if act == ADD:
            found = replace(found, added=(*self.added, key))
        elif key in self.pinned:
            raise ConsentError("key_pinned", "a pinned key is not removed: only pairing anew ends it")
        else:
            added = tuple(one for one in self.added if one != key)
            found = replace(found, added=added, removed=(*self.removed, key))
        if len(found.added) + len(found.removed) > ADDED_MAX:
            raise ConsentError("key_excess", f"more than {ADDED_MAX} keys were added to the owner's pinned ones")
        return found


def sign_addition(owner: OwnerKeys, public: bytes, time_ms: int, secret: bytes) -> str:
    """The token by which the pinned key behind ``secret`` (libsodium's 64 bytes) adds ``public``."""
    return _sign(ADD, owner, public, time_ms, secret)


def sign_removal(owner: OwnerKeys, public: bytes, time_ms: int, secret: bytes) -> str:
    """The token by which a pinned key removes an added one, and with it whatever that one has widened."""
    return _sign(REMOVE, owner, public, time_ms, secret)


def claimed_change(token: str) -> tuple[str, int]:
    """What a token claims to do and when, with nobody's word for it; `carnet.jws`'s reasons or ``key_malformed``."""
    act, _, _, time_ms = _read_change(jws.unverified(token))
    return act, time_ms


def _sign(act: str, owner: OwnerKeys, public: bytes, time_ms: int, secret: bytes) -> str:
    document = {
        "v": 1,
        "type": act,
        "vehicle": owner.vehicle,
        "epoch": owner.epoch,
        "key": jws.jwk(public),
        "time_ms": time_ms,
    }
    return jws.sign(jws.OWNER_KEY, document, secret)


def encode_owner(owner: OwnerKeys) -> bytes:
    """The bytes of ``owner.json``."""
    document = {
        "v": 1,
        "type": "owner",
        "vehicle": owner.vehicle,
        "epoch": owner.epoch,
        "keys": [jws.jwk(key) for key in owner.pinned],
        "added": list(owner.tokens),
    }
    return canonical.encode(document)


def parse_owner(data: bytes) -> OwnerKeys:
    """The keys in ``owner.json``; ConsentError ``owner_malformed`` and all that `OwnerKeys.with_tokens` raises."""
    document = canonical.parse(data, OWNER_BYTES_MAX)
    with refused_as("owner_malformed"):
        version, kind, vehicle, epoch, keys, added = fields.members(
            document, "v", "type", "vehicle", "epoch", "keys", "added"
        )
        fields.choice(kind, "owner")
        integer(version, 1, 1)
        name = vehicle_text(vehicle)
        epoch_number = integer(epoch, 1, EPOCH_MAX)
        listed = fields.items(keys, 1, PINNED_MAX)
        tokens = tuple(fields.text(token, jws.TOKEN) for token in fields.items(added, 0, TOKENS_MAX))
    pinned = tuple(parse_key(key) for key in listed)
    if len(set(pinned)) != len(pinned):
        raise ConsentError("owner_malformed", "the owner's file names a key twice")
    return OwnerKeys(name, epoch_number, pinned).with_tokens(tokens)


def parse_key(value: object) -> bytes:
    """The 32 bytes of a JSON Web Key; ConsentError ``key_malformed`` or ``key_weak`` (not a point of the group's prime
    order).
    """
    with refused_as("key_malformed"):
        curve, kind, x = fields.members(value, "crv", "kty", "x")
        fields.choice(curve, "Ed25519")
        fields.choice(kind, "OKP")
        public = jws.base64url_bytes(fields.text(x, jws.BASE64URL))
    if len(public) != sodium.crypto_sign_PUBLICKEYBYTES:
        raise ConsentError("key_malformed", "an Ed25519 public key has 32 bytes")
    if not sodium.crypto_core_ed25519_is_valid_point(public):
        raise ConsentError("key_weak", "an owner's key is not a point of the group's prime order")
    return public


def _parse_change(token: str, owner: OwnerKeys) -> tuple[str, bytes]:
    act, whose, key, _ = _read_change(jws.verify(token, jws.OWNER_KEY, owner.pinned))
    if whose != (owner.vehicle, owner.epoch):
        raise ConsentError("key_foreign", "a key was added or removed for another vehicle or epoch")
    return act, parse_key(key)


def _read_change(document: object) -> tuple[str, tuple[str, int], object, int]:
    """Act, vehicle and epoch, key as it stands there, time."""
    with refused_as("key_malformed"):
        version, act, vehicle, epoch, key, time_ms = fields.members(
            document, "v", "type", "vehicle", "epoch", "key", "time_ms"
        )
        integer(version, 1, 1)
        whose = (vehicle_text(vehicle), integer(epoch, 1, EPOCH_MAX))
        return fields.choice(act, ADD, REMOVE), whose, key, fields.number(time_ms)
