"""Checkpoints and signed notes: one form, the log's own name, and a key that the reader had before."""

from __future__ import annotations

import base64

import nacl.bindings as sodium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.errors import FormatError, LedgerError, LocalProtocolError, RemoteError, SignatureError
from carnet.keys import SigningKey
from carnet.ledger.checkpoint import Checkpoint, unverified_checkpoint, verify_checkpoint
from carnet.ledger.merkle import EMPTY
from carnet.ledger.signednote import NOTE_BYTES_MAX, NoteKey, encode64, open_note, parse_note_key, sign_note
from tests.carnet.ledger.kit import KEY, NOTE_KEY, ORIGIN, OTHER_KEY, OTHER_NOTE_KEY, WITNESS, hashed

LOG = hashed(5)
NOTE = LOG.checkpoint()
TEXT, LINE = NOTE[: NOTE.index("\n\n") + 1], NOTE[NOTE.index("\n\n") + 2 :]
SPEC_KEY = NoteKey("example.com/behind-the-sofa", bytes(32))


def line(name: str, key: SigningKey, text: str = TEXT, extra: bytes = b"") -> str:
    """A signature line, made by hand."""
    signature = sodium.crypto_sign(text.encode(), key.secret)[:64]
    return f"\u2014 {name} {encode64(NoteKey(name, key.public).id + signature + extra)}\n"


def test_a_checkpoint_comes_back_from_its_note() -> None:
    assert verify_checkpoint(NOTE, [NOTE_KEY]) == Checkpoint(ORIGIN, LOG.head())
    assert f"{TEXT}\n{line(ORIGIN, KEY)}" == NOTE


def test_an_empty_log_has_a_checkpoint() -> None:
    assert verify_checkpoint(Checkpoint(ORIGIN, EMPTY).signed_by(KEY), [NOTE_KEY]).head == EMPTY


def test_lines_of_others_are_passed_over() -> None:
    """Witnesses, and kinds of signature that nobody here knows; before and after the log's own."""
    strange = f"\u2014 {WITNESS} {encode64(b'1234' + bytes(2420))}\n"
    witness = line(WITNESS, OTHER_KEY)
    for note in (NOTE + witness, NOTE + strange, f"{TEXT}\n{witness}{strange}{LINE}", NOTE + LINE):
        assert verify_checkpoint(note, [NOTE_KEY]).head == LOG.head()


def test_either_of_two_keys_of_the_log_will_do() -> None:
    """After a change of key the old one is good for old checkpoints."""
    for key in (KEY, OTHER_KEY):
        assert verify_checkpoint(LOG.checkpoint(key=key), [NOTE_KEY, OTHER_NOTE_KEY]).head == LOG.head()


def test_one_bad_line_of_a_known_key_spoils_the_note() -> None:
    bad = line(ORIGIN, OTHER_KEY, text="other\n")
    with pytest.raises(SignatureError, match="does not fit"):
        verify_checkpoint(NOTE + bad, [NOTE_KEY, OTHER_NOTE_KEY])
    assert verify_checkpoint(NOTE + bad, [NOTE_KEY]).head == LOG.head()


def test_a_known_key_of_another_name_does_not_count() -> None:
    """A witness does not speak for the log, even if the reader knows it."""
    note = f"{TEXT}\n{line(WITNESS, OTHER_KEY)}"
    with pytest.raises(LedgerError) as refusal:
        verify_checkpoint(note, [NoteKey(WITNESS, OTHER_KEY.public)])
    assert refusal.value.reason == "checkpoint_origin"


def test_the_end_of_a_text_that_was_really_signed_is_not_signed() -> None:
    """The signature of the whole text, with the text's beginning carried in the signature line."""
    long = sign_note(f"first line\n{TEXT}", ORIGIN, KEY)
    (whole,) = [each for each in long.split("\n") if each.startswith("\u2014")]
    blob = base64.b64decode(whole.split(" ")[2])
    forged = f"{TEXT}\n\u2014 {ORIGIN} {encode64(blob + b'first line' + bytes([10]))}\n"
    with pytest.raises(SignatureError) as refusal:
        verify_checkpoint(forged, [NOTE_KEY])
    assert refusal.value.reason == "note_signature"


