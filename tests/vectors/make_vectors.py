"""Makes ``envelope.json`` and ``down.json`` beside this file, byte for byte the same every time.

Run it after a change of the format: ``python -m tests.vectors.make_vectors``. A test compares its output with the
files, so that neither changes without the other.
Every vector says in one word what must become of it: ``accepted`` or the reason.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from carnet import hashes, signatures
from carnet.ack import Ack
from carnet.bodies import CheckIn, DestructionReceipt, Gap, GapRange, Health
from carnet.box import Place, Prelude, seal_box
from carnet.down import Refusal, SchemaRequest, seal_down, sign_ack
from carnet.envelope import Header, destroy, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType as Type
from carnet.growth import Growth
from carnet.ids import RECORD, format_id
from carnet.keys import BoxKey, SigningKey, key_id
from carnet.keyset import KeySet, PublicKey
from carnet.note import DestructionReason, Note
from carnet.padding import pad, unpad
from carnet.sealedbox import open_sealed, seal
from tests.carnet.ledger.kit import story

FOLDER = Path(__file__).parent
DEVICE, STREAM, CUT, BOOT = bytes(range(0xA0, 0xB0)), b"stream-1", b"window-1", b"boot-id1"
DEVICE_SEED, RECEIVE_SEED, SEAL_SEED, CLOUD_SEED, OTHER_SEED = (bytes([n]) * 32 for n in range(1, 6))
DEVICE_KEY, OTHER_KEY = SigningKey.from_seed(DEVICE_SEED), SigningKey.from_seed(OTHER_SEED)
CLOUD_KEY = SigningKey.from_seed(CLOUD_SEED)
RECEIVE_KEY, SEAL_KEY, OTHER_SEAL_KEY = (BoxKey.from_seed(seed) for seed in (RECEIVE_SEED, SEAL_SEED, OTHER_SEED))
RECORD_A, RECORD_B = b"record-aaa", b"record-bbb"
SCHEMA_HASH, PREV = b"schema-hash-0001", hashlib.blake2b(b"previous", digest_size=32).digest()
PRELUDE = Prelude(1, 7, BOOT, 3_600_000, 1_760_000_000_000, 20)
DATA = replace(PRELUDE, schema_hash=SCHEMA_HASH, records=(RECORD_A, RECORD_B))
STORY = story()
ORDER = 2**252 + 27742317777372353535851937790883648493
Vector = dict[str, Any]


def header(kind: Type, seq: int, prev: bytes | None = None) -> Header:
    """A header of the example device."""
    return Header(
        kind, DEVICE, STREAM, seq, CUT, DEVICE_KEY.kid, prev if prev is not None else bytes(32) if seq < 2 else PREV
    )


def place(kind: Type, index: int = 0, **other: Any) -> Place:
    """The place of a box in an envelope of the example device."""
    return replace(Place(kind, index, DEVICE, STREAM, CUT, DEVICE_KEY.kid, SEAL_KEY.kid), **other)


def seed(name: str) -> bytes:
    """32 bytes that stand for the randomness of the box called ``name``."""
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


def box(kind: Type, body: bytes, index: int = 0, prelude: Prelude | None = None) -> bytes:
    """A right box."""
    chosen = prelude or (DATA if kind is Type.DATA else PRELUDE)
    return seal_box(chosen, body, SEAL_KEY.public, place(kind, index), seed(f"{kind}{index}{body!r}{chosen}"))


def envelope(kind: Type, seq: int, body: bytes, prelude: Prelude | None = None) -> bytes:
    """A right envelope of one box."""
    return sign_envelope(header(kind, seq), [(SEAL_KEY.kid, box(kind, body, 0, prelude))], DEVICE_KEY)


def three_boxes() -> bytes:
    """A right data envelope of three boxes."""
    boxes = [(SEAL_KEY.kid, box(Type.DATA, bytes([n]) * 100 * (n + 1), n)) for n in range(3)]
    return sign_envelope(header(Type.DATA, 2), boxes, DEVICE_KEY)


def one_destroyed() -> bytes:
    """The same with a note in place of the second."""
    return destroy(three_boxes(), 1, 8, DestructionReason.ENDED, DEVICE_KEY)


def stored_frame(data: bytes) -> bytes:
    """A zstd frame of one raw block, written by hand: no compressor's version shows in the vectors."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def bomb_frame() -> bytes:
    """A zstd frame that inflates to 1,048,577 zeros."""
    blocks = [(131_072 << 3 | 2).to_bytes(3, "little") + b"\0"] * 8 + [(1 << 3 | 3).to_bytes(3, "little") + b"\0"]
    return b"\x28\xb5\x2f\xfd\xa0" + (1_048_577).to_bytes(4, "little") + b"".join(blocks)


