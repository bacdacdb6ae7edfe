"""Wrong use of every command ends with 2 and one sentence, before anything was done; what is refused or fails, with 1.

A row is a command line; words in capitals stand for files that the test makes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from carnet.cli import main as carnet
from carnet_agent.__main__ import main as agent
from carnet_cloud.__main__ import main as cloud
from carnet_simulator.__main__ import main as simulator
from tests import consentkit as kit
from tests.agent.units import config_text
from tests.cloud.test_commands import CONFIG
from tests.conftest import CHECKOUT
from tests.layout import project

PROGRAMS: Final[dict[str, Callable[[list[str]], int]]] = {
    "carnet": carnet,
    "carnet-agent": agent,
    "carnet-cloud": cloud,
    "carnet-sim": simulator,
}
ID: Final = "a" * 16
OWNER: Final = f"--vehicle {'a' * 26} --key KEY --cloud http://127.0.0.1:NOBODY"
WRONG: Final = f"""
carnet owner offers
carnet owner offers --vehicle bad
carnet owner offers --vehicle {"a" * 26} --cloud ftp://carnet.example
carnet owner offers --vehicle {"a" * 26} --cloud http://carnet.example
carnet owner offers --vehicle {"a" * 26} --cloud http://127.0.0.1:port
carnet owner offers --vehicle {"a" * 26} --cloud https://[::1
carnet owner offers --vehicle {"a" * 26} --cloud https://cärnet.example
carnet owner offers --vehicle {"a" * 26} --key NOWHERE
carnet owner list --vehicle {"a" * 26}
carnet owner list --vehicle {"a" * 26} --key EMPTY
carnet owner list --vehicle {"a" * 26} --key BINARY
carnet owner statement --vehicle {"a" * 26} --key NOWHERE
carnet owner receipts {OWNER}
carnet owner receipts {OWNER} --out NEW --checkpoint-key NOWHERE
carnet owner receipts --vehicle {"a" * 26} --key NOWHERE --out NEW
carnet owner grant bad {OWNER}
carnet owner grant rec_{ID} {OWNER}
carnet owner grant off_{ID} {OWNER} --days 0
carnet owner grant off_{ID} {OWNER} --days 366
carnet owner grant off_{ID} {OWNER} --days {"9" * 5000}
carnet owner grant off_{ID} {OWNER} --epoch 0
carnet owner grant off_{ID} {OWNER} --choose -1
carnet owner grant off_{ID} {OWNER} --choose x
carnet owner grant off_{ID} {OWNER} --language German
carnet owner grant off_{ID} {OWNER} --reference Größe
carnet owner withdraw bad {OWNER}
carnet owner pause off_{ID} {OWNER}
carnet owner resume ../x {OWNER}
carnet owner confirm ../x {OWNER}
carnet owner renew rec_{ID} {OWNER}
carnet owner renew rec_{ID} {OWNER} --days 0
carnet owner renew rec_{ID} {OWNER} --days 1e3
carnet owner keys {OWNER} --add NOWHERE
carnet owner keys {OWNER} --remove x
carnet owner keys --vehicle {"a" * 26}
carnet owner keygen --out KEYS
carnet owner keygen --out EMPTY
carnet owner keygen --out EMPTY/below
carnet verify NOWHERE
carnet verify FOLDER
carnet recipient keygen
carnet recipient keygen --out KEYS
carnet recipient keygen --out EMPTY
carnet recipient keygen --out EMPTY/below
carnet recipient open EMPTY
carnet recipient open EMPTY --key NOWHERE
carnet recipient open EMPTY --key EMPTY
carnet recipient open EMPTY --key KEY
carnet recipient open NOWHERE --key SEALKEY
carnet recipient open FOLDER --key SEALKEY
carnet-cloud why bad.path
carnet-cloud why Vehicle.Speed --vehicle xx --config CLOUD
carnet-cloud why Vehicle.Speed --config NOWHERE
carnet-cloud enrol NOWHERE --tenant x --config CLOUD
carnet-cloud enrol NOWHERE --tenant ten_{ID} --config CLOUD
carnet-cloud enrol FOLDER --tenant ten_{ID} --config CLOUD
carnet-cloud enrol EMPTY --tenant ten_{ID} --config NOWHERE
carnet-cloud offer NOWHERE --config CLOUD
carnet-cloud offer FOLDER --config CLOUD
carnet-cloud offer EMPTY --config CLOUD
carnet-cloud offer EMPTY --config NOWHERE
carnet-cloud end bad --config CLOUD
carnet-cloud end rec_{ID} --config CLOUD
carnet-cloud end off_{ID} --config NOWHERE
carnet-cloud backup NEW --config NOWHERE
carnet-cloud backup EMPTY --config CLOUD
carnet-cloud backup NEW --config CLOUD
carnet-cloud restore NOWHERE --config CLOUD
carnet-cloud restore EMPTY --config NOWHERE
carnet-cloud run --config NOWHERE
carnet-cloud run --config FOLDER
carnet-cloud run --config EMPTY
carnet-cloud run --config BINARY
carnet-cloud keygen KEYS
carnet-cloud keygen EMPTY
carnet-cloud keygen EMPTY/below
carnet-agent run --config NOWHERE
carnet-agent run --config EMPTY
carnet-agent check --config NOWHERE
carnet-agent check --config BINARY
carnet-agent status --config NOWHERE
carnet-agent status --config FOLDER
carnet-agent mode loud --config AGENT
carnet-agent mode off --config NOWHERE
carnet-agent ledger --config NOWHERE
carnet-agent ceiling --config NOWHERE
carnet-agent pair --config NOWHERE --owner-key PUBLIC --cloud-keys NOWHERE
carnet-agent pair --config AGENT --owner-key NOWHERE --cloud-keys NOWHERE
carnet-agent pair --config AGENT --owner-key EMPTY --cloud-keys NOWHERE
carnet-agent pair --config AGENT --owner-key PUBLIC --cloud-keys NOWHERE
carnet-agent pair --config AGENT --owner-key PUBLIC --cloud-keys BINARY
carnet-agent pair --config AGENT --owner-key PUBLIC --cloud-keys EMPTY --vehicle bad
carnet-agent pair --config AGENT --owner-key PUBLIC --cloud-keys EMPTY --epoch 0
carnet-agent pair --config AGENT --owner-key PUBLIC --cloud-keys EMPTY --epoch 4294967296
carnet-agent recover --config NOWHERE --owner-key PUBLIC
carnet-agent recover --config AGENT --owner-key NOWHERE
carnet-agent recover --config AGENT --owner-key EMPTY
carnet-agent recover --config AGENT --owner-key PUBLIC
carnet-agent decode CAPTURE
carnet-agent decode CAPTURE --dbc NOWHERE
carnet-agent decode NOWHERE.log --dbc DBC
carnet-agent decode CAPTURE --dbc DBC --match x
carnet-agent decode CAPTURE --dbc DBC --format x
carnet-agent decode CAPTURE --dbc DBC --out NOWHERE/below
carnet-agent frames
carnet-agent frames NOWHERE.log
carnet-sim drive --seed x
carnet-sim drive --seconds nan
carnet-sim drive --speed 0
carnet-sim drive --rate -1
carnet-sim drive --channel nobus=x
carnet-sim drive --fault x
carnet-sim drive --fault drop=2
carnet-sim replay NOWHERE
carnet-sim replay FOLDER
carnet-sim replay CAPTURE --speed x
carnet-sim broker --host 0.0.0.0
carnet-sim broker --port 65536
carnet-sim broker --port -1
carnet-sim broker --port 0 --users NOWHERE
carnet-sim broker --port 0 --users BINARY
carnet-sim demo --seconds 0 --headless
carnet-sim demo --seconds nan --headless
carnet-sim demo --folder FOLDER --headless
carnet-sim demo --picture NOWHERE/below --headless
carnet-sim demo --dbc DBC --headless
carnet-sim demo --capture NOWHERE --dbc DBC --headless
carnet-sim demo --capture CAPTURE --headless
carnet-sim demo --capture CAPTURE --dbc NOWHERE --headless
"""
REFUSED: Final = f"""
carnet owner offers {OWNER}
carnet owner grant off_{ID} {OWNER}
carnet owner withdraw rec_{ID} {OWNER}
carnet verify EMPTY
carnet recipient open BINARY --key SEALKEY
carnet-cloud enrol EMPTY --tenant ten_{ID} --config CLOUD
carnet-cloud offer OFFER --config ASKING
carnet-cloud end off_{ID} --config ASKING
carnet-agent decode EMPTY.log --dbc DBC
carnet-agent decode CAPTURE --dbc EMPTY
carnet-sim replay EMPTY.log
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the words in capitals stand for."""
    monkeypatch.chdir(tmp_path)
    for name in ("CARNET_CLOUD", "CARNET_VEHICLE", "CARNET_KEY", "CARNET_CHECKPOINT_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("cloud", "FOLDER"):
        (tmp_path / name).mkdir()
    for name in ("EMPTY", "EMPTY.log"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "BINARY").chmod(0o600)
    (tmp_path / "token").write_text("t" * 32)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "CLOUD").write_text(CONFIG)
    asking = CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{nobody()}")
    (tmp_path / "ASKING").write_text(asking.replace("[api]", '[api]\noperator_token_file = "token"'))
    (tmp_path / "AGENT").write_text(config_text())
    (tmp_path / "CAPTURE.log").write_text("(1.0) can0 123#00\n")
    (tmp_path / "OFFER").write_text(json.dumps(kit.offer_document()))
    assert carnet(["owner", "keygen", "--out", "KEYS"]) == 0
    assert carnet(["recipient", "keygen", "--out", "SEALKEY"]) == 0
    capsys.readouterr()
    return {
        "KEY": "KEYS/owner.key", "PUBLIC": "KEYS/owner.public.json", "CAPTURE": "CAPTURE.log",
        "DBC": str(CHECKOUT / "dbc" / "carnet_demo.dbc"),
    }  # fmt: skip


def nobody() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def run(line: str, files: dict[str, str]) -> int | str | None:
    program, *words = line.split()
    words = [files.get(word, word).replace("NOBODY", str(nobody())) for word in words]
    try:
        return PROGRAMS[program](words)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize("line", WRONG.strip().splitlines(), ids=lambda line: line[:70])
def test_wrong_use_ends_with_2_and_one_sentence(
    files: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is asked, and nothing is made."""
    before = sorted(Path.cwd().rglob("*"))
    assert run(line, files) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert err.startswith(line.split(maxsplit=1)[0]) and len(err) < 600 and err[:-1].isprintable()
    made = set(Path.cwd().rglob("*")) - set(before)
    assert {path for path in made if "cloud" not in path.parts} == set()


