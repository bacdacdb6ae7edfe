"""Makes ``consent/*.json`` beside this file, byte for byte the same every time.

Run it after a change of the documents: ``python -m tests.vectors.make_consent_vectors``. A test compares its output
with the files. Every vector says in one word what must become of it: ``accepted`` or the reason of the refusal.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nacl.bindings as sodium

from carnet import canonical, jws
from carnet.consent import (
    Documents,
    Floors,
    GrantSet,
    compile_set,
    encode_grant_set,
    encode_owner,
    entry_hash,
    parse_offer,
    sign_addition,
    sign_removal,
)
from carnet.ids import format_id
from carnet.keys import SigningKey, key_id
from tests import consentkit as kit
from tests.consentkit import DAY_MS, GIVEN_MS, OFFER, item, when

FOLDER = Path(__file__).parent / "consent"
Vector = dict[str, Any]
GRANTS = {
    "paused": ["suspended", 0, 30],
    "paused and resumed": ["given", 2, 30],
    "renewed while paused": ["suspended", 0, 90],
    "renewed and withdrawn, silent": ["withdrawn", 0, 90],
    "suspended by the operator, then withdrawn": ["withdrawing", 0, 30],
    "revoked": ["revoked", 0, 30],
    "the vehicle was sold": ["invalidated", 0, 30],
    "terminated by the recipient": ["terminated", 0, 30],
    "withdrawn by a wrong clock, still at once": ["withdrawing", 0, 30],
    "ended after 240 events": ["withdrawing", 240 / DAY_MS, 30],
}
"""Vector -> state, and the days after the yes from which and until which readings are covered."""


def canonical_vectors() -> list[Vector]:
    """Bytes as hexadecimal, because some are not even text."""
    rows: list[tuple[str, bytes, str]] = [
        ("an object with sorted keys", b'{"a":[1,-2,true,null],"b":{}}', "accepted"),
        ("text is not escaped without need", '"ü/€\U0001f697"'.encode(), "accepted"),
        ("the largest integer", b"9007199254740991", "accepted"),
        ("control characters in their short form", b'"\\b\\f\\n\\r\\t\\u001f\\"\\\\"', "accepted"),
        ("characters that are composed and decomposed are two texts", '["\u00e9","e\u0301"]'.encode(), "accepted"),
        ("keys not sorted", b'{"b":1,"a":2}', "json_not_canonical"),
        ("a blank", b'{"a": 1}', "json_not_canonical"),
        ("a line feed at the end", b'{"a":1}\n', "json_not_canonical"),
        ("an escape without need", b'"\\u0041"', "json_not_canonical"),
        ("an escape in upper case", b'"\\u001F"', "json_not_canonical"),
        ("minus zero", b"-0", "json_not_canonical"),
        ("a key twice", b'{"a":1,"a":1}', "json_duplicate_key"),
        ("a float", b"1.0", "json_number"),
        ("an exponent", b"1e3", "json_number"),
        ("not a number", b"NaN", "json_number"),
        ("2^53", b"9007199254740992", "json_number"),
        ("half a surrogate pair", b'"\\ud800"', "json_malformed"),
        ("overlong UTF-8", b'"\xc0\xaf"', "json_malformed"),
        ("a byte order mark", b"\xef\xbb\xbf1", "json_malformed"),
        ("17 levels", b"[" * 17 + b"]" * 17, "json_malformed"),
        ("cut off", b'{"a":', "json_malformed"),
        ("nothing", b"", "json_malformed"),
    ]
    return [{"name": name, "outcome": outcome, "hex": data.hex()} for name, data, outcome in rows]


def offer_vectors() -> list[Vector]:
    """Offers as text."""
    position: dict[str, Any] = {"transform": {"cell_m": 1000, "interval_ms": 60_000}}
    cells = [item(kit.LATITUDE, **position), item(kit.LONGITUDE, **position)]
    moving = [when(kit.SPEED, ">", "0")]
    sealed = kit.sealed_to()
    key = sealed["sealed_to"]
    weak = {"key": jws.base64url(bytes(32)), "kid": key_id(bytes(32)).hex()}
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("the example", {}, "accepted"),
        ("without incentive, with a replay window", {"incentive": None, "replay_ms": 604_800_000}, "accepted"),
        ("a cell for both coordinates", {"items": cells}, "accepted"),
        (
            "a condition on an item that is sent",
            {"items": [item(kit.SPEED), item(kit.ODOMETER, when=moving)]},
            "accepted",
        ),
        ("sealed to its recipient", sealed, "accepted"),
        ("sealed to nobody", {"v": 2}, "offer_malformed"),
        ("version 1 with a key", {**sealed, "v": 1}, "offer_malformed"),
        ("a key and nothing more", {**sealed, "sealed_to": {"key": key["key"]}}, "offer_malformed"),
        ("a key in hexadecimal", {**sealed, "sealed_to": {**key, "key": kit.RECIPIENT_KEY.public.hex()}}, "offer_key"),
        ("a key that is no text", {**sealed, "sealed_to": {**key, "key": 1}}, "offer_malformed"),
        ("a key with the id of another", {**sealed, "sealed_to": {**key, "kid": "00" * 8}}, "offer_key"),
        ("a key of small order", {**sealed, "sealed_to": weak}, "offer_key"),
        ("words in Hindi with a joiner", {"reveals": "क्\u200dष"}, "accepted"),
        ("another version", {"v": 3}, "offer_malformed"),
        ("true as the version", {"v": True}, "offer_malformed"),
        ("a number as text", {"retention_days": "90"}, "offer_malformed"),
        ("kept for no time", {"retention_days": 0}, "offer_malformed"),
        ("valid for 366 days", {"valid_days": 366}, "offer_malformed"),
        ("replay for longer than 7 days", {"replay_ms": 604_800_001}, "offer_malformed"),
        ("a member that is not known", {"profiling": True}, "offer_malformed"),
        ("no items", {"items": []}, "offer_malformed"),
        ("257 items", {"items": [item(f"Vehicle.Private.b.d.m.s{n}") for n in range(257)]}, "offer_malformed"),
        ("a path and a category", {"items": [{**item(kit.SPEED), "category": "driving"}]}, "offer_malformed"),
        ("a path with a wildcard", {"items": [item("Vehicle.*")]}, "offer_malformed"),
        ("a category that does not exist", {"items": [item("everything")]}, "offer_malformed"),
        ("a need that does not exist", {"items": [item(kit.SPEED, "bundled")]}, "offer_malformed"),
        ("words of more than 2,048 bytes", {"reveals": "é" * 1025}, "offer_malformed"),
        ("no words", {"reveals": ""}, "offer_malformed"),
        ("a recipient's id of another kind", {"recipient": kit.TENANT}, "offer_malformed"),
        (
            "an incentive that is taken back",
            {"incentive": {"kind": "discount", "value": "10 %", "ends": "claw_back"}},
            "offer_malformed",
        ),
        (
            "a condition with a float as text",
            {"items": [item(kit.SPEED), item(kit.ODOMETER, when=[when(kit.SPEED, ">", "1.50")])]},
            "offer_malformed",
        ),
        ("words that turn around", {"recipient_name": "shop \u202eyug dab"}, "text_deceptive"),
        ("invisible words", {"reveals": "nothing\u200b"}, "text_deceptive"),
        ("words in another normal form", {"recipient_name": "Cafe\u0301"}, "text_deceptive"),
        ("a line feed in words", {"reveals": "one\ntwo"}, "text_deceptive"),
        ("blanks around words", {"reveals": " one "}, "text_deceptive"),
        (
            "a transform with a float",
            {"items": [item(kit.SPEED, transform={"interval_ms": "1000"})]},
            "transform_malformed",
        ),
        (
            "a transform with a member that is not known",
            {"items": [item(kit.SPEED, transform={"noise": 1})]},
            "transform_malformed",
        ),
        ("a cell of a speed", {"items": [item(kit.SPEED, transform={"cell_m": 100})]}, "transform_impossible"),
        ("only a condition", {"items": [item(kit.SPEED, "condition")]}, "offer_empty"),
        ("an item twice", {"items": [item(kit.SPEED), item(kit.SPEED, "optional")]}, "offer_duplicate"),
        ("all that nobody knows", {"items": [item("unmapped")]}, "offer_unmapped"),
        ("a condition without item", {"items": [item(kit.ODOMETER, when=moving)]}, "offer_condition"),
        (
            "a condition that nobody needs",
            {"items": [item(kit.ODOMETER), item(kit.SPEED, "condition")]},
            "offer_condition",
        ),
        (
            "a condition of a whole category",
            {"items": [item(kit.ODOMETER), item("driving", "condition")]},
            "offer_condition",
        ),
        ("half a cell", {"items": cells[:1]}, "offer_cell"),
        (
            "two cells of different size",
            {"items": [cells[0], item(kit.LONGITUDE, transform={"cell_m": 1})]},
            "offer_cell",
        ),
    ]
    vectors: list[Vector] = [
        {"name": name, "outcome": outcome, "offer": kit.offer_bytes(**changes).decode()}
        for name, changes, outcome in rows
    ]
    text = OFFER.decode()
    for name, old, new, outcome in [
        ("a float", '"retention_days":90', '"retention_days":90.0', "json_number"),
        ("a member twice", '"v":1', '"v":1,"v":1', "json_duplicate_key"),
        ("a blank", '"v":1', '"v": 1', "json_not_canonical"),
        ("a member is missing", '"replay_ms":0,', "", "offer_malformed"),
    ]:
        assert old in text
        vectors.append({"name": name, "outcome": outcome, "offer": text.replace(old, new)})
    vectors.append({"name": "65,537 bytes", "outcome": "json_size", "offer": '"' + "x" * 65_535 + '"'})
    return vectors


def token_vectors() -> list[Vector]:
    """Records that are refused, or not, because of their JWS alone."""
    good = kit.token()
    header, payload, signature = good.split(".")

    def other_header(data: bytes) -> str:
        return f"{jws.base64url(data)}.{payload}.{signature}"

    kid = jws.thumbprint(kit.OWNER_KEY.public)
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}[signature[-1]]
    wrong = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    rows = [
        ("the example", good, "accepted"),
        ("a key that is not the owner's", kit.token(key=kit.OTHER_KEY), "jws_key"),
        (
            "algorithm none",
            other_header(canonical.encode({"alg": "none", "kid": kid, "typ": jws.RECORD})),
            "jws_algorithm",
        ),
        (
            "algorithm HS256",
            other_header(canonical.encode({"alg": "HS256", "kid": kid, "typ": jws.RECORD})),
            "jws_algorithm",
        ),
        ("no algorithm", other_header(canonical.encode({"kid": kid, "typ": jws.RECORD})), "jws_header"),
        (
            "a key in the header",
            other_header(
                canonical.encode({"alg": "EdDSA", "jwk": jws.jwk(kit.OTHER_KEY.public), "kid": kid, "typ": jws.RECORD})
            ),
            "jws_header",
        ),
        (
            "a header in another spelling",
            other_header(f'{{"typ":"carnet-record","kid":"{kid}","alg":"EdDSA"}}'.encode()),
            "jws_header",
        ),
        ("an event's signature", jws.sign(jws.EVENT, {}, kit.OWNER_KEY.secret), "jws_type"),
        ("a signature of other words", f"{header}.{jws.base64url(b'{}')}.{signature}", "jws_signature"),
        ("a wrong signature", f"{header}.{payload}.{wrong}", "jws_signature"),
        ("a short signature", f"{header}.{payload}.{signature[:-6]}", "jws_signature"),
        ("spare bits", f"{header}.{payload}.{signature[:-1]}{last}", "jws_malformed"),
        ("padded", good + "==", "jws_malformed"),
        ("no signature", f"{header}.{payload}.", "jws_malformed"),
        ("two parts", f"{header}.{payload}", "jws_malformed"),
        ("four parts", good + ".AAAA", "jws_malformed"),
        ("a blank", good + " ", "jws_malformed"),
        ("too long", good + "A" * 8192, "jws_malformed"),
        ("a payload that is not canonical", _signed(b'{"v": 1}'), "json_not_canonical"),
        ("a payload with a member twice", _signed(b'{"v":1,"v":1}'), "json_duplicate_key"),
    ]
    return [{"name": name, "outcome": outcome, "record": token} for name, token, outcome in rows]


def _signed(payload: bytes) -> str:
    """A token that the owner really signed, whatever is in it."""
    signed = f"{kit.token().split('.')[0]}.{jws.base64url(payload)}".encode()
    return f"{signed.decode()}.{jws.base64url(_ed25519(kit.OWNER_KEY, signed))}"


def _ed25519(key: SigningKey, data: bytes) -> bytes:
    return sodium.crypto_sign(data, key.secret)[:64]


def record_vectors() -> list[Vector]:
    """Records and their events against the example offer, or one of the vector's own."""
    end_ms = GIVEN_MS + 30 * DAY_MS
    year_ms = GIVEN_MS + 365 * DAY_MS
    other = kit.offer_bytes(retention_days=91)
    position = {"transform": {"cell_m": 1000}}
    cells = kit.offer_bytes(
        items=[item(kit.LATITUDE, "optional", **position), item(kit.LONGITUDE, "optional", **position)]
    )
    rows: list[tuple[str, bytes, str, str]] = [
        ("the example", OFFER, kit.token(), "accepted"),
        ("only what is required", OFFER, kit.token(optional=()), "accepted"),
        ("for as long as the offer allows", OFFER, kit.token(expires_ms=year_ms), "accepted"),
        ("beginning later", OFFER, kit.token(not_before_ms=end_ms - 1), "accepted"),
        ("without reference", OFFER, kit.token(reference=""), "accepted"),
        ("a reference with a line feed", OFFER, kit.token(reference="a\nb"), "record_malformed"),
        ("epoch 0", OFFER, kit.token(epoch=0), "record_malformed"),
        ("nothing chosen", OFFER, kit.token(items=()), "record_malformed"),
        ("the offer was changed afterwards", other, kit.token(), "record_offer"),
        ("another offer's id", OFFER, kit.token(offer_hash=parse_offer(other).hash), "record_offer"),
        ("another recipient", OFFER, kit.token(recipient=format_id("rcp_", b"stranger!!")), "record_offer"),
        ("another tenant", OFFER, kit.token(tenant=format_id("ten_", b"stranger!!")), "record_offer"),
        ("another vehicle", OFFER, kit.token(vehicle=kit.OTHER_VEHICLE), "record_vehicle"),
        ("the epoch before", OFFER, kit.token(epoch=2), "record_epoch"),
        ("an item outside the offer", OFFER, kit.token(items=(0, 4)), "record_items"),
        ("an item twice", OFFER, kit.token(items=(0, 0)), "record_items"),
        ("items not in order", OFFER, kit.token(items=(3, 0)), "record_items"),
        ("the required item is missing", OFFER, kit.token(items=(1, 2)), "record_required"),
        ("the needed condition is missing", OFFER, kit.token(items=(0, 1)), "record_condition"),
        ("a condition that nobody needs", OFFER, kit.token(items=(0, 2)), "record_condition"),
        ("latitude alone", cells, kit.token(cells, optional=(), items=(0,)), "record_cell"),
        ("from before the yes", OFFER, kit.token(not_before_ms=GIVEN_MS - 1), "record_backdated"),
        ("ends as it begins", OFFER, kit.token(expires_ms=GIVEN_MS), "record_validity"),
        ("longer than the offer allows", OFFER, kit.token(expires_ms=year_ms + 1), "record_validity"),
    ]
    return [
        {"name": name, "outcome": outcome, "offer": offer.decode(), "record": token, "events": []}
        for name, offer, token, outcome in rows
    ] + _event_vectors()