def put(data: bytes, at: int, value: bytes) -> bytes:
    """``data`` with other bytes at one place."""
    return data[:at] + value + data[at + len(value) :]


def signed_again(data: bytes, key: SigningKey = DEVICE_KEY, context: bytes = signatures.ENVELOPE) -> bytes:
    """``data`` with a right signature over whatever its header and first box are now."""
    boxed = data[165:]
    manifest = data[:88] + data[153:165] + hashes.digest(hashes.BOX, boxed)
    return data[:88] + key.sign(context, manifest) + data[152:]


def around(box_bytes: bytes, kind: Type = Type.DATA, seq: int = 1) -> bytes:
    """A rightly signed envelope around any box."""
    return sign_envelope(header(kind, seq), [(SEAL_KEY.kid, box_bytes)], DEVICE_KEY)


def around_plain(padded: bytes, kind: Type = Type.DATA, seq: int = 1) -> bytes:
    """A rightly signed envelope around a box with any padded plaintext."""
    return around(seal(padded, SEAL_KEY.public, seed(padded.hex())), kind, seq)


def around_fields(
    kind: Type = Type.DATA, records: tuple[bytes, ...] = (RECORD_A,), count: int = -1, **fields: int | bytes
) -> bytes:
    """A rightly signed envelope whose prelude has any fields, right or wrong."""
    values: dict[str, int | bytes] = {"epoch": 1, "generation": 7, "log_size": 0, "schema": SCHEMA_HASH, "boot": BOOT}
    values |= {
        "boot_ms": 5,
        "wall_ms": 0,
        "around": 0xFFFFFFFF,
        "delivery": 0,
        "count": len(records) if count < 0 else count,
    }
    fixed = struct.pack(">IIQ16s8sQQIBB", *(values | fields).values())
    return around_plain(pad(place(kind).binding() + fixed + b"".join(records)), kind, 2)


def bodies() -> dict[str, tuple[Type, int, bytes]]:
    """A right body of every type but data."""
    record = format_id(RECORD, RECORD_A)
    ranges = (GapRange(3, 9, "evicted", 5120), GapRange(11, 11, "refused", 40))
    return {
        "gap": (Type.GAP, 12, Gap(STREAM, ranges).encode()),
        "check_in": (Type.CHECK_IN_OR_HEALTH, 0, CheckIn(b"n" * 16, 12, PREV, 1, (b"a" * 16, b"b" * 16)).encode()),
        "health": (Type.CHECK_IN_OR_HEALTH, 1, Health({"frames": 7}).encode()),
        "schema": (Type.SCHEMA, 3, stored_frame(b'{"columns":[]}')),
        "destruction_receipt": (
            Type.DESTRUCTION_RECEIPT,
            4,
            DestructionReceipt((record,), 8, DestructionReason.ENDED, 3, 2, 99).encode(),
        ),
    }


