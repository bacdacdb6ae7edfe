"""DBC files as they are found in the field: what is refused is named, what is good is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.errors import DbcError
from carnet_agent.dbc import parse
from carnet_agent.dbc.parse import load_dbc, parse_dbc
from carnet_agent.dbc.salvage import split
from tests.conftest import shared_data

GOOD = 'BO_ 100 Good: 8 X\n SG_ one : 0|8@1+ (1,0) [0|0] "" X\n SG_ two : 8|8@1- (0.5,-1) [0|0] "km/h" X\n'
BOTH = ["Good.one", "Good.two"]


def names(text: str) -> tuple[list[str], list[tuple[int, str]]]:
    """(message.signal of everything kept, (line, what) of every loss)."""
    database = parse_dbc(text.encode("cp1252"), "t.dbc")
    kept = [f"{message.name}.{signal.name}" for message in database.messages for signal in message.signals]
    return kept, [(loss.line, loss.name) for loss in database.losses]


def test_a_file_refused_as_a_whole_keeps_every_message() -> None:
    """The Honda file has two comments without a signal name: two losses, all 38 messages and 288 signals."""
    database = load_dbc(shared_data() / "dbc" / "honda_civic_touring_2016_can_generated.dbc")
    assert len(database.messages) == 38 and sum(len(message.signals) for message in database.messages) == 288
    assert [(loss.line, loss.name) for loss in database.losses] == [(211, "CM_ SG_ 304"), (212, "CM_ SG_ 316")]
    assert all("Invalid syntax" in loss.reason for loss in database.losses)


@pytest.mark.parametrize(
    "broken, kept, lost",
    [
        (' SG_ bad : 16|8@1+ (1) [0|0] "" X\n', BOTH, (4, "SG_ bad")),
        (' SG_ bad : 16|0@1+ (1,0) [0|0] "" X\n', BOTH, (4, "SG_ bad")),
        ('BO_ 101 Bad 8 X\n SG_ three : 0|8@1+ (1,0) [0|0] "" X\n', BOTH, (4, "BO_ 101 Bad")),
        ("BO_ 4096 TooHigh: 8 X\n", BOTH, (4, "BO_ 4096 TooHigh")),
        ('\nVAL_ 100 nobody 1 "x" ;\n', BOTH, (5, "VAL_ 100 nobody")),
        ('\nVAL_ 999 one 1 "x" ;\n', BOTH, (5, "VAL_ 999 one")),
        (
            '\nCM_ "never closed;\n\nBO_ 101 After: 8 X\n SG_ c : 0|8@1+ (1,0) [0|0] "" X\n',
            [*BOTH, "After.c"],
            (5, 'CM_ "never closed;'),
        ),
        ("\nSIG_VALTYPE_ 100 one : 9;\n", BOTH, None),
    ],
    ids=["signal", "length", "message", "identifier", "orphan-label", "orphan-message", "quote", "type"],
)
def test_a_broken_statement_costs_itself_only(broken: str, kept: list[str], lost: tuple[int, str] | None) -> None:
    """The loss names the line in the file, whatever was tried in between."""
    got, losses = names(GOOD + broken)
    assert got == kept
    if lost:
        assert lost in losses


def test_meaning_survives_salvage() -> None:
    """Labels, multiplexer ranges and float types of a salvaged message are those of the file."""
    text = (
        'BO_ 7 M: 8 X\n SG_ mux M : 0|8@1+ (1,0) [0|0] "" X\n SG_ f m1 : 8|32@1- (1,0) [0|0] "" X\n\n'
        'BO_ 8 Broken: 8 X\n SG_ ( \n\nVAL_ 7 mux 1 "one" ;\nSIG_VALTYPE_ 7 f : 1;\nSG_MUL_VAL_ 7 f mux 1-3;\n'
    )
    database = parse_dbc(text.encode(), "t.dbc")
    signals = {signal.name: signal for message in database.messages for signal in message.signals}
    assert signals["mux"].labels == ((1, "one"),) and signals["f"].kind == "float32"
    assert signals["f"].selectors == {1, 2, 3}


def test_what_cannot_be_decoded_is_named() -> None:
    """A signal of more than 64 bits, a float of 24 bits, a signal beyond byte 248."""
    text = (
        'BO_ 100 M: 300 X\n SG_ vin : 0|136@1+ (1,0) [0|0] "" X\n SG_ far : 1990|8@1+ (1,0) [0|0] "" X\n'
        ' SG_ ok : 200|8@1+ (1,0) [0|0] "" X\n'
    )
    kept, losses = names(text)
    assert kept == ["M.ok"] and losses == [(2, "M.vin"), (3, "M.far")]


def test_the_encoding_is_windows_1252_unless_a_mark_says_utf_8() -> None:
    """A degree sign is one in both; undefined bytes are replaced, never refused."""
    text = GOOD.replace("km/h", "°C")
    for data in (text.encode("cp1252"), b"\xef\xbb\xbf" + text.encode()):
        assert parse_dbc(data, "t.dbc").messages[0].signals[1].unit == "°C"
    assert parse_dbc(text.encode("cp1252").replace(b"\xb0", b"\x81"), "t.dbc").messages[0].signals[1].unit == "\ufffdC"


@pytest.mark.parametrize("data", [b"no database", b"\0" * 100, b'BO_ 1 "', b"BO_ 5000 A: 8 X\n"])
def test_a_file_without_a_usable_message_is_refused_in_one_sentence(data: bytes) -> None:
    """DbcError, with the file's name."""
    with pytest.raises(DbcError, match=r"^t\.dbc: (no usable message|is not text; a DBC is wanted)") as refusal:
        parse_dbc(data, "t.dbc")
    assert "\n" not in str(refusal.value)