def _event_vectors() -> list[Vector]:
    """Records of the example offer with events; accepted ones say state and times."""
    one, paused, long = kit.entries(), kit.entries("pause"), kit.entries(*["suspend", "resume"] * 120, step_ms=1)
    late_ms = GIVEN_MS + 30 * DAY_MS
    unsigned_resume = canonical.encode(
        {"by": "operator", "event": "resume", "prev": entry_hash(paused[-1]), "reason": "trust_me",
         "record": kit.RECORD_ID, "seq": 2, "time_ms": GIVEN_MS + 2 * DAY_MS, "type": "event", "v": 1}
    ).decode()  # fmt: skip
    signed_revoke = jws.sign(
        jws.EVENT,
        {
            "v": 1,
            "type": "event",
            "record": kit.RECORD_ID,
            "seq": 1,
            "event": "revoke",
            "time_ms": 0,
            "prev": "00" * 32,
        },
        kit.OWNER_KEY.secret,
    )
    rows: list[tuple[str, list[str], str]] = [
        ("paused", paused, "accepted"),
        ("paused and resumed", kit.entries("pause", "resume"), "accepted"),
        ("renewed while paused", kit.entries("pause", "renew"), "accepted"),
        ("renewed and withdrawn, silent", kit.entries("renew", "withdraw", "silent"), "accepted"),
        ("suspended by the operator, then withdrawn", kit.entries("suspend", "withdraw"), "accepted"),
        ("revoked", kit.entries("revoke", "silent"), "accepted"),
        ("the vehicle was sold", kit.entries("invalidate"), "accepted"),
        ("terminated by the recipient", kit.entries("terminate"), "accepted"),
        ("withdrawn by a wrong clock, still at once", [*one, kit.event("withdraw", one, 0)], "accepted"),
        ("ended after 240 events", [*long, kit.event("withdraw", long, 0)], "accepted"),
        ("resumed without signature", [*paused, unsigned_resume], "event_author"),
        ("the operator's event, signed", [*one, signed_revoke], "event_author"),
        ("resumed by a stranger", [*paused, kit.event("resume", paused, late_ms - 1, kit.OTHER_KEY)], "jws_key"),
        (
            "the first resume once more",
            [*kit.entries("pause", "resume", "pause"), kit.entries("pause", "resume")[2]],
            "event_seq",
        ),
        ("an event is left out", [*one, kit.entries("pause", "resume")[2]], "event_seq"),
        (
            "after another history",
            [one[0], kit.entries("suspend")[1], kit.entries("pause", "resume")[2]],
            "event_chain",
        ),
        ("of another record", [*one, kit.event("pause", one, record=kit.OTHER_RECORD_ID)], "event_record"),
        (
            "an event that does not exist",
            [*one, kit.event("suspend", one).replace("suspend", "extend")],
            "event_malformed",
        ),
        (
            "an event that only the record is",
            [*one, kit.event("suspend", one).replace("suspend", "give")],
            "event_author",
        ),
        ("a reason in words", [*one, kit.event("suspend", one, reason="Because I can")], "event_malformed"),
        (
            "a blank in the operator's event",
            [*one, kit.event("suspend", one).replace('"v":1', '"v": 1')],
            "json_not_canonical",
        ),
        ("a member twice", [*one, kit.event("suspend", one).replace('"v":1', '"v":1,"v":1')], "json_duplicate_key"),
        ("true as the seq", [*one, kit.event("suspend", one).replace('"seq":1', '"seq":true')], "event_malformed"),
        ("neither token nor JSON", [*one, "pause"], "jws_malformed"),
        ("resumed without pause", [*one, kit.event("resume", one)], "event_state"),
        ("resumed after withdrawal", [*(w := kit.entries("withdraw")), kit.event("resume", w)], "event_state"),
        (
            "renewed after revocation",
            [*(r := kit.entries("revoke")), kit.event("renew", r, expires_ms=late_ms + 1)],
            "event_state",
        ),
        (
            "resumed before it was paused",
            [*paused, kit.event("resume", paused, GIVEN_MS + DAY_MS - 1)],
            "event_backwards",
        ),
        ("resumed after the end", [*paused, kit.event("resume", paused, late_ms)], "event_late"),
        ("renewed after the end", [*one, kit.event("renew", one, late_ms, expires_ms=late_ms + 1)], "event_late"),
        ("renewed to no later", [*one, kit.event("renew", one, expires_ms=late_ms)], "event_validity"),
        (
            "renewed for more than the offer allows",
            [*one, kit.event("renew", one, GIVEN_MS, expires_ms=GIVEN_MS + 365 * DAY_MS + 1)],
            "event_validity",
        ),
        ("renewed without end", [*one, kit.event("renew", one, expires_ms=None)], "event_malformed"),
        ("widened after 240 events", [*long, kit.event("renew", long, expires_ms=late_ms + 1)], "event_excess"),
        ("257 events", [one[0], *["{}"] * 257], "event_excess"),
    ]
    return [
        {"name": name, "outcome": outcome, "offer": OFFER.decode(), "record": entries[0], "events": entries[1:]}
        | ({"grant": GRANTS[name]} if outcome == "accepted" else {})
        for name, entries, outcome in rows
    ]


