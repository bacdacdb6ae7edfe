"""An installer's mistakes, each on a real broker: one sentence that says what to do, in check, status and the log."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import certificates
from carnet.errors import ConfigError
from carnet.ids import device_text
from carnet_agent import knock
from carnet_agent.__main__ import main
from carnet_agent.identity import read_identity
from carnet_agent.mqtt import BrokerLink as AgentLink
from carnet_agent.settings import MqttSection as AgentSection
from carnet_agent.statefolder import locked
from carnet_cloud.config import MqttSection as CloudSection
from carnet_cloud.mqtt import BrokerLink as CloudLink
from tests.agent.test_commands import running
from tests.agent.units import config_text, make_unit
from tests.system.mosquitto import HOST, Mosquitto, free_port, shipped
from tests.system.road import until

DEVICE = bytes(range(16))
NAME = device_text(DEVICE)
EXPIRED, REVOKED = "a" * 26, "b" * 26
PAST = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]


@dataclass(frozen=True, slots=True)
class Place:
    """What an installer can point at."""

    secure: int
    """The broker as shipped."""
    outdated: int
    """The same with a certificate that has expired."""
    plain: int
    """A broker without TLS."""
    full: int
    """A port that answers nothing at all."""
    ours: Path
    """The brokers' authority."""
    others: Path
    """Another authority, which has signed for our name too."""

    def right(self, **changes: Any) -> dict[str, Any]:
        """`[mqtt]` without a mistake, and then with one."""
        given = {"host": HOST, "port": self.secure, "ca_file": self.ours / "ca.pem"}
        return given | self.party(self.ours, NAME) | changes

    def party(self, authority: Path, name: str) -> dict[str, Any]:
        return {"cert_file": authority / f"{name}.pem", "key_file": authority / f"{name}.key"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    others = folder / "others"
    certificates.make_authority(others)
    certificates.make_device(others, NAME)
    for name in ("first", "second", "third"):
        (folder / name).mkdir()
    broker = shipped(folder / "first", ["receiver-1"], [NAME])
    ours = folder / "first" / "carnet"
    make_expired(ours, EXPIRED)
    certificates.make_device(ours, REVOKED)
    for kind in ("pem", "key"):
        shutil.copy(ours / f"{REVOKED}.{kind}", others)
    certificates.revoke(ours, REVOKED)
    outdated = shipped(folder / "second")
    theirs = folder / "second" / "carnet"
    make_expired(ours, "outdated", f"extendedKeyUsage = serverAuth\nsubjectAltName = IP:{HOST}\n")
    shutil.copy(ours / "outdated.pem", theirs / "broker.pem")
    shutil.copy(ours / "outdated.key", theirs / "broker.key")
    with broker, outdated, Mosquitto(folder / "third") as plain, full_port() as full:
        yield Place(broker.port, outdated.port, plain.port, full, ours, others)


def make_expired(authority: Path, name: str, extensions: str = certificates.CLIENT) -> None:
    """A certificate of the past: openssl counts days from now, so the dates are written."""
    whole = certificates._openssl

    def dated(folder: Path, *words: str) -> None:
        days = words.index("-days") if "-days" in words else None
        whole(folder, *(words if days is None else (*words[:days], *PAST, *words[days + 2 :])))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificates, "_openssl", dated)
        certificates.issue(authority, name, name, extensions)


class full_port:  # noqa: N801
    """A port whose queue is full: what comes is dropped without a word, as by a firewall."""

    def __enter__(self) -> int:
        self._listener = socket.socket()
        self._listener.bind((HOST, 0))
        self._listener.listen(0)
        address = self._listener.getsockname()
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(address)
        return int(address[1])

    def __exit__(self, *_: object) -> None:
        for each in (*self._waiting, self._listener):
            each.close()


Mistake = Callable[[Place], dict[str, Any]]
REFUSED: dict[str, tuple[Mistake, str]] = {
    "a certificate of another authority": (
        lambda p: p.right(**p.party(p.others, NAME)),
        "another authority has signed",
    ),
    "an expired certificate": (lambda p: p.right(**p.party(p.ours, EXPIRED)), "our certificate, which has expired"),
    "a revoked certificate": (lambda p: p.right(**p.party(p.others, REVOKED)), "which was revoked"),
    "the broker's own certificate": (lambda p: p.right(**p.party(p.ours, "broker")), "not one for a client"),
    "no certificate": (lambda p: p.right(cert_file=None, key_file=None), "set mqtt.cert_file and mqtt.key_file"),
    "no TLS where TLS is spoken": (lambda p: {"host": HOST, "port": p.secure}, "then set mqtt.ca_file"),
}
UNREACHED: dict[str, tuple[Mistake, str]] = {
    "another authority's ca.pem": (
        lambda p: p.right(ca_file=p.others / "ca.pem"),
        "ca.pem of its authority",
    ),
    "another name of the broker": (lambda p: p.right(host="localhost"), "write the name in it as host"),
    "the broker's certificate has expired": (lambda p: p.right(port=p.outdated), "its certificate has expired"),
    "TLS where none is spoken": (lambda p: p.right(port=p.plain), "with TLS or without"),
    "a closed port": (lambda p: p.right(port=free_port()), "nobody listens at that port"),
    "a filtered port": (lambda p: p.right(port=p.full), "firewall"),
    "a name that nobody knows": (lambda p: p.right(host="no-such-host.invalid"), "cannot be looked up"),
}
UNUSABLE: dict[str, tuple[Mistake, str]] = {
    "certificate and key swapped": (
        lambda p: p.right(cert_file=p.ours / f"{NAME}.key", key_file=p.ours / f"{NAME}.pem"),
        "is it swapped with mqtt.key_file?",
    ),
    "the key of another certificate": (lambda p: p.right(key_file=p.ours / "broker.key"), "is not the key of"),
    "a key as ca.pem": (lambda p: p.right(ca_file=p.ours / "ca.key"), "it must be the authority's ca.pem"),
}
CONNECTING = REFUSED | UNREACHED


