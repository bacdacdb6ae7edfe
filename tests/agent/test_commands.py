"""The commands say in one sentence what is wrong, and change nothing when they only look."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from carnet.narrowing import Ceiling, Mode
from carnet.signals import Category
from carnet_agent import knock
from carnet_agent.__main__ import COMMANDS, main
from carnet_agent.buffer import open_buffer
from carnet_agent.bus.pythoncan import PythonCanReader
from carnet_agent.ceilings import NOTHING
from carnet_agent.consent.file import open_consents
from carnet_agent.consent.store import GrantStore
from carnet_agent.identity import read_identity
from carnet_agent.local import LocalServer
from tests.agent.units import Unit, config_text, make_unit

TAKEN = bytes([0x20, 0x03, 0x00, 0x00, 0x00])
"""CONNACK of MQTT 5: success."""


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """A paired unit."""
    made = make_unit(tmp_path)
    words = ["--owner-key", str(made.owner_key), "--cloud-keys", str(made.cloud_keys)]
    out = ["--out", str(tmp_path / "enrolment.json")]
    assert main(["pair", "--config", str(made.config), *words, *out]) == 0
    return made


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a broker that says this to whoever comes, and hangs up if it is nothing."""
    over = threading.Event()

    def work() -> None:
        with suppress(OSError):
            while not over.is_set():
                opened, _ = listener.accept()
                with opened:
                    opened.recv(4096)
                    opened.sendall(answer)
                    # until the other side goes
                    while answer and opened.recv(4096):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=work)
        thread.start()
        port = listener.getsockname()[1]
        yield port
        over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


