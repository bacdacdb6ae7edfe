"""The broker as we ship it: who may write and read which topic, and what it refuses."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import certificates
from carnet.ids import device_text
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.topics import filter_up, topic_down, topic_up
from tests.conftest import CHECKOUT
from tests.system.brokerclient import WAIT_S, BrokerClient
from tests.system.mosquitto import SHIPPED, Mosquitto, shipped

SUCCESS = 0x00
GRANTED_QOS_1 = 0x01
NOBODY_SUBSCRIBED = 0x10
NOT_AUTHORIZED = 0x87

OURS = bytes(range(16))
OTHER = bytes(range(16, 32))
OURS_NAME, OTHER_NAME = device_text(OURS), device_text(OTHER)
RECEIVERS = ("receiver-1", "receiver-2")

Connect = Callable[..., BrokerClient]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broker")


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[Mosquitto]:
    with shipped(folder, RECEIVERS, (OURS_NAME, OTHER_NAME)) as broker:
        yield broker


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Connect]:
    """Connects a party by its certificate; all are closed at the end."""
    opened: list[BrokerClient] = []

    def connect(name: str | None, client_id: str = "", place: Path | None = None) -> BrokerClient:
        opened.append(BrokerClient(broker.port, place or broker.folder / "carnet", name, client_id))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def admitted(broker: Mosquitto, place: Path, name: str) -> bool:
    """Whether the broker takes this party now."""
    party = BrokerClient(broker.port, place, name)
    try:
        return party.connect()
    finally:
        party.close()


def wait_until(true: Callable[[], bool]) -> None:
    """Ask until the answer is yes; AssertionError after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_a_plain_broker_comes_back_on_its_port_after_a_kill(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        port = broker.port
        broker.kill()
        broker.start()
        assert broker.port == port


def test_a_unit_and_a_receiver_reach_each_other(client: Connect) -> None:
    unit, receiver = client(OURS_NAME), client("receiver-1")
    assert unit.connect()
    assert receiver.connect()
    assert receiver.subscribe(filter_up("+")) == GRANTED_QOS_1
    assert unit.subscribe(topic_down(OURS)) == GRANTED_QOS_1
    envelope = bytes(MESSAGE_BYTES_MAX)
    assert unit.publish(topic_up(OURS), envelope) == SUCCESS
    assert receiver.receive() == (topic_up(OURS), envelope)
    assert receiver.publish(topic_down(OURS), b"answer") == SUCCESS
    assert unit.receive() == (topic_down(OURS), b"answer")


def test_two_receivers_stay_connected_side_by_side(client: Connect) -> None:
    first, second = client("receiver-1"), client("receiver-2")
    assert first.connect()
    assert second.connect()
    assert first.subscribe(filter_up("00")) == GRANTED_QOS_1
    assert second.subscribe(filter_up("10")) == GRANTED_QOS_1
    assert first.waiting() == second.waiting() == []


@pytest.mark.parametrize(
    "topic",
    [topic_up(OTHER), topic_down(OURS), topic_down(OTHER), "carnet/1/00/up", f"carnet/2/00/{OURS_NAME}/up", "other"],
)
def test_f18_a_unit_writes_nowhere_but_to_its_own_readings(client: Connect, topic: str) -> None:
    unit = client(OURS_NAME)
    assert unit.connect()
    assert unit.publish(topic) == NOT_AUTHORIZED


def test_a_receiver_does_not_write_readings(client: Connect) -> None:
    receiver = client("receiver-1")
    assert receiver.connect()
    assert receiver.publish(topic_up(OURS)) == NOT_AUTHORIZED


@pytest.mark.parametrize("topic", ["#", "carnet/1/+/+/up", "carnet/1/+/+/down", topic_up(OURS), topic_down(OTHER)])
def test_f18_a_unit_that_subscribes_to_others_receives_nothing_of_theirs(client: Connect, topic: str) -> None:
    """Mosquitto grants a wildcard and filters at delivery, so only what arrives counts."""
    unit, other, receiver = client(OURS_NAME), client(OTHER_NAME), client("receiver-1")
    for each in (unit, other, receiver):
        assert each.connect()
    unit.subscribe(topic)
    unit.subscribe(topic_down(OURS))
    assert other.publish(topic_up(OTHER)) in (SUCCESS, NOBODY_SUBSCRIBED)
    assert unit.publish(topic_up(OURS)) in (SUCCESS, NOBODY_SUBSCRIBED)
    assert receiver.publish(topic_down(OTHER)) in (SUCCESS, NOBODY_SUBSCRIBED)
    assert receiver.publish(topic_down(OURS), b"last") == SUCCESS
    # The broker delivers in order: had there been anything else for this unit, it would have come first.
    assert unit.receive() == (topic_down(OURS), b"last")


def test_f18_a_unit_cannot_take_another_ones_client_id(client: Connect) -> None:
    """With the id of a connected party MQTT would push that party out."""
    other = client(OTHER_NAME, client_id=OTHER_NAME)
    assert other.connect()
    unit = client(OURS_NAME, client_id=OTHER_NAME)
    assert unit.connect()
    assert unit.publish(topic_up(OTHER)) == NOT_AUTHORIZED
    assert other.publish(topic_up(OTHER)) in (SUCCESS, NOBODY_SUBSCRIBED)
    assert other.waiting() == []


@pytest.mark.parametrize("name", ["+", "#"])
def test_f18_a_wildcard_as_a_name_gives_no_rights(client: Connect, broker: Mosquitto, name: str) -> None:
    """Our tool issues no such certificate; if an authority does, the broker must not read it as a pattern."""
    place = broker.folder / "carnet"
    file = f"wildcard-{ord(name)}"
    certificates.issue(place, file, name, certificates.CLIENT)
    unit = client(file)
    assert not unit.connect() or unit.publish(topic_up(OURS)) == NOT_AUTHORIZED


def test_without_a_certificate_nobody_comes_in(client: Connect) -> None:
    assert not client(None).connect()


def test_a_certificate_of_another_authority_is_refused(client: Connect, broker: Mosquitto, tmp_path: Path) -> None:
    certificates.make_authority(tmp_path)
    certificates.make_device(tmp_path, OURS_NAME)
    (tmp_path / "ca.pem").write_bytes((broker.folder / "carnet" / "ca.pem").read_bytes())
    assert not client(OURS_NAME, place=tmp_path).connect()


def test_a_brokers_certificate_is_no_units(client: Connect) -> None:
    assert not client("broker").connect()


def test_a_retained_message_ends_the_connection(client: Connect) -> None:
    unit = client(OURS_NAME)
    assert unit.connect()
    assert unit.publish(topic_up(OURS), retain=True) is None


def test_f17_more_than_an_envelope_ends_the_connection(client: Connect) -> None:
    unit = client(OURS_NAME)
    assert unit.connect()
    assert unit.publish(topic_up(OURS), bytes(MESSAGE_BYTES_MAX + 2048)) is None


def test_a_revoked_certificate_is_refused_after_a_reload(tmp_path: Path) -> None:
    with shipped(tmp_path, devices=(OURS_NAME, OTHER_NAME)) as broker:
        place = tmp_path / "carnet"
        kept = tmp_path / "kept"
        kept.mkdir()
        for file in ("ca.pem", f"{OURS_NAME}.pem", f"{OURS_NAME}.key"):
            (kept / file).write_bytes((place / file).read_bytes())
        certificates.revoke(place, OURS_NAME)
        broker.reload()
        wait_until(lambda: not admitted(broker, kept, OURS_NAME))
        with BrokerClient(broker.port, place, OTHER_NAME) as other:
            assert other.publish(topic_up(OTHER)) in (SUCCESS, NOBODY_SUBSCRIBED)


def test_the_broker_stores_nothing(tmp_path: Path) -> None:
    with shipped(tmp_path, devices=(OURS_NAME,)) as broker:
        with BrokerClient(broker.port, tmp_path / "carnet", OURS_NAME) as unit:
            assert unit.publish(topic_up(OURS), b"marker") == NOBODY_SUBSCRIBED
    stored = [path.name for path in tmp_path.iterdir()]
    assert sorted(stored) == ["carnet", "conf.d", "mosquitto.conf", "mosquitto.log"]


def test_the_list_of_rights_names_the_topics_of_the_code() -> None:
    """A pattern for %u is the device's own topic with the name left open, and likewise for the receivers."""
    lines = (SHIPPED / "acl").read_text().splitlines()
    shard_and_name = f"00/{OURS_NAME}"
    up = topic_up(OURS)
    down = topic_down(OURS)
    rights = [line for line in lines if line and not line.startswith(("#", "user "))]
    assert set(rights) == {
        f"pattern write {up.replace(shard_and_name, '+/%u')}",
        f"pattern read {down.replace(shard_and_name, '+/%u')}",
        f"topic read {filter_up('+')}",
        f"topic write {down.replace(shard_and_name, '+/+')}",
    }


@pytest.mark.parametrize("name", ["+", "#", "receiver-1", "carnet", "A" * 26, "a" * 27, "../" + "a" * 23])
def test_the_tool_names_no_unit_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(certificates.CertificateError):
        certificates.make_device(tmp_path, name)


@pytest.mark.parametrize("name", ["+", "receiver-", "receiver-+", OURS_NAME, "receiver-1/../x"])
def test_the_tool_names_no_receiver_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(certificates.CertificateError):
        certificates.make_receiver(tmp_path, name)


def test_a_units_key_never_leaves_it_and_its_request_does_not_choose_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificates.make_authority(tmp_path / "ca")
    words = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=receiver-1", "-keyout", "unit.key", "-out", "unit.csr"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    capsys.readouterr()
    code = certificates.main(["device", str(tmp_path / "ca"), OURS_NAME, "--csr", str(tmp_path / "unit.csr")])
    assert code == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'ca' / OURS_NAME}.pem\n"
    assert not (tmp_path / "ca" / f"{OURS_NAME}.key").exists()
    words = ["openssl", "x509", "-noout", "-subject", "-in", str(tmp_path / "ca" / f"{OURS_NAME}.pem")]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said.replace(" ", "").strip() == f"subject=CN={OURS_NAME}"