def test_f16_an_unreadable_or_oversized_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback for a missing file; a limit on size."""
    with pytest.raises(DbcError, match="cannot be read"):
        load_dbc(tmp_path / "none.dbc")
    monkeypatch.setattr(parse, "SIZE_BYTES_MAX", 10)
    with pytest.raises(DbcError, match="larger than"):
        parse_dbc(GOOD.encode(), "t.dbc")


def test_a_keyword_inside_a_comment_begins_no_statement() -> None:
    """Comments run over lines."""
    text = 'CM_ "first\nVAL_ 3 not a statement\nlast";\nBO_ 1 A: 8 X\n'
    assert [statement.line for statement in split(text)] == [1, 4]


MULTIPLEXED = (
    'BO_ 1 M: 8 X\n SG_ m M : 0|8@1+ (1,0) [0|0] "" X\n SG_ s m0 : 8|8@1+ (1,0) [0|0] "" X\n'
    ' SG_ t m1 : 8|8@1+ (1,0) [0|0] "" X\n\n'
)


@pytest.mark.parametrize("ranges", ["0-4294967295", "9-3, 0 - 200000,300000-500000", f"0-{'9' * 5000}"])
def test_a_statement_of_too_many_multiplexer_values_costs_itself_only(ranges: str) -> None:
    """cantools would write them out one by one, in all the memory there is."""
    kept, lost = names(f"{MULTIPLEXED}SG_MUL_VAL_ 1 s m {ranges};\nSG_MUL_VAL_ 1 t m 0-255;\n")
    assert kept == ["M.m", "M.s", "M.t"] and lost == [(6, "SG_MUL_VAL_ 1 s")]


def test_an_identifier_that_python_does_not_read_costs_its_message_only() -> None:
    """Its signals are not those of the message before it."""
    text = (
        GOOD + f'\nBO_ {"9" * 5000} Bad: 8 X\n SG_ lost : 16|8@1+ (1,0) [0|0] "" X\n\nVAL_ {"9" * 5000} lost 1 "x";\n'
    )
    kept, lost = names(text)
    assert kept == BOTH and [line for line, _ in lost] == [5]
    assert max(len(name) for _, name in lost) < 200


def test_what_is_lost_has_a_name_even_without_words() -> None:
    assert all(name for _, name in names(GOOD + "\n:\n\nBO_ 2 e 4 X\n")[1])
