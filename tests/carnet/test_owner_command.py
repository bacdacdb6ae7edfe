"""``carnet owner`` as an owner types it, against the real consent API."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carnet import jws
from carnet.cli import main
from carnet.errors import UnavailableError
from carnet.ids import device_text, format_id
from carnet.keys import LOG_SIGN, encode_key
from carnet.records import parse_record
from carnet_cloud.store.devices import Device
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, VEHICLE, Cloud, Unit

COMMANDS = (
    "keygen",
    "offers",
    "grant",
    "withdraw",
    "pause",
    "resume",
    "renew",
    "confirm",
    "list",
    "statement",
    "receipts",
    "keys",
)


@pytest.mark.parametrize("words", [[], ["owner"], *[["owner", name] for name in COMMANDS]], ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert " ".join(["carnet", *words]) in out.partition("example")[2]
    assert not out.partition("\n\n")[2].startswith("positional arguments"), "the help says what the command does"


def test_a_wrong_command_line_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["owner"], ["owner", "renew", "rec_x"], ["owner", "grant", "off_x", "--choose", "x"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_days_are_never_silently_more_or_less_than_asked(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nought days are not the longest that the offer allows."""
    short = format_id("off_", b"offer--two")
    cloud.offers.publish(kit.offer_bytes(id=short, valid_days=9))
    code, out, err = owned("grant", short, "--days", "10")
    assert (code, out) == (2, "")
    assert "1 to 9 days" in err
    for days in ("0", "-1", "366", "900"):
        with pytest.raises(SystemExit) as left:
            owned("grant", kit.OFFER_ID, "--days", days)
        assert left.value.code == 2
        assert "from 1 to 365" in capsys.readouterr().err
    assert owned("list") == (0, "no consents yet\n", "")


def test_what_the_record_cannot_hold_names_its_option(
    owned: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for option, text in (("--reference", "Größe"), ("--language", "German")):
        with pytest.raises(SystemExit) as left:
            owned("grant", kit.OFFER_ID, option, text)
        assert left.value.code == 2
        assert f"argument {option}: write " in capsys.readouterr().err


def sold(cloud: Cloud) -> None:
    """The car is paired and enrolled anew, by an owner with the same key: a lease that went back."""
    unit = Unit()
    with cloud.store.transaction() as t:
        second = Device(b"\x77" * 16, VEHICLE, kit.TENANT, 2, unit.key.public, unit.receive.public, "active")
        t.devices.add(second, cloud.clock.ms)
        t.devices.pin_owner_key(VEHICLE, 2, jws.thumbprint(kit.OWNER_KEY.public), kit.OWNER_KEY.public)


def test_a_buyer_is_told_his_tenure_and_what_to_compare_it_with(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]]
) -> None:
    sold(cloud)
    code, out, err = owned("grant", kit.OFFER_ID)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "your tenure of this vehicle is 2" in err and "`carnet-agent pair`" in err and err.endswith("--epoch 2\n")
    assert owned("grant", kit.OFFER_ID, "--epoch", "2")[0] == 0
    assert owned("grant", kit.OFFER_ID, "--epoch", "3")[2].endswith("--epoch 2\n")


