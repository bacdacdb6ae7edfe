"""``carnet-sim`` as somebody types it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from carnet.errors import ConfigError
from carnet_simulator.__main__ import COMMANDS, main
from carnet_simulator.commands.broker import load_accounts
from carnet_simulator.faults import Faults
from tests.conftest import CHECKOUT, shared_data

COMMAND = [sys.executable, "-m", "carnet_simulator"]
OURS = [name for name in COMMANDS if name != "demo"]
BUS = "can0=multicast:47114"
"""A port of its own: agents of other tests listen at the usual one."""


@pytest.mark.parametrize("words", [[], *[[name] for name in OURS]], ids=lambda words: "".join(words) or "all")
def test_help_shows_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of every command."""
    with pytest.raises(SystemExit) as leave:
        main([*words, "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert "example" in text and "carnet-sim " + (words[0] if words else "drive") in text


def test_a_drive_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The car's time, and what was sent: nothing to buses that are off."""
    assert main(["drive", "--seconds", "3", "--speed", "max", "--channel", "can0=off"]) == 0
    off, ended = capsys.readouterr().err.splitlines()
    assert off == "can1: off, for --channel does not name it"
    assert ended == "done after 3.0 s: 0 frames sent, 1,494 of buses that are off"


@pytest.mark.parametrize(
    "words, code",
    [
        (["drive", "--speed", "0"], 2),
        (["drive", "--speed", "fast"], 2),
        (["drive", "--seconds", "-1"], 2),
        (["drive", "--rate", "nan"], 2),
        (["drive", "--channel", "can0=can0"], 2),
        (["drive", "--channel", "can7=vcan0"], 2),
        (["drive", "--fault", "fire=1"], 2),
        (["replay"], 2),
        (["replay", "nowhere.log"], 2),
        (["broker", "--host", "0.0.0.0"], 2),
        (["broker", "--port", "70000"], 2),
        (["broker", "--users", "nowhere.toml"], 2),
        (["fly"], 2),
        ([], 2),
    ],
)
def test_a_mistake_is_one_sentence_and_a_code(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for wrong use, 1 for what failed."""
    try:
        result = main(words)
    except SystemExit as leave:
        result = int(leave.code or 0)
    assert result == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_capture_is_replayed_at_full_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the buses that were asked for are opened; the others are read, not sent anywhere, and counted apart."""
    capture = Path(shared_data(), "captures", "tractor_j1939.log.gz")
    assert main(["replay", str(capture), "--speed", "max", "--channel", "can1=multicast:47114"]) == 0
    opened, off, ended = capsys.readouterr().err.splitlines()
    assert "port 47114" in opened and off == "can2: off, for --channel does not name it"
    sent, left = re.fullmatch("done after 186.1 s: (.+) frames sent, (.+) of buses that are off", ended).groups()  # type: ignore[union-attr]
    assert int(sent.replace(",", "")) + int(left.replace(",", "")) == 1815


def log(folder: Path) -> str:
    """A capture of one bus, can1."""
    file = folder / "a.log"
    file.write_text("(1.0) can1 123#00\n(1.1) can1 123#01\n")
    return str(file)


@pytest.mark.parametrize(
    ("channel", "code", "command"),
    [
        ("can0", 2, "ip link add dev vcan0 type vcan && ip link set up vcan0"),
        ("can1=can1", 2, "ip link add dev vcan1 type vcan && ip link set up vcan1"),
        ("vcan991", 1, "ip link add dev vcan991 type vcan && ip link set up vcan991"),
        ("can1=vcan991", 1, "ip link add dev vcan991 type vcan && ip link set up vcan991"),
        ("can0=multicast:47115", 1, "write --channel can1=multicast:47115"),
    ],
)
def test_a_replay_that_cannot_go_where_it_was_told_to_fails_and_says_what_to_do(
    channel: str, code: int, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never says that it has sent what went nowhere, be the bus of the capture or not."""
    assert main(["replay", log(tmp_path), "--speed", "max", "--channel", channel]) == code
    said = capsys.readouterr().err
    assert command in said.splitlines()[-1] and "frames sent" not in said


def test_a_capture_whose_only_buses_are_switched_off_is_read_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who switches a bus off by name has asked for it."""
    assert main(["replay", log(tmp_path), "--speed", "max", "--channel", "can1=off"]) == 0
    assert capsys.readouterr().err == "done after 0.1 s: 0 frames sent, 2 of buses that are off\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drive_ends_cleanly(stop: signal.Signals) -> None:
    """Exit code 0, one sentence, no traceback."""
    words = ["drive", "--speed", "10", "--channel", BUS]
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "udp_multicast" in process.stderr.readline()
        process.send_signal(stop)
        rest = process.stderr.read()
        assert process.wait(10) == 0
    assert rest.splitlines()[-1].startswith("stopped after") and rest.count("\n") <= 2


def test_a_looped_replay_is_stopped_by_hand(tmp_path: Path) -> None:
    """It would never end by itself."""
    capture = tmp_path / "a.log"
    capture.write_text("(1.0) can0 123#00\n(1.1) can0 123#01\n")
    words = ["replay", str(capture), "--loop", "--channel", BUS]
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "udp_multicast" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().startswith("stopped after")
        assert process.wait(10) == 0


def test_the_broker_tells_its_port_and_stops_when_told(tmp_path: Path) -> None:
    """A client with an account comes in; the summary counts it."""
    users, ready = tmp_path / "users.toml", tmp_path / "port"
    users.write_text('[users.worker]\npassword = "secret"\nrole = "receiver"\n')
    words = ["broker", "--port", "0", "--ready-file", str(ready), "--users", str(users)]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[-1])
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set("worker", "secret")
        client.connect("127.0.0.1", port)
        while not client.is_connected():
            assert client.loop(5) == 0
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped: 1 connected, 1 server_shutting_down\n"
        assert process.wait(10) == 0
    assert int(ready.read_text()) == port


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[users", "users_syntax"),
        ("", "users_value"),
        ("users = 1", "users_value"),
        ("[users]\na = 1", "users_value"),
        ('[users.a]\npassword = "x"', "users_value"),
        ('[users.a]\npassword = "x"\nrole = "device"\nmore = 1', "users_value"),
        ('[users.a]\npassword = "x"\nrole = "admin"', "users_value"),
        ('[users.a]\npassword = ""\nrole = "device"', "users_value"),
        ('[users.a]\npassword = 1\nrole = "device"', "users_value"),
        ('[other]\n[users.a]\npassword = "x"\nrole = "device"', "users_value"),
    ],
)
def test_a_users_file_that_is_not_exactly_right_is_refused(text: str, reason: str) -> None:
    """Nobody gets in by a slip of the pen."""
    with pytest.raises(ConfigError) as refusal:
        load_accounts(text.encode())
    assert refusal.value.reason == reason


@pytest.mark.parametrize("name", OURS)
def test_the_document_names_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And every fault."""
    text = (CHECKOUT / "docs" / "simulator.md").read_text()
    with pytest.raises(SystemExit):
        main([name, "--help"])
    for option in set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}:
        assert option in text
    for fault in fields(Faults):
        assert f"`{fault.name}`" in text