def accepted_envelopes() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of envelopes that must be accepted."""
    yield "data_one_box", envelope(Type.DATA, 1, b"body of a batch")
    yield "data_three_boxes", three_boxes()
    yield "data_one_of_three_destroyed", one_destroyed()
    everything = three_boxes()
    for index, reason in enumerate(DestructionReason):
        everything = destroy(everything, index, 9, reason, DEVICE_KEY)
    yield "data_all_destroyed", everything
    yield "data_largest_number", envelope(Type.DATA, 2**53 - 1, b"")
    largest = envelope(Type.DATA, 2**53 - 1, b"")
    yield "data_largest_number_destroyed", destroy(largest, 0, 2**32 - 1, DestructionReason.ERASED, DEVICE_KEY)
    yield "data_fills_smallest_padding", envelope(Type.DATA, 2, b"x" * (255 - 94 - 20))
    yield "data_one_more_than_smallest_padding", envelope(Type.DATA, 2, b"x" * (256 - 94 - 20))
    yield (
        "data_wall_time_unknown",
        envelope(Type.DATA, 2, b"x", replace(DATA, wall_ms=0, wall_uncertainty_ms=0xFFFFFFFF)),
    )
    for name, (kind, seq, body) in bodies().items():
        yield name, envelope(kind, seq, body)


def refused_envelopes() -> Iterator[tuple[str, str, bytes]]:
    """Name, reason and bytes of envelopes that must be refused."""
    yield from _refused_forms()
    yield from _refused_signatures()
    yield from _refused_boxes()
    yield from _refused_bodies()


def _refused_forms() -> Iterator[tuple[str, str, bytes]]:
    data, gap = envelope(Type.DATA, 1, b"body"), envelope(Type.GAP, 2, bodies()["gap"][2])
    yield "empty", "envelope_size", b""
    yield "shorter_than_its_table", "envelope_size", data[:164]
    yield "longer_than_the_limit", "envelope_size", data.ljust(262_145, b"\0")
    yield "other_magic", "magic_unknown", put(data, 0, b"CNT2")
    yield "suite_0", "suite_unknown", signed_again(put(data, 4, b"\0"))
    yield "suite_2", "suite_unknown", signed_again(put(data, 4, b"\x02"))
    yield "type_0", "type_unknown", signed_again(put(data, 5, b"\0"))
    yield "type_7", "type_unknown", signed_again(put(data, 5, b"\x07"))
    yield "key_change", "key_change_unsupported", signed_again(put(data, 5, b"\x04"))
    yield "a_flag", "flags_unknown", signed_again(put(data, 6, b"\x01"))
    yield "no_box", "box_count", put(data, 7, b"\0")
    yield "33_boxes", "box_count", put(data, 7, b"\x21")
    yield "two_boxes_in_a_gap", "box_count", put(gap, 7, b"\x02")
    yield "data_without_number", "seq_range", signed_again(put(data, 32, bytes(8)))
    yield "number_2_to_53", "seq_range", signed_again(put(put(data, 32, (2**53).to_bytes(8, "big")), 56, PREV))
    yield "number_all_ones", "seq_range", signed_again(put(put(data, 32, b"\xff" * 8), 56, PREV))
    yield "first_with_predecessor", "prev_rule", signed_again(put(data, 56, PREV))
    yield "second_without_predecessor", "prev_rule", signed_again(put(data, 32, (2).to_bytes(8, "big")))
    yield "table_longer_than_envelope", "envelope_length", put(data, 7, b"\x20")[:200]
    yield "last_byte_missing", "envelope_length", data[:-1]
    yield "one_byte_more", "envelope_length", signed_again(data + b"\0")
    yield "box_of_no_padded_length", "box_size", put(data, 161, (48 + 257 + 64).to_bytes(4, "big"))
    yield "box_of_no_bytes", "box_size", put(data, 161, bytes(4))
    yield "box_size_all_ones", "box_size", put(data, 161, b"\xff" * 4)
    yield "state_2", "entry_state", put(data, 152, b"\x02")
    yield "note_in_a_gap", "entry_state", put(gap, 152, b"\x01")
    yield "too_long_before_destruction", "envelope_length", _too_long_before_destruction()


def _too_long_before_destruction() -> bytes:
    entries = b"".join(b"\x01" + SEAL_KEY.kid + (48 + 131_072).to_bytes(4, "big") for _ in range(2))
    notes = [Note(n, DestructionReason.ENDED, 8, seed(str(n))).signed_by(DEVICE_KEY, DEVICE, STREAM, 1) for n in (0, 1)]
    return put(envelope(Type.DATA, 1, b""), 7, b"\x02")[:152] + entries + b"".join(note.encode() for note in notes)


def _refused_signatures() -> Iterator[tuple[str, str, bytes]]:
    data, other = envelope(Type.DATA, 1, b"body"), OTHER_KEY
    note = 152 + 3 * 13 + len(box(Type.DATA, b"\0" * 100, 0))
    destroyed = one_destroyed()
    yield "signed_by_another_device", "device_kid_differs", signed_again(put(data, 48, other.kid), other)
    yield "signed_with_another_key", "signature_wrong", signed_again(data, other)
    yield "signed_as_a_note", "signature_wrong", signed_again(data, context=signatures.NOTE)
    s = int.from_bytes(data[120:152], "little") + ORDER
    yield "s_plus_the_order", "signature_wrong", put(data, 120, s.to_bytes(32, "little"))
    yield "other_number", "signature_wrong", put(put(data, 32, (2).to_bytes(8, "big")), 56, PREV)
    yield "other_box_key_id", "signature_wrong", put(data, 153, OTHER_SEAL_KEY.kid)
    yield "box_changed", "signature_wrong", put(data, 300, bytes([data[300] ^ 1]))
    yield "note_for_another_index", "note_malformed", put(destroyed, note, b"\0")
    yield "note_without_reason", "note_malformed", put(destroyed, note + 1, b"\0")
    yield "note_filling_not_zero", "note_malformed", put(destroyed, note + 3, b"\x01")
    yield "note_of_another_generation", "note_signature_wrong", put(destroyed, note + 7, b"\x09")
    yield "note_with_another_hash", "signature_wrong", put(destroyed, note + 8, bytes(32))
    for name, key, number in (("another_number", DEVICE_KEY, 3), ("another_device", OTHER_KEY, 2)):
        box_hash = destroyed[note + 8 : note + 40]
        forged = Note(1, DestructionReason.ENDED, 8, box_hash).signed_by(key, DEVICE, STREAM, number)
        yield f"note_signed_for_{name}", "note_signature_wrong", put(destroyed, note, forged.encode())


def _refused_boxes() -> Iterator[tuple[str, str, bytes]]:
    stolen = {
        "device": place(Type.DATA, device=bytes(16)),
        "stream": place(Type.DATA, stream=bytes(8)),
        "cut": place(Type.DATA, cut=bytes(8)),
        "index": place(Type.DATA, 1),
        "type": place(Type.SCHEMA),
        "device_key": place(Type.DATA, device_kid=bytes(8)),
        "box_key": place(Type.DATA, box_kid=bytes(8)),
    }
    for name, other in stolen.items():
        prelude = DATA if other.type is Type.DATA else PRELUDE
        yield (
            f"box_of_another_{name}",
            "binding_differs",
            around(seal_box(prelude, b"", SEAL_KEY.public, other, seed(name))),
        )
    sealed_elsewhere = seal_box(DATA, b"", OTHER_SEAL_KEY.public, place(Type.DATA), seed("elsewhere"))
    yield "sealed_to_another_key", "box_does_not_open", around(sealed_elsewhere)
    yield "ephemeral_key_of_small_order", "box_does_not_open", around(put(box(Type.DATA, b""), 0, bytes(32)))
    named = sign_envelope(header(Type.DATA, 1), [(OTHER_SEAL_KEY.kid, sealed_elsewhere)], DEVICE_KEY)
    yield "names_a_key_that_is_not_at_hand", "box_key_differs", named
    plain = place(Type.DATA).binding() + bytes(70)
    yield "padding_too_long", "padding_wrong", around_plain((plain + b"\x80").ljust(272, b"\0"))
    yield "padding_without_mark", "padding_wrong", around_plain(plain.ljust(256, b"\0"))
    yield "padding_of_zeros_only", "padding_wrong", around_plain(bytes(256))
    yield "padding_with_other_mark", "padding_wrong", around_plain((plain + b"\x81").ljust(256, b"\0"))
    yield "plaintext_without_binding", "binding_differs", around_plain(pad(b""))
    yield "prelude_cut_off", "prelude_short", around_plain(pad(plain[:93]))
    yield "records_cut_off", "prelude_short", around_fields(count=2)
    yield "boot_time_2_to_53", "prelude_number", around_fields(boot_ms=2**53)
    yield "log_size_2_to_53", "prelude_number", around_fields(log_size=2**53)
    yield "class_3", "prelude_class", around_fields(delivery=3)
    yield "wall_time_without_uncertainty", "prelude_wall_time", around_fields(wall_ms=1)
    yield "uncertainty_without_wall_time", "prelude_wall_time", around_fields(around=5)
    yield "records_descending", "prelude_records", around_fields(records=(RECORD_B, RECORD_A))
    yield "record_twice", "prelude_records", around_fields(records=(RECORD_A, RECORD_A))
    yield "data_without_record", "prelude_data", around_fields(records=())
    yield "data_without_schema", "prelude_data", around_fields(schema=bytes(16))
    yield "65_records", "prelude_data", around_fields(records=tuple(n.to_bytes(10, "big") for n in range(65)))
    yield "gap_with_record", "prelude_not_data", around_fields(Type.GAP, schema=bytes(16))
    yield "gap_with_schema", "prelude_not_data", around_fields(Type.GAP, records=())
    yield "gap_with_class", "prelude_not_data", around_fields(Type.GAP, records=(), schema=bytes(16), delivery=1)


def _refused_bodies() -> Iterator[tuple[str, str, bytes]]:
    gap, check_in, health, schema, receipt = (body for _, _, body in bodies().values())
    no_records = receipt[: receipt.index(b"[") + 1] + receipt[receipt.index(b"]") :]
    wrong = [
        ("gap_not_json", Type.GAP, "json_malformed", b"{"),
        ("gap_with_a_key_twice", Type.GAP, "json_duplicate_key", b'{"ranges":[],"ranges":[]}'),
        ("gap_with_a_float", Type.GAP, "json_number", gap.replace(b"5120", b"5120.0")),
        ("gap_with_white_space", Type.GAP, "json_not_canonical", gap + b"\n"),
        ("gap_too_long", Type.GAP, "json_size", gap.ljust(65_537)),
        ("gap_without_range", Type.GAP, "body_malformed", b'{"ranges":[],"stream":"73747265616d2d31"}'),
        ("gap_with_another_member", Type.GAP, "body_malformed", gap[:-1] + b',"x":0}'),
        ("gap_backwards", Type.GAP, "body_malformed", gap.replace(b"3,9", b"9,3")),
        ("gap_overlapping", Type.GAP, "body_malformed", gap.replace(b"11,11", b"9,11")),
        ("gap_for_unknown_reason", Type.GAP, "body_malformed", gap.replace(b"evicted", b"bored")),
        ("gap_with_true_for_a_number", Type.GAP, "body_malformed", gap.replace(b"5120", b"true")),
        (
            "check_in_with_empty_nonce",
            Type.CHECK_IN_OR_HEALTH,
            "body_malformed",
            check_in.replace(b"6e" * 16, b"00" * 16),
        ),
        ("check_in_head_without_number", Type.CHECK_IN_OR_HEALTH, "body_malformed", check_in.replace(b":12,", b":0,")),
        (
            "check_in_schemas_descending",
            Type.CHECK_IN_OR_HEALTH,
            "body_malformed",
            check_in.replace(b"61" * 16, b"63" * 16),
        ),
        ("check_in_in_unknown_mode", Type.CHECK_IN_OR_HEALTH, "body_malformed", check_in.replace(b"normal", b"sports")),
        ("health_below_zero", Type.CHECK_IN_OR_HEALTH, "body_malformed", health.replace(b"7", b"-7")),
        ("health_with_capitals", Type.CHECK_IN_OR_HEALTH, "body_malformed", health.replace(b"frames", b"FRAMES")),
        ("receipt_without_record", Type.DESTRUCTION_RECEIPT, "body_malformed", no_records),
        (
            "receipt_with_an_offer_for_a_record",
            Type.DESTRUCTION_RECEIPT,
            "id_malformed",
            receipt.replace(b'"rec_', b'"off_'),
        ),
        ("schema_not_compressed", Type.SCHEMA, "frame_malformed", b'{"columns":[]}'),
        ("schema_truncated", Type.SCHEMA, "frame_malformed", schema[:-1]),
        ("schema_with_trailing_byte", Type.SCHEMA, "frame_trailing", schema + b"\0"),
        ("schema_that_is_a_bomb", Type.SCHEMA, "frame_too_large", bomb_frame()),
    ]
    for name, kind, reason, body in wrong:
        seq = 0 if name.startswith("check_in") else 2
        yield name, reason, envelope(kind, seq, body)


def key_set() -> KeySet:
    """Two sealing keys, one signing key."""
    seals = (PublicKey.of(SEAL_KEY.public), PublicKey.of(OTHER_SEAL_KEY.public, current=False))
    return KeySet(2, tuple(sorted(seals, key=lambda key: key.kid)), (PublicKey.of(CLOUD_KEY.public),))


def accepted_downs() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of down messages that must be accepted."""
    yield "ack", sign_ack(Ack(STREAM, 12, PREV, 1_760_000_000_500, b"n" * 16, ((1, 12), (14, 14))), DEVICE, CLOUD_KEY)
    yield "ack_of_nothing", sign_ack(Ack(STREAM, 0, bytes(32), 1), DEVICE, CLOUD_KEY)
    ranges = tuple((n, n) for n in range(1, 129, 2))
    yield "ack_of_64_ranges", sign_ack(Ack(STREAM, 0, bytes(32), 1, b"n" * 16, ranges), DEVICE, CLOUD_KEY)
    yield "grant_set", down_plain(3, stored_frame(b'{"generation":8,"records":[]}'))
    for name, message in sealed_messages().items():
        yield name, seal_down(message, DEVICE, CLOUD_KEY, RECEIVE_KEY.public, seed(name))