@given(st.integers(0, len(NOTE) - 1), st.sampled_from("Aa0/+= \n\u2014\u00a0\x00-"))
def test_a_checkpoint_with_another_character_anywhere_is_refused(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(RemoteError):
            verify_checkpoint(changed, [NOTE_KEY])


@pytest.mark.parametrize("length", range(len(NOTE)))
def test_a_truncated_checkpoint_is_refused(length: int) -> None:
    with pytest.raises(RemoteError):
        verify_checkpoint(NOTE[:length], [NOTE_KEY])


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_breaks(text: str) -> None:
    with pytest.raises(RemoteError):
        verify_checkpoint(text, [NOTE_KEY])


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n05\n{TEXT.split(chr(10))[2]}\n",
        f"{ORIGIN}\n+5\n{TEXT.split(chr(10))[2]}\n",
        f"{ORIGIN}\n٥\n{TEXT.split(chr(10))[2]}\n",
        f"{ORIGIN}\n9007199254740992\n{TEXT.split(chr(10))[2]}\n",
        f"{ORIGIN}\n0\n{TEXT.split(chr(10))[2]}\n",
        f"{TEXT}extension\n",
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n5\n{encode64(bytes(31))}\n",
        f"Carnet.example\n5\n{encode64(bytes(32))}\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    """Although the log's own key signed it."""
    with pytest.raises(FormatError) as refusal:
        unverified_checkpoint(f"{text}\n{line(ORIGIN, KEY, text=text)}")
    assert refusal.value.reason == "checkpoint_malformed"


def test_a_note_takes_sixteen_signatures_and_no_more() -> None:
    """What the format asks of a reader; and a bound."""
    witness = line(WITNESS, OTHER_KEY)
    assert open_note(NOTE + witness * 15, [NOTE_KEY]) == TEXT
    with pytest.raises(FormatError):
        open_note(NOTE + witness * 16, [NOTE_KEY])


def test_a_note_has_a_bound() -> None:
    """That of the page, in bytes."""
    assert NOTE_BYTES_MAX == 131_072
    rest = len(sign_note("\n", ORIGIN, KEY).encode()) - 1
    longest = "é" * ((NOTE_BYTES_MAX - rest - 1) // 2) + "x" * ((NOTE_BYTES_MAX - rest - 1) % 2) + "\n"
    note = sign_note(longest, ORIGIN, KEY)
    assert len(note.encode()) == NOTE_BYTES_MAX
    assert open_note(note, [NOTE_KEY]) == longest
    with pytest.raises(LocalProtocolError):
        sign_note("x" + longest, ORIGIN, KEY)


def test_a_note_may_say_nothing_but_is_still_cut_by_an_empty_line() -> None:
    """Without one, a signature of nothing is none of what stands before it."""
    assert open_note(sign_note("\n", ORIGIN, KEY), [NOTE_KEY]) == "\n"
    with pytest.raises(FormatError):
        open_note("x" + line(ORIGIN, KEY, text=""), [NOTE_KEY])


def test_a_note_is_cut_at_its_last_empty_line() -> None:
    """The text may hold empty lines; a checkpoint may not."""
    note = sign_note("one\n\ntwo\n", ORIGIN, KEY)
    assert open_note(note, [NOTE_KEY]) == "one\n\ntwo\n"
    with pytest.raises(FormatError):
        verify_checkpoint(note, [NOTE_KEY])


@pytest.mark.parametrize("text", ["no line feed", "a\tb\n", "\ud800\n"])
def test_what_a_note_cannot_say_is_not_signed(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        sign_note(text, ORIGIN, KEY)


def test_a_key_comes_back_from_its_text() -> None:
    assert parse_note_key(NOTE_KEY.text()) == NOTE_KEY


def test_the_key_of_the_go_checksum_database_is_one() -> None:
    """Oracle: a key that everybody with a Go tool chain has, id and all."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    key = parse_note_key(text)
    assert (key.name, key.id.hex(), key.text()) == ("sum.golang.org", "033de0ae", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sum.golang.org",
        "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033DE0AE+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn",
        f"sum.golang.org+033de0ae+{encode64(bytes([1]) * 32)}",
        f"sum.golang.org+033de0ae+{encode64(bytes([1]) * 34)}",
        "sum.golang.org+033de0ae+BM4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A wrong id, upper case, a blank, a byte less, another kind of key."""
    with pytest.raises(FormatError) as refusal:
        parse_note_key(text)
    assert refusal.value.reason == "note_key"


@pytest.mark.parametrize(("name", "public"), [("", bytes(32)), ("a b", bytes(32)), ("a+b", bytes(32)), ("a", b"")])
def test_a_key_that_could_not_sign_does_not_exist(name: str, public: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        NoteKey(name, public)


def test_a_key_whose_name_has_no_form_in_utf_8_is_refused() -> None:
    """A terminal hands such bytes on as half surrogate pairs."""
    with pytest.raises(FormatError) as refusal:
        parse_note_key(NOTE_KEY.text().replace("carnet", "carnet\udcff"))
    assert refusal.value.reason == "note_key"