@contextmanager
def running(unit: Unit, answers: dict[str, Any]) -> Iterator[list[Any]]:
    """What is asked of an agent that answers like this."""
    asked: list[Any] = []

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return answers

    server = LocalServer(unit.state, handle)
    server.open()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            server.step(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()
        server.close()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"carnet-agent {name}" in capsys.readouterr().out.partition("example")[2]


def test_the_program_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: carnet-agent decode" in capsys.readouterr().out


def test_pair_says_what_owner_and_cloud_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The owner's commands ask for vehicle and epoch, the certificate for the device."""
    made = make_unit(tmp_path)
    words = ["--owner-key", str(made.owner_key), "--cloud-keys", str(made.cloud_keys)]
    assert main(["pair", "--config", str(made.config), *words, "--out", str(tmp_path / "e.json")]) == 0
    owner = read_identity(made.state).owner
    out = capsys.readouterr().out
    assert f"vehicle {owner.vehicle}, epoch 1" in out
    assert (made.state / "identity").resolve().name.removeprefix("identity-") in out


def test_run_refuses_what_check_calls_wrong(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """A password that others can read starts no agent."""
    secret = unit.config.parent / "password"
    secret.write_text("open")
    secret.chmod(0o644)
    text = config_text(port=9).replace("port = 9", f'port = 9\npassword_file = "{secret}"')
    unit.config.write_text(text)
    assert main(["run", "--config", str(unit.config)]) == 2
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    captured = capsys.readouterr()
    assert "mqtt.password_file" in captured.err and "chmod 600" in captured.err
    assert "mqtt.password_file" in captured.out


def test_check_knows_the_interfaces_of_python_can(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    unit.config.write_text(config_text().replace('"udp_multicast"', '"foobus"'))
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    assert "python-can has no interface foobus" in capsys.readouterr().out


def test_options_that_python_can_refuses_are_told_with_their_bus(
    unit: Unit, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By `check` where opening disturbs nobody, and by the running agent."""
    unit.config.write_text(config_text().replace("port = 43113", 'port = "x"'))
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    assert "can0: python-can refuses its options" in capsys.readouterr().out

    def connect() -> NoReturn:
        raise ValueError("hop limit")

    PythonCanReader(connect, 0, name="can0").step()
    assert caplog.messages == ["can0: python-can refuses its options: look at channel and options in the configuration"]


@pytest.mark.parametrize("name", ["check", "run", "status"])
def test_a_missing_configuration_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--config", str(tmp_path / "absent.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_check_says_what_is_in_order(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """Signals, bus, identity, broker; and that nothing would be collected for anybody."""
    with answering(TAKEN) as port:
        unit.config.write_text(config_text(port=port))
        assert main(["check", "--config", str(unit.config)]) == 0
    out = capsys.readouterr().out
    assert all(line.startswith("ok ") for line in out.splitlines())
    for word in ("signals", "can0", "device", "nothing would be collected", "takes this unit"):
        assert word in out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the broker closed the connection before it answered"),
        (bytes([0x20, 0x03, 0x00, 0x86, 0x00]), "look at mqtt.username"),
    ],
    ids=["hangs up", "wrong password"],
)
def test_check_tells_a_broker_that_refuses_from_one_that_takes_connections(
    unit: Unit, capsys: pytest.CaptureFixture[str], answer: bytes, words: str
) -> None:
    with answering(answer) as port:
        unit.config.write_text(config_text(port=port))
        assert main(["check", "--config", str(unit.config)]) == 1
    assert words in capsys.readouterr().out.splitlines()[-1]


def test_check_gives_up_on_a_port_that_says_nothing(
    unit: Unit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knock, "ANSWER_S_MAX", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        unit.config.write_text(config_text(port=mute.getsockname()[1]))
        assert main(["check", "--config", str(unit.config)]) == 1
    assert "does not answer" in capsys.readouterr().out.splitlines()[-1]


def test_check_before_the_service_is_up_says_where_its_credentials_come_from(
    unit: Unit, capsys: pytest.CaptureFixture[str]
) -> None:
    """systemd's files are not there now, which is no wrong configuration."""
    ca = 'ca_file = "/run/credentials/carnet-agent.service/tls_ca.pem"'
    unit.config.write_text(config_text(port=9).replace("port = 9", f"port = 9\n{ca}"))
    assert main(["check", "--config", str(unit.config)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "only while the service runs: start the service" in line and "ca_file" in line]
    assert not [line for line in said if "broker" in line], "it is asked only with its files"


def test_check_distinguishes_what_is_away_from_what_is_wrong(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker or interface that is not there now is 1; a file that must be mended is 2."""
    unit.config.write_text(config_text(port=9))
    assert main(["check", "--config", str(unit.config)]) == 1
    unit.config.write_text(
        config_text().replace('"udp_multicast"', '"socketcan"').replace("239.74.163.2", "no-such-can")
    )
    assert main(["check", "--offline", "--config", str(unit.config)]) == 1
    assert "failed" in capsys.readouterr().out
    (unit.state / "identity" / "sign.key").chmod(0o644)
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    unit.config.write_text(config_text(extra='[operating]\nignition = "Vehicle.NoSuchThing"\n'))
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    unit.config.write_text(config_text().replace("carnet_demo.dbc", "absent.dbc"))
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    assert "absent.dbc" in capsys.readouterr().out


def test_check_changes_nothing(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even a consent file that the agent will have to put aside: it is named, that is all."""
    path = unit.state / "consent.db"
    path.write_bytes(b"no database" * 1000)
    assert main(["check", "--offline", "--config", str(unit.config)]) == 2
    assert "damaged" in capsys.readouterr().out
    assert path.read_bytes() == b"no database" * 1000


def test_status_without_an_agent_counts_what_waits(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the buffer is only read."""
    identity = read_identity(unit.state)
    opened = open_buffer(unit.state / "buffer.db", identity.device, identity.sign, lambda n: b"r" * n, 1 << 20)
    opened.buffer._db.close()
    before = (unit.state / "buffer.db").read_bytes()
    capsys.readouterr()
    assert main(["status", "--json", "--config", str(unit.config)]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["running"] is False
    assert facts["buffer"]["rows_waiting"] == 0
    assert (unit.state / "buffer.db").read_bytes() == before


def test_status_shows_what_the_agent_says(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"running": True, "mode": "normal", "buses": {"can0": {"fault": None, "frames": 7}}, "grants": []}
    capsys.readouterr()
    with running(unit, facts) as asked:
        assert main(["status", "--config", str(unit.config)]) == 0
    assert asked == [{"do": "status"}]
    assert capsys.readouterr().out.splitlines() == [
        "running: yes",
        "mode: normal",
        "buses:",
        "  can0:",
        "    fault: none",
        "    frames: 7",
        "grants: none",
    ]


def test_status_says_that_mode_off_lets_nothing_through(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands as in force is the owner's yes, which the driver's no outweighs."""
    capsys.readouterr()
    with running(unit, {"running": True, "mode": "off", "in_force": ["rec_a"]}):
        assert main(["status", "--config", str(unit.config)]) == 0
    *_, in_force, last = capsys.readouterr().out.splitlines()
    assert in_force == "in force: rec_a"
    assert last.startswith("mode off lets nothing through")


def test_mode_is_asked_of_the_running_agent(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    with running(unit, {"mode": "no_location"}) as asked:
        assert main(["mode", "no_location", "--config", str(unit.config)]) == 0
        assert main(["mode", "--config", str(unit.config)]) == 0
    assert asked == [{"do": "mode", "mode": "no_location"}, {"do": "status"}]
    assert capsys.readouterr().out.splitlines()[-2:] == ["mode: no_location"] * 2
    assert main(["mode", "off", "--config", str(unit.config)]) == 1
    assert "no agent is running" in capsys.readouterr().err


def test_a_ceiling_is_asked_of_the_running_agent(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not named is as in the configuration."""
    told = {"categories": ["energy"], "sensitivity": "personal", "interval_ms_min": {"energy": 60000}}
    config = ["--config", str(unit.config)]
    options = ["--categories", "energy", "--sensitivity", "personal", "--interval", "energy=60000"]
    with running(unit, {"ceiling": told}) as asked:
        assert main(["ceiling", *config]) == 0
        assert main(["ceiling", *options, *config]) == 0
        assert main(["ceiling", "--sensitivity", "low", *config]) == 0
        assert main(["ceiling", "--reset", *config]) == 0
        for wrong in (["--reset", "--sensitivity", "low"], ["--interval", "energy=0"], ["--interval", "speed=5"]):
            assert main(["ceiling", *wrong, *config]) == 2
    everything = sorted(Category)
    assert asked == [
        {"do": "status"},
        {"do": "ceiling", "ceiling": told},
        {"do": "ceiling", "ceiling": {"categories": everything, "sensitivity": "low", "interval_ms_min": {}}},
        {"do": "ceiling", "ceiling": None},
    ]
    said = ["categories: energy", "sensitivity: personal", "least intervals: energy 60000 ms"]
    assert capsys.readouterr().out.splitlines()[-3:] == said


def test_the_ledger_is_asked_of_the_running_agent(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = [
        {"day": "", "record": "rec_a", "boxes": 1, "samples": 2},
        {"day": "2026-03-01", "record": "rec_a", "boxes": 30, "samples": 4000},
    ]
    with running(unit, {"sealed": sealed}) as asked:
        assert main(["ledger", "--config", str(unit.config)]) == 0
        assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
            ["day", "unknown", "rec_a", "1", "boxes", "2", "samples"],
            ["2026-03-01", "rec_a", "30", "boxes", "4000", "samples"],
        ]
        assert main(["ledger", "--json", "--config", str(unit.config)]) == 0
    assert json.loads(capsys.readouterr().out) == sealed
    assert asked == [{"do": "ledger"}] * 2


def test_run_is_refused_while_another_agent_works(unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    from carnet_agent.statefolder import locked

    with locked(unit.state):
        assert main(["run", "--config", str(unit.config)]) == 1
    assert "stop it first" in capsys.readouterr().err


def test_damaged_consents_allow_nothing(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver may have switched everything off, and have set the narrowest ceiling; so it is like that, also if the
    power is cut before it is written. The damaged file is kept for whoever looks.
    """
    path = unit.state / "consent.db"
    owner = read_identity(unit.state).owner
    store, damaged = open_consents(path, owner, lambda n: b"r" * n)
    assert (store.mode, damaged) == (Mode.NORMAL, False)
    store._db.close()
    path.write_bytes(b"no database" * 1000)
    with monkeypatch.context() as cut:
        cut.setattr(GrantStore, "allow_nothing", lambda self: self._db.close())
        assert open_consents(path, owner, lambda n: b"r" * n)[1]
    assert (unit.state / "consent.db.damaged").read_bytes() == b"no database" * 1000
    store, _ = open_consents(path, owner, lambda n: b"r" * n)
    assert (store.mode, store.ceiling, store.grants) == (Mode.OFF, NOTHING, ())


def test_what_is_set_after_the_damage_stays_set(unit: Unit) -> None:
    path = unit.state / "consent.db"
    owner = read_identity(unit.state).owner
    path.write_bytes(b"no database" * 1000)
    store, damaged = open_consents(path, owner, lambda n: b"r" * n)
    assert (store.mode, store.ceiling, damaged) == (Mode.OFF, NOTHING, True)
    store.set_mode(Mode.NORMAL)
    store.set_ceiling(None)
    store._db.close()
    store, damaged = open_consents(path, owner, lambda n: b"r" * n)
    assert (store.mode, store.ceiling, damaged) == (Mode.NORMAL, Ceiling(), False)