def sealed_messages() -> dict[str, Refusal | KeySet | SchemaRequest | Growth]:
    """A right message of each sealed type that is not compressed."""
    return {
        "refusal": Refusal(STREAM, 5, PREV, "body_malformed"),
        "key_set": key_set(),
        "schema_request": SchemaRequest((b"a" * 16, b"b" * 16)),
        "growth": Growth(3, STORY.consistency(3, 8), STORY.checkpoint()),
    }


def down(kind: int, content: bytes, key: SigningKey = CLOUD_KEY, suite: int = 1, device: bytes = DEVICE) -> bytes:
    """A rightly signed message around any content."""
    data = bytes([kind, suite]) + device + key.kid + content
    return data + key.sign(signatures.DOWN, data)


def down_plain(kind: int, body: bytes, bound_to: int | None = None) -> bytes:
    """A rightly sealed and signed message around any body."""
    head = bytes([bound_to if bound_to is not None else kind, 1]) + DEVICE + CLOUD_KEY.kid
    plain = pad(hashes.digest(hashes.DOWN, head + RECEIVE_KEY.kid) + body)
    return down(kind, seal(plain, RECEIVE_KEY.public, seed(body.hex())))


def refused_downs() -> Iterator[tuple[str, str, bytes]]:
    """Name, reason and bytes of down messages that must be refused."""
    ack = dict(accepted_downs())["ack"]
    content = ack[26:-64]
    yield "empty", "down_size", b""
    yield "shorter_than_its_signature", "down_size", ack[:89]
    yield "longer_than_the_limit", "down_size", ack.ljust(262_145, b"\0")
    yield "suite_2", "suite_unknown", down(1, content, suite=2)
    yield "type_0", "down_type_unknown", down(0, content)
    yield "type_7", "down_type_unknown", down(7, content)
    yield "for_another_device", "down_other_device", down(1, content, device=bytes(16))
    yield "signed_by_an_unknown_key", "cloud_key_unknown", down(1, content, OTHER_KEY)
    yield "signed_by_the_device", "cloud_key_unknown", down(1, content, DEVICE_KEY)
    yield "unknown_key_under_a_known_id", "signature_wrong", put(down(1, content, OTHER_KEY), 18, CLOUD_KEY.kid)
    yield "signed_as_an_envelope", "signature_wrong", ack[:-64] + CLOUD_KEY.sign(signatures.ENVELOPE, ack[:-64])
    yield "one_number_changed", "signature_wrong", put(ack, 41, b"\xff")
    yield "last_byte_missing", "signature_wrong", ack[:-1]
    yield "ack_cut_off", "ack_length", down(1, content[:100])
    yield "ack_with_one_range_too_few", "ack_length", down(1, content[:-16])
    yield "ack_with_trailing_byte", "ack_length", down(1, content + b"\0")
    yield "ack_watermark_all_ones", "ack_numbers", down(1, put(content, 8, b"\xff" * 8))
    yield "ack_without_server_time", "ack_numbers", down(1, put(content, 64, bytes(8)))
    yield "ack_head_without_watermark", "ack_numbers", down(1, put(content, 8, bytes(8)))
    yield "ack_log_root_without_size", "ack_numbers", down(1, put(content, 80, PREV))
    yield "ack_range_from_zero", "ack_ranges", down(1, put(content, 113, bytes(8)))
    yield "ack_range_backwards", "ack_ranges", down(1, put(content, 121, bytes(8)))
    yield "ack_ranges_without_hole", "ack_ranges", down(1, put(content, 129, (13).to_bytes(8, "big")))
    many = b"".join(struct.pack(">QQ", n, n) for n in range(1, 131, 2))
    yield "ack_of_65_ranges", "ack_ranges", down(1, put(content, 112, b"\x41")[:113] + many)
    refusal = sealed_messages()["refusal"].encode()
    yield "refusal_bound_as_a_grant_set", "binding_differs", down_plain(2, refusal, bound_to=3)
    yield "refusal_not_sealed", "box_does_not_open", down(2, refusal.ljust(304))
    yield "refusal_too_short_for_a_box", "box_does_not_open", down(2, b"")
    yield "refusal_padded_wrongly", "padding_wrong", down(2, seal(bytes(256), RECEIVE_KEY.public, seed("zeros")))
    yield "refusal_for_no_reason", "body_malformed", down_plain(2, refusal.replace(b"body_malformed", b""))
    yield "refusal_not_canonical", "json_not_canonical", down_plain(2, refusal + b" ")
    yield "grant_set_not_compressed", "frame_malformed", down_plain(3, b'{"generation":8}')
    yield "grant_set_that_is_a_bomb", "frame_too_large", down_plain(3, bomb_frame())
    yield from _refused_key_sets()
    growth = sealed_messages()["growth"].encode()
    yield "growth_from_nothing", "body_malformed", down_plain(6, growth.replace(b'"first":3', b'"first":0'))
    yield "growth_to_no_larger_log", "body_malformed", down_plain(6, growth.replace(b'"first":3', b'"first":8'))
    yield "growth_without_a_proof", "body_malformed", down_plain(6, Growth(3, (), STORY.checkpoint()).encode())
    yield "growth_of_half_a_hash", "body_malformed", down_plain(6, growth.replace(b'"proof":"', b'"proof":"ab'))
    long = Growth(3, (bytes(32),) * 107, STORY.checkpoint())
    yield "growth_of_107_hashes", "body_malformed", down_plain(6, long.encode())
    yield "growth_without_a_note", "body_malformed", down_plain(6, Growth(3, (bytes(32),), "8").encode())
    yield "growth_not_canonical", "json_not_canonical", down_plain(6, growth + b" ")
    yield "growth_bound_as_a_key_set", "binding_differs", down_plain(6, growth, bound_to=4)
    yield "request_for_nothing", "body_malformed", down_plain(5, b'{"hashes":[]}')
    yield "request_descending", "body_malformed", down_plain(5, SchemaRequest((b"b" * 16, b"a" * 16)).encode())