def test_no_tenure_is_signed_because_the_cloud_names_it(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Or it could collect consents for the time after a lease that has not even begun."""
    sold(cloud)
    owned("grant", kit.OFFER_ID)
    signed = [line["signed"] for line in kept_lines(tmp_path) if "signed" in line]
    assert [parse_record(token, [kit.OWNER_KEY.public]).epoch for token in signed] == [1]


def test_a_cloud_that_knows_no_other_tenure_is_quoted_as_it_is(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sold(cloud)
    for keys in (lambda _: [], lambda _: [{"epoch": 1, "thumbprint": "x", "key": "x", "standing": "pinned"}]):
        monkeypatch.setattr("carnet.cli.cloud.Cloud.keys", keys)
        assert owned("grant", kit.OFFER_ID)[2].endswith("the vehicle has changed hands\n")

    def unreachable(_: object) -> None:
        raise UnavailableError("cloud_unreachable")

    monkeypatch.setattr("carnet.cli.cloud.Cloud.keys", unreachable)
    assert owned("grant", kit.OFFER_ID)[2].endswith("the vehicle has changed hands\n")


def test_a_grant_says_what_was_agreed_to_and_until_when(owned: Callable[..., tuple[int, str, str]]) -> None:
    """Each item in the words of the offer; and programs get what they got."""
    lines = owned("grant", kit.OFFER_ID, "--choose", "1", "--days", "5")[1].splitlines()
    offered = [line.split(maxsplit=1)[1] for line in owned("offers")[1].splitlines() if line[:5].strip().isdigit()]
    assert lines[0].split("  ")[1:] == ["given: Werkstatt Süd, until 2025-10-15 08:53 UTC"]
    assert [line.strip().split(maxsplit=1)[1] for line in lines[1:]] == offered[:3]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"]
    assert set(json.loads(owned("grant", kit.OFFER_ID, "--json")[1])) >= {"record", "state"}


def test_a_number_that_is_no_optional_item_is_named_with_those_that_are(
    owned: Callable[..., tuple[int, str, str]],
) -> None:
    """Nothing is agreed to; nought is the item that is required anyway."""
    for numbers in (["7"], ["0"], ["0", "7"]):
        code, out, err = owned("grant", kit.OFFER_ID, "--choose", *numbers)
        assert (code, out) == (2, "")
        assert err == (
            f"carnet: --choose {numbers[0]}: the offer has no optional item with this number; optional are 1, 3\n"
        )
    assert owned("list") == (0, "no consents yet\n", "")


def test_a_pause_and_a_renewal_say_where_the_consent_stands(owned: Callable[..., tuple[int, str, str]]) -> None:
    """Asking twice for what already is changes nothing and is no error."""
    record = owned("grant", kit.OFFER_ID, "--days", "5")[1].split()[0]
    assert owned("resume", record)[:2] == (0, f"{record}  given already\n")
    assert owned("pause", record)[1].startswith(f"{record}  suspended, ends ")
    assert owned("pause", record)[:2] == (0, f"{record}  suspended already\n")
    before = owned("list")[1]
    assert owned("renew", record, "--days", "20")[0] == 0
    assert owned("list")[1] != before
    assert owned("resume", record)[1].startswith(f"{record}  given, ends ")
    assert owned("withdraw", record)[1].startswith(f"{record}  withdrawn: silent after ")


def test_a_renewal_that_is_none_says_which_days_are_one(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]]
) -> None:
    """Too short and too long are two sentences, each with the limit; what the limit says is taken."""
    ninety = format_id("off_", b"offer--two")
    cloud.offers.publish(kit.offer_bytes(id=ninety, valid_days=90))
    record = owned("grant", ninety, "--days", "30")[1].split()[0]
    cloud.clock.ms += 60_000
    code, out, err = owned("renew", record, "--days", "29")
    assert (code, out) == (1, "")
    assert err == (
        "carnet: a renewal ends no later than the consent does already: renew it for 30 to 90 days from now\n"
    )
    code, out, err = owned("renew", record, "--days", "91")
    assert (code, out) == (1, "")
    assert err == "carnet: a renewal ends later than the offer allows: renew it for at most 90 days from now\n"
    for days in ("30", "90"):
        assert owned("renew", record, "--days", days)[0] == 0
    assert "already: it lasts as long as the offer allows" in owned("renew", record, "--days", "90")[2]


def test_a_record_that_is_none_is_told_with_where_to_look(owned: Callable[..., tuple[int, str, str]]) -> None:
    for command in ("pause", "confirm"):
        code, out, err = owned(command, kit.RECORD_ID)
        assert (code, out, err.endswith(": see  carnet owner list\n")) == (1, "", True)


# what the tool keeps beside the key


def kept_lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "owner.kept").read_text().splitlines()]


def test_every_signed_document_and_every_generation_is_kept(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    record = owned("grant", kit.OFFER_ID, "--days", "5")[1].split()[0]
    owned("pause", record)
    owned("withdraw", record)
    owned("statement")
    lines = kept_lines(tmp_path)
    with cloud.store.transaction() as t:
        stored = t.consents.record(record)
        events = t.consents.events(record)
    assert stored is not None
    # the pause, the withdrawal; the end of the drain is the operator's
    assert [line["signed"] for line in lines if "signed" in line] == [stored.jws, *events[:2]]
    assert [line["generation"] for line in lines if "generation" in line] == [1, 2, 4]
    assert {line["vehicle"] for line in lines} == {kit.VEHICLE}


def test_a_document_is_kept_before_it_leaves(
    owned: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the offers were read: whether the record arrived, nobody knows; what it said, the
    owner does.
    """
    ask = urllib.request.urlopen

    def broken(request: urllib.request.Request, timeout: float) -> Any:
        if request.get_method() == "POST":
            raise ConnectionResetError
        return ask(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", broken)
    assert owned("grant", kit.OFFER_ID)[0] == 1
    (line,) = kept_lines(tmp_path)
    assert parse_record(line["signed"], [kit.OWNER_KEY.public]).offer == kit.OFFER_ID


def test_a_cloud_that_was_restored_is_silent_from_the_tools_next_command_on(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever that is; until the owner confirms what he sees there."""
    owned("grant", kit.OFFER_ID, "--days", "5")
    copy = sqlite3.connect(":memory:")
    cloud.store._connection.backup(copy)
    second = owned("grant", kit.OFFER_ID, "--days", "9")[1].split()[0]
    copy.backup(cloud.store._connection)
    owned("offers")
    assert cloud.counters()["behind_floor"] == 1
    code, out, err = owned("list")
    assert (code, err, second in out, out.count("silent until you confirm it")) == (0, "", False, 1)
    assert owned("confirm", out.split()[0])[0] == 0
    assert "silent until" not in owned("list")[1]


def test_a_cloud_that_shows_less_than_before_and_does_not_own_up_to_it_is_named(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores what the tool tells it."""
    owned("grant", kit.OFFER_ID, "--days", "5")
    copy = sqlite3.connect(":memory:")
    cloud.store._connection.backup(copy)
    owned("grant", kit.OFFER_ID, "--days", "9")
    copy.backup(cloud.store._connection)
    monkeypatch.setattr(cloud.consents, "seen", lambda _: None)
    code, out, err = owned("list")
    assert (code, out.count("\n"), err.count("\n")) == (0, 1, 1)
    assert "shows less than it has shown before" in err


def test_a_generation_that_a_lie_brought_about_is_kept_like_any_other(
    cloud: Cloud, owned: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """An honest cloud has it too, after a car or a tool was told it: whoever refused it would be deaf for ever."""
    owned("grant", kit.OFFER_ID)
    with cloud.store.transaction() as t:
        t.consents.raise_generation(VEHICLE, 1, above=2**31)
    assert owned("list")[2] == ""
    assert [line["generation"] for line in kept_lines(tmp_path) if "generation" in line] == [1, 2**31 + 1]
    assert owned("list")[2] == ""


def test_what_cannot_be_kept_widens_nothing_and_keeps_nobody_from_withdrawing(
    owned: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    record = owned("grant", kit.OFFER_ID, "--days", "5")[1].split()[0]
    (tmp_path / "owner.kept").unlink()
    (tmp_path / "owner.kept").mkdir()
    for words in (("grant", kit.OFFER_ID), ("renew", record, "--days", "9")):
        code, out, err = owned(*words)
        assert (code, out, "cannot be written" in err) == (2, "", True)
    assert owned("list")[1].count("\n") == 1
    code, out, err = owned("withdraw", record)
    assert (code, out.startswith(f"{record}  withdrawn: silent after ")) == (0, True)
    assert "the consent is narrowed all the same" in err


@pytest.mark.parametrize(
    "words", [["list"], ["grant", kit.OFFER_ID], ["withdraw", "rec_aaaaaaaaaaaaaaaa"]], ids=" ".join
)
def test_without_a_key_or_a_vehicle_the_hint_is_what_to_type(
    cloud: Cloud, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["owner", *words, "--vehicle", kit.VEHICLE]) == 2
    said = capsys.readouterr().err
    assert "export CARNET_KEY=FOLDER" in said and "carnet owner keygen" in said and said.count("\n") == 1
    assert main(["owner", *words]) == 2
    assert "export CARNET_VEHICLE=ID" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["abc", "WVWZZZ1JZXW000001", kit.VEHICLE[:-1] + "b", kit.VEHICLE.upper()])
def test_what_is_no_vehicle_is_told_by_its_form_and_not_repeated(
    cloud: Cloud, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be a VIN."""
    assert main(["owner", "offers", "--vehicle", text]) == 2
    err = capsys.readouterr().err
    assert "26 characters" in err and "not the VIN" in err and text not in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["list"], ["statement"], ["keys"], ["withdraw", kit.RECORD_ID], ["offers"], ["grant", kit.OFFER_ID]],
    ids=" ".join,
)
def test_the_units_id_in_place_of_the_vehicles_is_the_likely_cause(
    owned: Callable[..., tuple[int, str, str]], words: list[str]
) -> None:
    """Both stand in what the pairing printed."""
    code, out, err = owned(*words, "--vehicle", device_text(DEVICE))
    assert (code, (out + err).count("\n")) == (0 if words == ["offers"] else 1, 1)
    assert "--vehicle takes the vehicle's id, not the unit's" in out + err
    if words[0] not in ("offers", "grant"):
        assert "--key the key that it was paired with" in err


def test_a_key_file_is_told_by_what_it_is_before_by_who_may_read_it(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """chmod 600 makes no secret key of a public one."""
    assert main(["owner", "keygen", "--out", str(tmp_path / "mine")]) == 0
    public = tmp_path / "mine" / "owner.public.json"
    (tmp_path / "log.key").write_text(encode_key(LOG_SIGN, bytes(32)))
    (tmp_path / "note.txt").write_text("dear owner")
    capsys.readouterr()
    for file, words in {
        public: "this is the public key: the secret one is needed",
        tmp_path / "log.key": "this is a key for log-sign, and one for owner-sign is needed",
        tmp_path / "note.txt": "this is not a key file of Carnet",
    }.items():
        assert main(["owner", "list", "--vehicle", kit.VEHICLE, "--key", str(file)]) == 2
        err = capsys.readouterr().err
        assert (err.startswith(f"carnet: {file}: {words}"), "chmod" in err, err.count("\n")) == (True, False, 1), err
    (tmp_path / "mine" / "owner.key").chmod(0o640)
    assert main(["owner", "list", "--vehicle", kit.VEHICLE, "--key", str(tmp_path / "mine")]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_no_offer_and_an_unknown_vehicle_say_so(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["owner", "offers", "--vehicle", kit.OTHER_VEHICLE]) == 0
    assert "nobody asks" in capsys.readouterr().out
