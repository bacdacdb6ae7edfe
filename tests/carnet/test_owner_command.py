"""``carnet owner`` as an owner types it, against the real consent API."""

from __future__ import annotations

import asyncio
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest

from carnet.cli import main, owner
from carnet.keys import OWNER_SIGN, encode_key
from carnet_cloud.api import make_api
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

COMMANDS = ("keygen", "offers", "grant", "withdraw", "pause", "resume", "renew", "confirm", "list", "statement")


def facts() -> dict[str, Any]:
    """What the running service would say of itself."""
    return {}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud with one vehicle and one offer, which answers in place of the network."""
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    cloud.consents.offer(kit.OFFER)
    api = make_api(
        cloud.store,
        cloud.consents,
        "an operator's token of 32 characters",
        cloud.clock.now_ms,
        facts,
        cloud.explain,
    )

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(api)) as client:
                data: Any = request.data
                return await client.request(
                    request.get_method(), request.full_url, content=data, headers=dict(request.header_items())
                )

        answer = asyncio.run(ask())
        if answer.status_code >= 400:
            raise urllib.error.HTTPError(
                request.full_url, answer.status_code, "", Message(), io.BytesIO(answer.content)
            )
        return io.BytesIO(answer.content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(owner, "_now_ms", cloud.clock.now_ms)
    return cloud


@pytest.fixture
def owned(cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command of the vehicle's owner: exit code, output, errors."""
    key = tmp_path / "owner.key"
    key.write_text(encode_key(OWNER_SIGN, bytes([0x11]) * 32))
    key.chmod(0o600)

    def run(command: str, *words: str) -> tuple[int, str, str]:
        code = main(["owner", command, "--vehicle", kit.VEHICLE, "--key", str(key), *words])
        return code, *capsys.readouterr()

    return run


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


def test_days_are_never_silently_more_or_less_than_asked(owned: Callable[..., tuple[int, str, str]]) -> None:
    """Nought days are not the longest that the offer allows."""
    for days in ("0", "-1", "366", "900"):
        code, out, err = owned("grant", kit.OFFER_ID, "--days", days)
        assert (code, out) == (2, "")
        assert "1 to 365 days" in err
    assert owned("list") == (0, "", "")


def test_what_the_record_cannot_hold_names_its_option(owned: Callable[..., tuple[int, str, str]]) -> None:
    for option, text in (("--reference", "Größe"), ("--language", "German")):
        code, _, err = owned("grant", kit.OFFER_ID, option, text)
        assert code == 2
        assert option in err


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


def test_no_offer_and_an_unknown_vehicle_say_so(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["owner", "offers", "--vehicle", kit.OTHER_VEHICLE]) == 0
    assert "nobody asks" in capsys.readouterr().out