def _refused_key_sets() -> Iterator[tuple[str, str, bytes]]:
    keys = key_set().encode()
    yield "key_set_version_0", "body_malformed", down_plain(4, keys.replace(b'"version":2', b'"version":0'))
    yield "key_set_without_current", "body_malformed", down_plain(4, keys.replace(b"current", b"retiring"))
    yield "key_set_with_two_current", "body_malformed", down_plain(4, keys.replace(b"retiring", b"current"))
    yield (
        "key_set_id_of_another_key",
        "body_malformed",
        down_plain(4, keys.replace(CLOUD_KEY.kid.hex().encode(), b"0" * 16)),
    )
    weak, real = bytes(32), OTHER_SEAL_KEY
    wrong = keys.replace(real.public.hex().encode(), weak.hex().encode())
    kid = key_id(weak).hex().encode()
    ordered = json.loads(wrong.replace(real.kid.hex().encode(), kid))
    ordered["seal"].sort(key=lambda key: key["kid"])
    yield "key_set_with_weak_key", "key_weak", down_plain(4, json.dumps(ordered, separators=(",", ":")).encode())


def envelope_vectors() -> list[Vector]:
    """All of ``envelope.json``."""
    found = []
    for name, data in accepted_envelopes():
        parsed = parse_envelope(data)
        expected = {"seq": parsed.header.seq, "manifest_hash": parsed.manifest_hash.hex()}
        found.append({"name": name, "outcome": "accepted", **expected, "bytes": data.hex()})
    return found + [_refused(*each) for each in refused_envelopes()]


