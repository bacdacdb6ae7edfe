"""Attacks on envelope, box, note and acknowledgement. Each test is named after what the attacker tries.

Numbers W… are those of the list of attacks. What needs the receiver's memory (replay table, forks, revoked keys) is
tried in full beside the receiver; here is what the bytes alone must give it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace

import pytest

from carnet import hashes, signatures
from carnet.ack import Ack
from carnet.bodies import SchemaBody
from carnet.box import Place, Prelude, open_box, open_evidence, seal_box
from carnet.compression import compress
from carnet.down import SchemaRequest, open_down, seal_down, sign_ack
from carnet.envelope import NO_PREVIOUS, Envelope, Header, destroy, parse_envelope, sign_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError, LocalProtocolError, OpenError, RemoteError, SignatureError
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet.note import DestructionReason, Note
from carnet.padding import pad
from carnet.sealedbox import open_sealed, seal, shared_key

VICTIM, THIEF = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
VICTIM_DEVICE, THIEF_DEVICE = b"victim-device-16", b"thieves-device16"
CLOUD, RETIRED = BoxKey.from_seed(b"\x03" * 32), BoxKey.from_seed(b"\x04" * 32)
CLOUD_SIGN = SigningKey.from_seed(b"\x05" * 32)
RECEIVE = BoxKey.from_seed(b"\x06" * 32)
STREAM, CUT = b"stream-1", b"window-1"
PRELUDE = Prelude(1, 2, b"boot-id1", 3, schema_hash=b"h" * 16, records=(b"record-aaa",))
ORDER = 2**252 + 27742317777372353535851937790883648493


def header(key: SigningKey = VICTIM, device: bytes = VICTIM_DEVICE, seq: int = 1) -> Header:
    """A data header; later numbers name some predecessor."""
    prev = NO_PREVIOUS if seq < 2 else b"p" * 32
    return Header(EnvelopeType.DATA, device, STREAM, seq, CUT, key.kid, prev)


def boxed(body: bytes = b"body", index: int = 0, to: BoxKey = CLOUD) -> tuple[bytes, bytes]:
    """The victim's box and the id of the key it is sealed to."""
    place = Place(EnvelopeType.DATA, index, VICTIM_DEVICE, STREAM, CUT, VICTIM.kid, to.kid)
    return to.kid, seal_box(PRELUDE, body, to.public, place, bytes([index]) * 32)


def signed(*boxes: tuple[bytes, bytes], seq: int = 1) -> bytes:
    """The victim's envelope."""
    return sign_envelope(header(seq=seq), boxes or [boxed()], VICTIM)


def receive(data: bytes, public: bytes = VICTIM.public, keys: tuple[BoxKey, ...] = (CLOUD,)) -> Envelope:
    """All that the bytes have to pass, in the receiver's order."""
    envelope = parse_envelope(data)
    verify(envelope, public)
    by_id = {key.kid: key for key in keys}
    for index, part in enumerate(envelope.parts):
        if part.box is not None:
            open_box(part.box, by_id.get(part.kid, CLOUD), envelope.place(index))
    return envelope


def refused(data: bytes) -> str:
    """The reason with which the receiver refuses the victim's altered bytes."""
    with pytest.raises(RemoteError) as refusal:
        receive(data)
    return refusal.value.reason


def downed(data: bytes) -> str:
    """The reason with which the victim refuses an altered down message."""
    with pytest.raises(RemoteError) as refusal:
        open_down(data, VICTIM_DEVICE, {CLOUD_SIGN.kid: CLOUD_SIGN.public}, RECEIVE)
    return refusal.value.reason


def half_destroyed() -> bytes:
    """A box, and a note in place of another."""
    return destroy(signed(boxed(), boxed(index=1)), 1, 8, DestructionReason.ENDED, VICTIM)


ACK = Ack(STREAM, 2, b"h" * 32, 5, b"n" * 16, ((1, 2),))