def test_the_tool_prints_each_file_that_it_wrote_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "ca"
    told: set[Path] = set()
    for words in (["ca"], ["broker", "broker.example.org"], ["receiver", "receiver-1"], ["device", OURS_NAME]):
        assert certificates.main([words[0], str(place), *words[1:]]) == 0
        told |= {Path(line.removeprefix("wrote ")) for line in capsys.readouterr().out.splitlines()}
    assert told == set(place.glob("*.pem")) | set(place.glob("*.key"))
    assert {path.stat().st_mode & 0o077 for path in (place, *told)} == {0}
    assert certificates.main(["revoke", str(place), OURS_NAME]) == 0
    assert str(place / "revoked.pem") in capsys.readouterr().out


@pytest.mark.parametrize("place", ["authority", str(CHECKOUT / "authority")])
def test_no_authority_is_made_in_the_checkout_or_wherever_one_happens_to_be(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert certificates.main(["ca", place]) == 1
    assert "absolute path outside" in capsys.readouterr().err
    assert not Path(place).exists()


def test_no_authority_is_made_where_others_may_enter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca").chmod(0o755)
    assert certificates.main(["ca", str(tmp_path / "ca")]) == 1
    assert f"chmod 700 {tmp_path / 'ca'}" in capsys.readouterr().err


def test_the_tool_says_in_one_sentence_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert certificates.main(["device", str(tmp_path), OURS_NAME]) == 1
    assert "make one: certificates.py ca" in capsys.readouterr().err
    assert certificates.main(["ca", str(tmp_path / "ca")]) == 0
    assert certificates.main(["device", str(tmp_path / "ca"), OURS_NAME, "--csr", str(tmp_path / "unit.csr")]) == 1
    assert "carry the unit's request here" in capsys.readouterr().err
    assert certificates.main(["ca", str(tmp_path / "ca")]) == 1
    assert "another folder" in capsys.readouterr().err