def down_vectors() -> list[Vector]:
    """All of ``down.json``."""
    accepted = [{"name": name, "outcome": "accepted", "bytes": data.hex()} for name, data in accepted_downs()]
    return accepted + [_refused(*each) for each in refused_downs()]


def _refused(name: str, reason: str, data: bytes) -> Vector:
    # only what lies beyond a limit is that long, and there every byte after the first few is zero
    cut = data.rstrip(b"\0") if len(data) > 262_144 else data
    return {"name": name, "outcome": reason, "bytes": cut.hex(), "zeros": len(data) - len(cut)}


def worked_example() -> str:
    """The envelope called ``health`` and the plaintext of its box, field by field,
    as ``docs/wire-format.md`` shows it.
    """
    data = dict(accepted_envelopes())["health"]
    outer = [4, 1, 1, 1, 1, 16, 8, 8, 8, 8, 32, 64, 1, 8, 4]
    outer_names = "magic;suite;type;flags;box count;device;stream;seq;cut;device key id;prev;signature"
    plain = unpad(open_sealed(data[165:], SEAL_KEY))
    inner = [32, 4, 4, 8, 16, 8, 8, 8, 4, 1, 1, len(plain) - 94]
    inner_names = (
        "binding;epoch;generation;log size;schema hash;boot id;boot time;wall time;wall uncertainty;class;"
        "record count;body"
    )
    return "".join(
        [
            f"```\nenvelope, {len(data)} bytes\n",
            *_dump(data, [*outer, len(data) - 165], [*outer_names.split(";"), "state", "box key id", "size", "box"]),
            f"\nplaintext of the box, {len(plain)} bytes before padding\n",
            *_dump(plain, inner, inner_names.split(";")),
            f"\nbody as text\n{plain[94:].decode()}\n",
            f"\nmanifest hash\n{parse_envelope(data).manifest_hash.hex()}\n```\n",
        ]
    )