@pytest.mark.parametrize("mistake", CONNECTING)
def test_a_check_tells_the_mistake(place: Place, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "ANSWER_S_MAX", 2.0)
    make, words = CONNECTING[mistake]
    said = knock.knock(AgentSection(**make(place)), NAME)
    assert said is not None and words in said and "\n" not in said


@pytest.mark.parametrize("mistake", CONNECTING | UNUSABLE)
def test_the_running_agent_shows_the_mistake_in_its_status(place: Place, mistake: str) -> None:
    make, words = (CONNECTING | UNUSABLE)[mistake]
    link = AgentLink(AgentSection(**make(place)), DEVICE)
    link.start()
    until(lambda: words in (link.fault or ""), lambda: str(link.fault), 20)
    assert (link.counters["unanswered"] > 0) == (mistake in REFUSED)
    assert link.counters["other_version"] == 0
    link.stop()


@pytest.mark.parametrize("mistake", CONNECTING)
def test_the_receiver_says_the_mistake_once_in_its_log(
    place: Place, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = CONNECTING[mistake]
    link = CloudLink(CloudSection(**make(place)), "receiver")
    with caplog.at_level(logging.WARNING):
        link.start()
        until(lambda: any(words in said for said in link._said), lambda: str(link._said), 20)
    link.stop()
    assert (link.unanswered > 0) == (mistake in REFUSED)
    assert len([record for record in caplog.records if words in record.getMessage()]) == 1


@pytest.mark.parametrize("mistake", UNUSABLE)
def test_a_receiver_does_not_start_with_files_that_cannot_be_used(place: Place, mistake: str) -> None:
    make, words = UNUSABLE[mistake]
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        CloudLink(CloudSection(**make(place)), "receiver")


# the command


@pytest.fixture
def unit_config(tmp_path: Path) -> Path:
    made = make_unit(tmp_path)
    words = ["--owner-key", str(made.owner_key), "--cloud-keys", str(made.cloud_keys), "--config", str(made.config)]
    assert main(["pair", *words, "--out", str(tmp_path / "enrolment.json")]) == 0
    return made.config


def signed_for(config: Path, *authorities: Path) -> str:
    """The paired unit's name, for which each of them has made a certificate."""
    name = device_text(read_identity(config.parent / "state").device)
    for authority in authorities:
        certificates.make_device(authority, name)
    return name


def configure(config: Path, section: dict[str, Any]) -> None:
    lines = [f'{name} = "{value}"' for name, value in section.items() if isinstance(value, Path)]
    config.write_text(config_text(section["port"]).replace("\n[[bus]]", "\n".join(lines) + "\n[[bus]]", 1))


def test_check_waits_for_the_brokers_word(place: Place, unit_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 only if it takes this unit; 1 if it refuses; 2 if a file of ours is wrong."""
    codes = {}
    unit = signed_for(unit_config, place.ours, place.others)
    for name, section in {
        "right": place.right(**place.party(place.ours, unit)),
        "earlier pairing": place.right(),
        "other authority": place.right(**place.party(place.others, unit)),
        "swapped": UNUSABLE["certificate and key swapped"][0](place),
    }.items():
        configure(unit_config, section)
        codes[name] = main(["check", "--config", str(unit_config)]), capsys.readouterr().out.splitlines()[-1]
    assert {name: code for name, (code, _) in codes.items()} == {
        "right": 0,
        "earlier pairing": 1,
        "other authority": 1,
        "swapped": 2,
    }
    assert codes["right"][1].endswith("takes this unit")
    assert f"does not name {unit}" in codes["earlier pairing"][1]
    assert "another authority has signed" in codes["other authority"][1]
    assert "swapped with mqtt.key_file" in codes["swapped"][1]


@pytest.mark.parametrize(("fault", "code"), [(None, 0), ("it refuses our certificate", 1)])
def test_check_leaves_the_connection_of_a_running_agent_alone(
    place: Place, unit_config: Path, capsys: pytest.CaptureFixture[str], fault: str | None, code: int
) -> None:
    """The shipped broker ends the connection of a name when a second one comes; so the agent is asked instead."""
    configure(unit_config, place.right())
    unit = make_unit(unit_config.parent, unit_config.read_text())
    link = AgentLink(AgentSection(**place.right()), DEVICE)
    link.start()
    until(link.connected.is_set)
    with locked(unit.state), running(unit, {"broker": {"fault": fault}}) as asked:
        assert main(["check", "--config", str(unit_config)]) == code
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith("the running agent is connected" if fault is None else fault)
    assert asked == [{"do": "status"}]
    assert link.connected.is_set() and link.counters["connections"] == 1
    link.stop()