@pytest.mark.parametrize("line", REFUSED.strip().splitlines(), ids=lambda line: line[:70])
def test_what_is_refused_or_fails_ends_with_1(
    files: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command lines, without a fault of their own."""
    assert run(line, files) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith(line.split(maxsplit=1)[0]) and "Traceback" not in err


def test_every_command_has_a_row() -> None:
    """A new command is in the table, or this fails."""
    from carnet_agent.__main__ import COMMANDS as OF_AGENT
    from carnet_simulator.__main__ import COMMANDS as OF_SIMULATOR
    from tests.carnet.test_owner_command import COMMANDS as OF_OWNER
    from tests.cloud.test_commands import COMMANDS as OF_CLOUD

    known = {f"carnet owner {name}" for name in OF_OWNER} | {"carnet verify"}
    known |= {"carnet recipient keygen", "carnet recipient open"}
    known |= {f"carnet-cloud {name}" for name in OF_CLOUD}
    known |= {f"carnet-agent {name}" for name in OF_AGENT} | {f"carnet-sim {name}" for name in OF_SIMULATOR}
    assert {name for name in known if not any(line.startswith(name) for line in WRONG.splitlines())} == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_its_version(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that whoever helps asks for; in a checkout, too, which was never installed."""
    described = project()["project"]
    assert isinstance(described, dict)
    with pytest.raises(SystemExit) as left:
        PROGRAMS[program](["--version"])
    assert (left.value.code, *capsys.readouterr()) == (0, f"{program} {described['version']}\n", "")