@pytest.mark.parametrize("data", [signed(), half_destroyed()], ids=["boxes", "box and note"])
def test_w1_flip_a_bit_of_every_byte(data: bytes) -> None:
    """No byte of an envelope can change unnoticed, and no change makes anything but a refusal."""
    receive(data)
    for at, bit in itertools.product(range(len(data)), (0x01, 0x80)):
        refused(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])


@pytest.mark.parametrize("kind", ["ack", "sealed"])
def test_w1_flip_a_bit_of_every_byte_of_a_down_message(kind: str) -> None:
    """The same towards the car."""
    request = seal_down(SchemaRequest((b"a" * 16,)), VICTIM_DEVICE, CLOUD_SIGN, RECEIVE.public, bytes(32))
    data = sign_ack(ACK, VICTIM_DEVICE, CLOUD_SIGN) if kind == "ack" else request
    for at in range(len(data)):
        downed(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


def test_w2_truncate_or_extend_at_every_length() -> None:
    """Neither a shorter nor a longer message is accepted."""
    for data in (signed(), half_destroyed()):
        for length in range(len(data)):
            refused(data[:length])
        for more in (b"\0", b"\x80", bytes(13), bytes(104), data):
            refused(data + more)
    ack = sign_ack(ACK, VICTIM_DEVICE, CLOUD_SIGN)
    for length in range(len(ack)):
        downed(ack[:length])
    assert downed(ack + b"\0") == "signature_wrong"


def test_w4_sign_a_stolen_box_as_ones_own() -> None:
    """The signature is right, the box is bound to its true sender."""
    stolen = sign_envelope(header(THIEF, THIEF_DEVICE), [boxed()], THIEF)
    with pytest.raises(OpenError) as refusal:
        receive(stolen, THIEF.public)
    assert refusal.value.reason == "binding_differs"


def test_w4_claim_the_victims_id_with_ones_own_key() -> None:
    """The key at hand for the victim has another id; under the victim's key id the signature is wrong."""
    assert refused(sign_envelope(header(THIEF, VICTIM_DEVICE), [boxed()], THIEF)) == "device_kid_differs"
    data = signed()
    forged = THIEF.sign(signatures.ENVELOPE, parse_envelope(data).manifest)
    assert refused(data[:88] + forged + data[152:]) == "signature_wrong"


def test_w4_move_a_box_within_or_between_envelopes_of_one_device() -> None:
    """Swapped, doubled, or taken from another window: a box fits its own place only."""
    first, second = boxed(), boxed(b"other", 1)
    assert refused(signed(second, first)) == "binding_differs"
    assert refused(signed(first, first)) == "binding_differs"
    other_window = sign_envelope(replace(header(), cut=b"window-2"), [first], VICTIM)
    assert refused(other_window) == "binding_differs"


def test_w5_seal_the_plaintext_again_for_another_recipient() -> None:
    """A recipient that passes on what it opened can not make it look sealed and signed for somebody else."""
    kid, box = boxed()
    again = seal(open_sealed(box, CLOUD), RETIRED.public, bytes(32))
    data = signed((kid, box))
    swapped = data[:153] + RETIRED.kid + data[161:165] + again
    with pytest.raises(SignatureError):
        receive(swapped, keys=(RETIRED,))
    relabelled = sign_envelope(header(), [(RETIRED.kid, again)], VICTIM)
    with pytest.raises(OpenError) as refusal:
        receive(relabelled, keys=(RETIRED,))
    assert refusal.value.reason == "binding_differs"


def test_w5_one_box_that_opens_to_two_contents() -> None:
    """A lying sender needs two keys with one binding:
    with any other key the first 32 bytes differ, so evidence is one-valued.
    """
    kid, box = boxed()
    envelope = receive(signed((kid, box)))
    place = envelope.place(0)
    true_key = shared_key(box, CLOUD)
    assert open_evidence(box, CLOUD.public, true_key, place)[1] == b"body"
    for n in range(50):
        with pytest.raises(OpenError):
            open_evidence(box, CLOUD.public, hashes.digest(hashes.BOX, bytes([n])), place)


def test_w6_another_content_under_the_same_number() -> None:
    """Both verify and their manifest hashes differ: two signatures under one number are the proof of a clone."""
    one, other = receive(signed(boxed(b"one"))), receive(signed(boxed(b"two")))
    assert (one.header.stream, one.header.seq) == (other.header.stream, other.header.seq)
    assert one.manifest_hash != other.manifest_hash


def test_w6_fewer_boxes_are_no_other_content() -> None:
    """The cloud sees a duplicate, not a clone, when boxes were destroyed between two sendings."""
    assert receive(signed(boxed(), boxed(index=1))).manifest_hash == receive(half_destroyed()).manifest_hash


def test_w7_a_fork_seen_out_of_order() -> None:
    """Each successor names its own predecessor's manifest hash, so a fork shows whichever side comes first."""
    ours, clones = receive(signed(boxed(b"ours"))), receive(signed(boxed(b"clones")))
    after_clone = receive(sign_envelope(replace(header(seq=2), prev=clones.manifest_hash), [boxed()], VICTIM))
    assert after_clone.header.prev == clones.manifest_hash != ours.manifest_hash


@pytest.mark.parametrize(("at", "reason"), [(0, "magic_unknown"), (4, "suite_unknown"), (6, "flags_unknown")])
def test_w10_every_unknown_value_of_a_fixed_field(at: int, reason: str) -> None:
    """Even rightly signed, no other value of magic, suite or flags passes."""
    data = signed()
    for value in set(range(256)) - {data[at]}:
        assert refused(data[:at] + bytes([value]) + data[at + 1 :]) == reason


def test_w10_every_unknown_type_and_state() -> None:
    """Types 0 and from 7, the reserved 4, states other than box and note."""
    data = signed()
    for value in range(256):
        if value not in {1, 2, 3, 4, 5, 6}:
            assert refused(data[:5] + bytes([value]) + data[6:]) == "type_unknown"
        if value > 1:
            assert refused(data[:152] + bytes([value]) + data[153:]) == "entry_state"
    assert refused(data[:5] + b"\x04" + data[6:]) == "key_change_unsupported"


def test_w10_relabel_a_signed_envelope_as_another_type() -> None:
    """The signature covers the type."""
    data = signed()
    assert refused(data[:5] + b"\x05" + data[6:]) == "signature_wrong"


def test_w11_s_plus_the_order_and_keys_of_small_order() -> None:
    """No second signature for one content, no key under which anything verifies, no box to everybody."""
    data = signed()
    s = (int.from_bytes(data[120:152], "little") + ORDER).to_bytes(32, "little")
    assert refused(data[:120] + s + data[152:]) == "signature_wrong"
    for small in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
        with pytest.raises(SignatureError):
            signatures.verify(signatures.ENVELOPE, b"", small + bytes(32), small)
    for small in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(LocalProtocolError):
            seal(b"", small, bytes(32))
        with pytest.raises(LocalProtocolError, match="small order"):
            KeySet(1, (PublicKey.of(small),), (PublicKey.of(CLOUD_SIGN.public),)).encode()
        _, box = boxed()
        assert refused(signed((CLOUD.kid, small + box[32:]))) == "box_does_not_open"


def test_w12_a_signature_from_another_context() -> None:
    """What the device or the cloud signed for one purpose is worth nothing for another."""
    data = signed()
    manifest = parse_envelope(data).manifest
    for context in set(signatures.CONTEXTS) - {signatures.ENVELOPE}:
        assert refused(data[:88] + VICTIM.sign(context, manifest) + data[152:]) == "signature_wrong"
    ack = sign_ack(ACK, VICTIM_DEVICE, CLOUD_SIGN)
    assert refused(ack) == "magic_unknown"
    assert downed(data) in {"suite_unknown", "down_type_unknown"}
    for context in set(signatures.CONTEXTS) - {signatures.DOWN}:
        assert downed(ack[:-64] + CLOUD_SIGN.sign(context, ack[:-64])) == "signature_wrong"


def test_w13_a_retired_key_opens_what_was_sealed_to_it_and_nothing_else() -> None:
    """The entry names the key; the cloud takes that one or none, and never tries others."""
    data = signed(boxed(to=RETIRED))
    receive(data, keys=(CLOUD, RETIRED))
    assert refused(data) == "box_key_differs"


def test_w15_bombs_wrong_lengths_and_trailing_bytes_in_a_compressed_body() -> None:
    """The bound is the receiver's; the frame's own claims count for nothing."""
    bombs = {
        "frame_malformed": [compress(bytes(100_000_000)), b"", compress(b"schema")[:-1]],
        "frame_too_large": [compress(bytes(1_048_577))],
        "frame_trailing": [compress(b"schema") + b"\0"],
    }
    for reason, bodies in bombs.items():
        for body in bodies:
            with pytest.raises(FormatError) as refusal:
                SchemaBody.parse(body)
            assert refusal.value.reason == reason


def test_w15_a_size_that_points_beyond_the_envelope() -> None:
    """Every value of the size but the right one is refused before anything is allocated or verified."""
    data = signed()
    for size in (0, 47, 48, 303, 305, 320, 2**31, 2**32 - 1):
        assert refused(data[:161] + struct.pack(">I", size) + data[165:]) in {"box_size", "envelope_length"}


def test_w16_the_same_plaintext_in_another_padding() -> None:
    """Of all paddings a receiver accepts one, so a box has no second length."""
    place = parse_envelope(signed()).place(0)
    plain = open_sealed(boxed()[1], CLOUD).rstrip(b"\0")
    for length in (256, 272, 288, 512):
        padded = plain.ljust(length, b"\0")
        box = seal(padded, CLOUD.public, bytes(32))
        if length == 256:
            assert open_box(box, CLOUD, place)[1] == b"body"
        else:
            assert refused(signed((CLOUD.kid, box))) == "padding_wrong"
    for wrong in (pad(plain)[:-1] + b"\x01", plain[:-1].ljust(256, b"\0"), plain[:-1] + b"\x7f".ljust(150, b"\0")):
        box = seal(wrong.ljust(256, b"\0")[:256], CLOUD.public, bytes(32))
        with pytest.raises(OpenError):
            open_box(box, CLOUD, place)


@pytest.mark.parametrize("seq", [0, 2**53, 2**63, 2**64 - 1])
def test_w17_a_number_at_the_edges(seq: int) -> None:
    """Neither 0 for data nor anything that a database or a JSON reader would turn into another number."""
    data = signed()
    prev = NO_PREVIOUS if seq == 0 else b"p" * 32
    assert refused(data[:32] + seq.to_bytes(8, "big") + data[40:56] + prev + data[88:]) == "seq_range"


def test_w17_a_first_envelope_in_the_middle_of_a_chain() -> None:
    """No predecessor for seq 1, one for every other: a chain has one beginning."""
    data = signed(seq=2)
    assert refused(data[:56] + NO_PREVIOUS + data[88:]) == "prev_rule"
    assert refused(signed()[:56] + b"p" * 32 + signed()[88:]) == "prev_rule"


def test_w18_forge_an_acknowledgement() -> None:
    """A broker, another device or a stolen car cannot make the fleet delete its data."""
    for key in (THIEF, VICTIM):
        assert downed(sign_ack(ACK, VICTIM_DEVICE, key)) == "cloud_key_unknown"
    data = sign_ack(ACK, VICTIM_DEVICE, THIEF)
    assert downed(data[:18] + CLOUD_SIGN.kid + data[26:]) == "signature_wrong"
    real = sign_ack(ACK, VICTIM_DEVICE, CLOUD_SIGN)
    wider = real[:-72] + (2**53 - 1).to_bytes(8, "big") + real[-64:]
    assert downed(wider) == "signature_wrong"


def test_w18_pass_on_another_devices_acknowledgement() -> None:
    """Both numbers would fit; the address does not, and it is signed."""
    foreign = sign_ack(ACK, THIEF_DEVICE, CLOUD_SIGN)
    assert downed(foreign) == "down_other_device"
    assert downed(foreign[:2] + VICTIM_DEVICE + foreign[18:]) == "signature_wrong"


def test_w18_an_acknowledgement_of_another_stream() -> None:
    """After a new start of the buffer the numbers begin again; the old ones free nothing."""
    ACK.require_stream(STREAM)
    with pytest.raises(FormatError) as refusal:
        ACK.require_stream(b"stream-2")
    assert refusal.value.reason == "ack_other_stream"


def test_w18_replay_an_old_acknowledgement() -> None:
    """It is still true of the numbers it lists, but it answers no later nonce,
    so it neither tells time nor lowers anything.
    """
    data = sign_ack(ACK, VICTIM_DEVICE, CLOUD_SIGN)
    again = open_down(data, VICTIM_DEVICE, {CLOUD_SIGN.kid: CLOUD_SIGN.public}, RECEIVE)
    assert isinstance(again, Ack)
    assert again.covers(1) and not again.covers(3)
    assert not again.answers(b"m" * 16)


def test_w18_the_watermark_alone_frees_nothing() -> None:
    """Only a listed range does: a lost range below the watermark is sent again and found to be a duplicate."""
    assert not replace(ACK, watermark=100, ranges=()).covers(50)


def test_drop_a_box_without_its_note() -> None:
    """A broker that takes a box out has no note to put in its place."""
    data = signed(boxed(), boxed(index=1))
    half = len(boxed()[1])
    without = data[:7] + b"\x01" + data[8:165] + data[178 : 178 + half]
    assert refused(without) == "signature_wrong"
    assert refused(data[:-half]) == "envelope_length"
    parts = parse_envelope(data).parts
    forged = Note(1, DestructionReason.ENDED, 8, parts[1].box_hash).signed_by(THIEF, VICTIM_DEVICE, STREAM, 1)
    assert refused(data[:165] + b"\x01" + data[166:-half] + forged.encode()) == "note_signature_wrong"


@pytest.mark.parametrize(
    ("device", "stream", "seq"),
    [(THIEF_DEVICE, STREAM, 1), (VICTIM_DEVICE, b"stream-2", 1), (VICTIM_DEVICE, STREAM, 2)],
)
def test_use_a_note_for_another_envelope(device: bytes, stream: bytes, seq: int) -> None:
    """A note names device, stream and number besides the box."""
    data = half_destroyed()
    note = parse_envelope(data).parts[1].note
    assert note is not None
    moved = replace(note, signature=b"").signed_by(VICTIM, device, stream, seq)
    assert refused(data[:-104] + moved.encode()) == "note_signature_wrong"


def test_put_the_box_back_that_was_destroyed() -> None:
    """A broker that kept it can: the envelope verifies with the same manifest hash.
    That is why the cloud asks the grants again.
    """
    whole, half = signed(boxed(), boxed(index=1)), half_destroyed()
    assert receive(whole).manifest_hash == receive(half).manifest_hash


def test_read_the_buffer_with_the_devices_own_keys() -> None:
    """W25: the sender kept nothing that opens a box;
    neither of its keys does, and the plaintext is nowhere in the bytes.
    """
    data = signed(boxed(b"SECRET LATITUDE"))
    assert b"SECRET" not in data
    box = parse_envelope(data).parts[0].box
    assert box is not None
    for key in (RECEIVE, BoxKey.from_seed(VICTIM.secret[:32])):
        with pytest.raises(OpenError):
            open_sealed(box, key)