STATES = {
    "a key and its record": ["suspended", "given"],
    "a removed key and its record": ["suspended", "withdrawn"],
    "removed before added": ["suspended", "withdrawn"],
}
"""Of the grants, in the order of the set."""


def grant_set_vectors() -> list[Vector]:
    """Grant sets after the set of generation 5 in ``before``; ``refused`` are the reasons of what is refused alone."""
    two: dict[str, Any] = {"id": kit.OTHER_RECORD_ID}
    before = kit.grant_set(5, kit.documents("pause"), kit.documents(**two))
    addition = sign_addition(kit.OWNER, kit.SECOND_KEY.public, GIVEN_MS, kit.OWNER_KEY.secret)
    by_second = Documents(OFFER, kit.token(key=kit.SECOND_KEY, id=format_id("rec_", b"record-tri")))
    removal = sign_removal(kit.OWNER, kit.SECOND_KEY.public, GIVEN_MS, kit.OWNER_KEY.secret)
    pinned = sign_removal(kit.OWNER, kit.OWNER_KEY.public, GIVEN_MS, kit.OWNER_KEY.secret)
    by_itself = sign_removal(kit.OWNER, kit.SECOND_KEY.public, GIVEN_MS, kit.SECOND_KEY.secret)
    kept = kit.documents("pause")
    rows: list[tuple[str, GrantSet, str, list[str]]] = [
        ("the same set again", before, "accepted", []),
        ("one more event", kit.grant_set(6, kit.documents("pause", "resume"), kit.documents(**two)), "accepted", []),
        ("a record is missing", kit.grant_set(6, kept), "accepted", []),
        ("a key and its record", kit.grant_set(6, kept, by_second, keys=(addition,)), "accepted", []),
        ("a removed key and its record", kit.grant_set(6, kept, by_second, keys=(addition, removal)), "accepted", []),
        ("removed before added", kit.grant_set(6, kept, by_second, keys=(removal, addition)), "accepted", []),
        ("a pinned key removed", kit.grant_set(6, kept, keys=(pinned,)), "accepted", ["key_pinned"]),
        ("an added key removes", kit.grant_set(6, kept, keys=(addition, by_itself)), "accepted", ["jws_key"]),
        ("no records", kit.grant_set(6), "accepted", []),
        ("a record without its key", kit.grant_set(6, kept, by_second), "accepted", ["jws_key"]),
        (
            "a key of a stranger",
            kit.grant_set(
                6, kept, keys=(sign_addition(kit.OWNER, kit.SECOND_KEY.public, GIVEN_MS, kit.OTHER_KEY.secret),)
            ),
            "accepted",
            ["jws_key"],
        ),
        (
            "a key for another epoch",
            kit.grant_set(
                6,
                kept,
                keys=(
                    sign_addition(replace(kit.OWNER, epoch=2), kit.SECOND_KEY.public, GIVEN_MS, kit.OWNER_KEY.secret),
                ),
            ),
            "accepted",
            ["key_foreign"],
        ),
        (
            "the pause is left out",
            kit.grant_set(6, kit.documents(), kit.documents(**two)),
            "accepted",
            ["events_rolled_back"],
        ),
        ("another history", kit.grant_set(6, kit.documents("suspend")), "accepted", ["events_forked"]),
        ("listed as ended", kit.grant_set(6, kept, ended=((kit.RECORD_ID, GIVEN_MS),)), "accepted", ["record_ended"]),
        (
            "a broken record beside a good one",
            kit.grant_set(6, replace(kept, offer=kit.offer_bytes(retention_days=91)), kit.documents(**two)),
            "accepted",
            ["record_offer"],
        ),
        ("an offer that is no JSON", kit.grant_set(6, replace(kept, offer=b"\xff")), "accepted", ["json_malformed"]),
        ("an older set", kit.grant_set(4, kept), "generation_rolled_back", []),
        ("the same generation, other content", kit.grant_set(5, kept), "generation_forked", []),
        ("another vehicle", kit.grant_set(6, vehicle=kit.OTHER_VEHICLE), "grants_vehicle", []),
        ("the epoch before", kit.grant_set(6, epoch=2), "grants_epoch", []),
    ]
    vectors: list[Vector] = [
        {"name": name, "outcome": outcome, "refused": refused, "set": encode_grant_set(one).decode()}
        | ({"states": STATES[name]} if name in STATES else {})
        for name, one, outcome, refused in rows
    ]
    text = encode_grant_set(kit.grant_set(6)).decode()
    for name, old, new, outcome in [
        ("no keys", '"keys":[],', "", "grants_malformed"),
        ("a generation below zero", '"generation":6', '"generation":-1', "grants_malformed"),
        ("true as the generation", '"generation":6', '"generation":true', "grants_malformed"),
        ("a generation as a float", '"generation":6', '"generation":6.0', "json_number"),
        (
            "an offer that is padded",
            '"records":[]',
            '"records":[{"events":[],"offer":"YQ==","record":"a"}]',
            "grants_malformed",
        ),
    ]:
        assert old in text
        vectors.append({"name": name, "outcome": outcome, "refused": [], "set": text.replace(old, new)})
    twice = replace(kit.grant_set(6), records=(kept, kept))
    vectors.append(
        {
            "name": "a record twice",
            "outcome": "grants_malformed",
            "refused": [],
            "set": encode_grant_set(twice).decode(),
        }
    )
    return vectors


def before_set() -> tuple[str, Floors]:
    """The set that the vehicle already has in the vectors of grant sets, and its floors."""
    before = kit.grant_set(5, kit.documents("pause"), kit.documents(id=kit.OTHER_RECORD_ID))
    return encode_grant_set(before).decode(), compile_set(before, kit.OWNER, Floors()).floors


def make() -> dict[str, str]:
    """File name -> content."""
    owner = encode_owner(kit.OWNER).decode()
    contents: dict[str, Any] = {
        "canonical.json": {"vectors": canonical_vectors()},
        "offers.json": {"vectors": offer_vectors()},
        "tokens.json": {"owner": owner, "vectors": token_vectors()},
        "records.json": {"owner": owner, "vectors": record_vectors()},
        "grantsets.json": {"owner": owner, "before": before_set()[0], "vectors": grant_set_vectors()},
    }
    return {name: json.dumps(content, indent=1, ensure_ascii=True) + "\n" for name, content in contents.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, content in make().items():
        (FOLDER / file_name).write_text(content)