def _dump(data: bytes, sizes: list[int], names: list[str]) -> Iterator[str]:
    """Lines of offset, at most 32 bytes, and the name of the field where it begins."""
    at = 0
    for size, name in zip(sizes, names, strict=True):
        for start in range(at, at + size, 32):
            label = f"  {name}" if start == at else ""
            yield f"{start:4}  {data[start : min(start + 32, at + size)].hex()}{label}\n"
        at += size


def documents() -> dict[str, str]:
    """File name -> content."""
    seeds = {
        "device_sign": DEVICE_SEED,
        "device_receive": RECEIVE_SEED,
        "cloud_seal": SEAL_SEED,
        "cloud_sign": CLOUD_SEED,
    }
    common = {"device": DEVICE.hex(), "seeds": {name: value.hex() for name, value in seeds.items()}}
    return {
        "envelope.json": json.dumps({**common, "vectors": envelope_vectors()}, indent=1) + "\n",
        "down.json": json.dumps({**common, "vectors": down_vectors()}, indent=1) + "\n",
    }


if __name__ == "__main__":
    for file_name, content in documents().items():
        (FOLDER / file_name).write_text(content)
    page = FOLDER.parent.parent / "docs" / "wire-format.md"
    before, _, rest = page.read_text().partition("<!-- example begins -->\n")
    after = rest.partition("<!-- example ends -->")[2]
    page.write_text(f"{before}<!-- example begins -->\n{worked_example()}<!-- example ends -->{after}")
