"""``carnet-cloud`` as the cloud team types it: help with an example, and one sentence about what is wrong."""

from __future__ import annotations

import json
import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from carnet_cloud.__main__ import main
from carnet_cloud.config import FORMS, CloudConfig, MqttSection, load
from carnet_cloud.gate import Blocked
from carnet_cloud.journal import Narrowing
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.running import operator
from carnet_cloud.service import Service
from carnet_cloud.why import DRIVER, ENDED, FORWARDED, QUARANTINED, SENTENCES
from tests import consentkit as kit
from tests.cloud.kit import Unit
from tests.cloud.test_enrol import enrolment

COMMANDS = ("keygen", "run", "enrol", "offer", "end", "why", "backup", "restore")
MAPPING = Path(__file__).resolve().parents[2] / "dbc" / "carnet_demo.map.toml"
CONFIG = f"""
[store]
path = "cloud/store.db"
journal = "journal/narrowings"
wrapping_keys = "wrapping"
[keys]
folder = "keys"
[mqtt]
host = "127.0.0.1"
port = 9
[api]
listen = "127.0.0.1:0"
[catalogue]
mappings = ["{MAPPING}"]
"""
RECIPIENTS = (
    "".join(
        f'[[recipient]]\nid = "rcp_{letter * 16}"\nkind = "file"\nname = "{name}"\npath = "{name}.jsonl"\n'
        for letter, name in (("a", "workshop"), ("b", "insurer"))
    )
    + "[api]"
)


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A configuration that is in order, with keys."""
    (tmp_path / "cloud").mkdir()
    assert main(["keygen", str(tmp_path / "keys")]) == 0
    path = tmp_path / "cloud.toml"
    path.write_text(CONFIG)
    capsys.readouterr()
    return path


@pytest.mark.parametrize("words", [[], *[[name] for name in COMMANDS]], ids=lambda words: "".join(words) or "all")
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert " ".join(["carnet-cloud", *words]) in out.partition("example")[2]
    assert not out.partition("\n\n")[2].startswith("positional arguments"), "the help says what the command does"


@pytest.mark.parametrize(
    "old, new, word",
    [
        ("port = 9", "prot = 9", "mqtt.prot: there is no such key"),
        ('host = "127.0.0.1"', "", "mqtt.host: this key is missing"),
        ('host = "127.0.0.1"', 'hots = "127.0.0.1"', "mqtt.hots"),
        ("carnet_demo.map", "nowhere.map", "nowhere.map.toml cannot be read"),
        ('"cloud/store.db"', '"store.db"', "a restored backup would bring it back"),
        ("port = 9", 'ca_file = "nowhere.pem"', "mqtt.ca_file"),
        ('host = "127.0.0.1"', 'host = "broker.example"', "mqtt: a broker on another machine needs ca_file"),
        ("port = 9", 'ca_file = "cloud.toml"', "mqtt.ca_file"),
        ("port = 9", 'cert_file = "cloud.toml"', "cert_file and key_file belong together"),
        ("port = 9", 'cert_file = "x.pem"\nkey_file = "x.key"', "a certificate needs ca_file"),
        ("[api]", '[api]\noperator_token_file = "nowhere"', "nowhere cannot be read"),
        ('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:99999"', "api.listen: a port is at most 65535"),
        ('listen = "127.0.0.1:0"', 'listen = "8480"', "api.listen: write an address and a port, as 127.0.0.1:8480"),
        ("[api]", RECIPIENTS.replace('"file"', '"fiel"'), "first [[recipient]]: kind: write one of 'file', 'webhook'"),
        (
            "[api]",
            RECIPIENTS.replace("rcp_b", "rpc_b"),
            "second [[recipient]], id: write rcp_ and 16 of the characters",
        ),
        ("[api]", RECIPIENTS.replace('"insurer"', '"workshop"'), "two [[recipient]] have one name"),
        ("[api]", RECIPIENTS.replace("rcp_bbbb", "rcp_aaaa").replace("b" * 12, "a" * 12), "have one id"),
        ("port = 9", 'port = "9"', "mqtt.port: "),
        ("port = 9", "port = 9.0", "mqtt.port: "),
        ("port = 9", "port = true", "mqtt.port: "),
        ('host = "127.0.0.1"', "host = 7", "mqtt.host: "),
        ('"cloud/store.db"', "7", "store.path: "),
        ("port = 9", 'shards = "+"', "mqtt.shards: "),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, word: str
) -> None:
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new))
    assert main(["run", "--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1


def test_every_pattern_of_the_configuration_has_words() -> None:
    """Nobody is asked to read a regular expression."""
    patterns = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(CloudConfig.model_json_schema())))
    assert {json.loads(each) for each in patterns} == set(FORMS)


def test_a_file_that_is_no_mapping_says_what_it_lacks(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "other.toml").write_text("answer = 42\n")
    config.write_text(CONFIG.replace(str(MAPPING), "other.toml"))
    assert main(["run", "--config", str(config)]) == 2
    assert "it has no signal" in capsys.readouterr().err


def test_a_cloud_whose_owners_cannot_withdraw_does_not_start(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The port of the consent API is another's."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        assert main(["run", "--config", str(config)]) == 1
    assert f"api.listen: cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_key_that_others_can_read_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = config.parent / "password"
    secret.write_text("open")
    secret.chmod(0o644)
    config.write_text(CONFIG.replace("port = 9", 'username = "worker"\npassword_file = "password"'))
    assert main(["run", "--config", str(config)]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_why_a_broker_is_not_reached_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    link = BrokerLink(MqttSection(host="127.0.0.1", port=9), "receiver")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            link._say("its name cannot be looked up")
    assert [record.getMessage() for record in caplog.records] == [
        "broker 127.0.0.1:9: its name cannot be looked up (said once)"
    ]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["why", "bad path"], "PATH"),
        (["why", "Vehicle.Speed", "--vehicle", "xx"], "--vehicle"),
        (["enrol", "enrolment.json", "--tenant", "x"], "--tenant"),
        (["enrol", "enrolment.json", "--tenant", "rcp_aaaaaaaaaaaaaaaa"], "--tenant"),
    ],
)
def test_a_wrong_argument_is_the_command_lines_fault(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], option: str
) -> None:
    """Exit code 2 and one sentence that names it, as everywhere; and the store is not even made."""
    with pytest.raises(SystemExit) as left:
        main([*words, "--config", str(config)])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {option}: " in err
    assert err.count("\n") == 1
    assert list((config.parent / "cloud").iterdir()) == []


def test_a_key_beside_a_lost_one_is_enrolled_by_a_word_of_the_operator(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "enrolment.json"
    words = ["enrol", str(file), "--tenant", kit.TENANT, "--config", str(config)]
    file.write_bytes(enrolment(Unit()))
    assert main(words) == 0
    file.write_bytes(enrolment(Unit(), kit.OWNER_KEY.public, kit.SECOND_KEY.public))
    capsys.readouterr()
    assert main(words) == 1
    assert "--recover" in capsys.readouterr().err
    assert main([*words, "--recover"]) == 0


def test_an_offer_is_published_in_its_canonical_form(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it was written, and without what nobody needs to write."""
    posted: list[bytes] = []

    def post(_config: object, path: str, data: bytes, _shape: object) -> dict[str, Any]:
        assert path == "/v1/offers"
        posted.append(data)
        return {"id": json.loads(data)["id"]}

    monkeypatch.setattr(operator, "post", post)
    file = config.parent / "offer.json"
    file.write_text(json.dumps(kit.offer_document(), indent=2, ensure_ascii=True))
    assert main(["offer", str(file), "--config", str(config)]) == 0
    assert posted == [kit.OFFER]
    short = {k: v for k, v in kit.offer_document().items() if k not in ("v", "type", "id", "created_ms", "replay_ms")}
    file.write_text(json.dumps(short))
    assert main(["offer", str(file), "--config", str(config)]) == 0
    assert json.loads(posted[1]).keys() == kit.offer_document().keys()
    assert "published off_" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, word",
    [
        ('{"v":1', "is not JSON"),
        ("[]", "write one JSON object"),
        ("{}", "is not an offer"),
        ('{"valid_days": 1.5}', ": valid_days: is not a whole number"),
        ('{"items": [{"when": [{"value": NaN}]}]}', ": items[0].when[0].value: is not a whole number"),
        ('{"items": [1, 9007199254740993]}', ": items[1]: is not a whole number"),
        ('{"valid_days": 1, "valid_days": 365}', "the member 'valid_days' stands twice"),
        ('{"\\u001b[2J": 1, "\\u001b[2J": 2}', "stands twice"),
        ('{"items": [{"\\u202e": 0.5}]}', ": items[0].\\u202e: is not a whole number"),
        ('{"valid_days": ' + "9" * 5000 + "}", "too many digits"),
        ("[" * 100_000, "at most 16 levels"),
        ('{"reveals": "' + "x" * 2_000_000 + '"}', "more than 1048576 bytes"),
        (json.dumps(kit.offer_document(items=[kit.item(kit.SPEED)] * 10_000)), "more than 65536 bytes"),
        (json.dumps(kit.offer_document(items=[kit.item(kit.SPEED)] * 300)), "items: a list has not 1 to 256 items"),
    ],
)
def test_a_broken_offer_is_one_sentence(config: Path, capsys: pytest.CaptureFixture[str], text: str, word: str) -> None:
    file = config.parent / "offer.json"
    file.write_text(text)
    assert main(["offer", str(file), "--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1 and err[:-1].isprintable() and len(err) < 500


def test_every_verdict_has_its_sentence() -> None:
    assert set(SENTENCES) == {FORWARDED, QUARANTINED, ENDED, DRIVER, *Blocked}


def test_the_services_gate_asks_the_journal_for_what_its_store_could_not_keep(config: Path) -> None:
    """One gate for the receiver and every forwarder, and it is wired."""
    lines = ("[[recipient]]", 'kind = "file"', f'id = "{kit.RECIPIENT}"', 'name = "A"', 'path = "events.jsonl"')
    config.write_text(CONFIG + "\n".join(lines))
    parts = Service(load(config)).parts
    parts.consents._journal.append(Narrowing(kit.RECORD_ID, "withdraw", "owner", 1))
    book = parts.receiver._outlet.book
    assert book._is_pending(kit.RECORD_ID)
    assert [forwarder._given for forwarder in parts.forwarders.values()] == [book.may_send]
    parts.store.close()


def test_a_failing_duty_of_the_services_keeper_is_counted_and_the_others_are_done(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(load(config))
    wrapped = service.parts.wrapping.wrap(b"k" * 32)
    monkeypatch.setattr(service.parts.consents, "_finish_pending", lambda: 1 // 0)
    assert not service._keeper.turn()
    assert service.facts()["failures"] == {"keeper endings: ZeroDivisionError": 1}
    assert service.parts.wrapping.unwrap(*wrapped) is None
    service.parts.store.close()
