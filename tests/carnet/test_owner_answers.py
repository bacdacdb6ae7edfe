"""``carnet owner`` against clouds that are broken, something else, or of another version."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carnet import jws
from carnet.cli import main
from carnet.keys import OWNER_SIGN, encode_key
from tests import consentkit as kit
from tests.brokenservice import ANSWERS, BrokenService, good

COMMANDS = {
    "offers": (),
    "grant": (kit.OFFER_ID,),
    "list": (),
    "statement": (),
    "confirm": (kit.RECORD_ID,),
    "pause": (kit.RECORD_ID,),
    "resume": (kit.RECORD_ID,),
    "renew": (kit.RECORD_ID, "--days", "9"),
    "withdraw": (kit.RECORD_ID,),
    "receipts": ("--out", "receipts"),
}
TWO_STEPS = ("grant", "pause", "renew", "withdraw")
RECORD = {
    "record": kit.RECORD_ID, "state": "given", "expires_ms": kit.GIVEN_MS, "event_seq": 0, "head": "00" * 32,
    "recipient_name": "Werkstatt", "silent_until_confirmed": False, "epoch": 1, "generation": 3,
}  # fmt: skip
Start = Callable[[Callable[[str, str], bytes]], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a service with these answers; its address."""
    services = []

    def begin(answer: Callable[[str, str], bytes]) -> str:
        services.append(BrokenService(answer))
        return f"http://{services[-1].listen}"

    yield begin
    for service in services:
        service.close()


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "owner.key"
    file.write_text(encode_key(OWNER_SIGN, bytes([0x11]) * 32))
    file.chmod(0o600)
    return str(file)


def run(command: str, cloud: str, key: str) -> int:
    return main(["owner", command, *COMMANDS[command], "--cloud", cloud, "--vehicle", kit.VEHICLE, "--key", key])


def one_sentence(text: str) -> bool:
    return text.startswith("carnet: ") and text.count("\n") == 1 and text[:-1].isprintable()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_that_is_none_is_one_sentence(
    start: Start, key: str, command: str, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, never a traceback, and nothing that looks like a success."""
    assert run(command, start(lambda *_: answer), key) == 1
    out, err = capsys.readouterr()
    assert (out, one_sentence(err)) == ("", True), err


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("command", TWO_STEPS)
def test_the_second_answer_is_believed_no_more_than_the_first(
    start: Start, key: str, command: str, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was signed may have been taken; but nobody is told so who does not know."""

    def answers(method: str, path: str) -> bytes:
        if method == "POST":
            return answer
        return good({"records": [RECORD]} if path.endswith("/records") else {"offers": [jws.base64url(kit.OFFER)]})

    assert run(command, start(answers), key) == 1
    out, err = capsys.readouterr()
    assert (out, one_sentence(err)) == ("", True), err


@pytest.mark.parametrize(
    "change",
    [
        {"expires_ms": 2**53},
        {"generation": "3"},
        {"expires_ms": -1},
        {"recipient_name": "x\x1b[2J"},
        {"event_seq": True},
    ],
)
def test_a_record_that_cannot_be_shown_is_not(
    start: Start, key: str, change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """A year that no calendar has, a name that takes over the terminal, a number that is none."""
    assert run("list", start(lambda *_: good({"records": [RECORD | change]})), key) == 1
    assert one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"expires_ms": "soon"},
        {"silent_after_ms": 5, "expires_ms": 1},
        {"silent_after_ms": "5", "destroyed": 0, "unknown": 0},
    ],
    ids=str,
)
def test_a_withdrawal_whose_answer_says_nothing_is_not_called_silent(
    start: Start, key: str, answer: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    stands = {"record": kit.RECORD_ID, "state": "withdrawn", "epoch": 1, "generation": 3}
    cloud = start(lambda method, _: good({"records": [RECORD]} if method == "GET" else stands | answer))
    assert run("withdraw", cloud, key) == 1
    out, err = capsys.readouterr()
    assert (out, one_sentence(err)) == ("", True), err


@pytest.fixture
def plain_port() -> Iterator[int]:
    """A port that answers HTTP without TLS, whatever comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.close()


def test_https_to_a_plain_port_is_told_from_silence(
    plain_port: int, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trying again later helps against the one and not against the other."""
    url = f"https://127.0.0.1:{plain_port}"
    assert run("withdraw", url, key) == 1
    err = capsys.readouterr().err
    assert f"{url} answers without TLS: look at https:// and the port" in err and "try again" not in err
    assert "carnet-agent mode off" in err


def test_a_certificate_that_is_not_accepted_is_told_from_silence(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_code, refused.verify_message = 18, "self-signed certificate"

    def urlopen(*_: object, **__: object) -> None:
        raise urllib.error.URLError(refused)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert run("list", "https://carnet.example", key) == 1
    assert "its certificate is not accepted here (self-signed certificate)" in capsys.readouterr().err


def test_a_port_where_nobody_listens_may_be_the_wrong_one(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    assert run("list", url, key) == 1
    assert capsys.readouterr().err == f"carnet: {url} does not answer: try again later, or look at the address\n"


def test_a_newer_cloud_may_say_more(start: Start, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Members that this version does not know are none of its business."""
    record = RECORD | {"receipt": "later"}
    assert run("list", start(lambda *_: good({"records": [record], "more": 1})), key) == 0
    assert kit.RECORD_ID in capsys.readouterr().out
