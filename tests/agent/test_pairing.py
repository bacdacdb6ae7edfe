"""Pairing gives a unit its identity once; again only with --renew, and then nothing of the tenure before is left."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from carnet.enrolment import parse_enrolment
from carnet.errors import ConfigError, UnavailableError
from carnet.ids import device_bytes, device_text
from carnet_agent import pairing
from carnet_agent.__main__ import main
from carnet_agent.identity import read_identity
from carnet_agent.pairing import Pairing, pair, read_cloud_keys, read_owner_key
from carnet_agent.statefolder import locked
from tests.agent.units import CLOUD, OWNER, Unit, make_unit

ASKED = Pairing(OWNER.public, CLOUD)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def source() -> random.Random:
    return random.Random(11)


def test_the_enrolment_says_what_the_unit_is(state: Path, source: random.Random) -> None:
    """The cloud gets the public halves of exactly the keys that the unit will use, signed by the unit."""
    enrolment = parse_enrolment(pair(state, ASKED, source.randbytes))
    identity = read_identity(state)
    assert enrolment.device == identity.device
    assert (enrolment.sign_key, enrolment.receive_key) == (identity.sign.public, identity.receive.public)
    assert enrolment.owner_keys == identity.owner.pinned == (OWNER.public,)
    assert device_text(enrolment.vehicle) == identity.owner.vehicle
    assert enrolment.epoch == identity.owner.epoch == 1
    assert identity.cloud == CLOUD


def test_secrets_are_the_owners_alone(state: Path, source: random.Random) -> None:
    """Every file of an identity is 0600, and one that others may read is not used."""
    pair(state, ASKED, source.randbytes)
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (state / "identity").iterdir()} == {0o600}
    (state / "identity" / "sign.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_identity(state)


def test_a_second_pairing_is_refused(state: Path, source: random.Random) -> None:
    """And changes nothing: the unit is who it was."""
    pair(state, ASKED, source.randbytes)
    before = read_identity(state)
    with pytest.raises(ConfigError, match="--renew") as caught:
        pair(state, ASKED, source.randbytes)
    assert caught.value.reason == "already_paired"
    assert read_identity(state) == before


def test_renewal_keeps_the_vehicle_raises_the_epoch_and_leaves_nothing(state: Path, source: random.Random) -> None:
    """A sale: new device id, new keys, next epoch; buffer, grants and what was ever quarantined are gone."""
    pair(state, ASKED, source.randbytes)
    before = read_identity(state)
    for name in ("buffer.db", "buffer.db-wal", "buffer.db.quarantine.1", "consent.db", "consent.db-wal"):
        (state / name).write_bytes(b"x")
    pair(state, Pairing(OWNER.public, CLOUD, renew=True), source.randbytes)
    after = read_identity(state)
    assert (after.owner.vehicle, after.owner.epoch) == (before.owner.vehicle, 2)
    assert after.device != before.device
    assert after.sign.public != before.sign.public
    assert sorted(path.name for path in state.iterdir()) == [
        "identity",
        f"identity-{device_text(after.device)}",
        "lock",
    ]


@pytest.mark.parametrize("epoch", [1, 0, 2**32])
def test_an_epoch_never_falls_or_leaves_its_range(state: Path, source: random.Random, epoch: int) -> None:
    pair(state, ASKED, source.randbytes)
    (state / "buffer.db").write_bytes(b"kept")
    with pytest.raises(ConfigError):
        pair(state, Pairing(OWNER.public, CLOUD, epoch=epoch, renew=True), source.randbytes)
    assert (state / "buffer.db").read_bytes() == b"kept"


def test_a_pairing_that_was_cut_short_leaves_the_old_identity_in_force(state: Path, source: random.Random) -> None:
    """Power may go between any two steps: what is not linked does not count, and the next pairing clears it away."""
    pair(state, ASKED, source.randbytes)
    before = read_identity(state)
    half = state / "identity-aaaa"
    half.mkdir()
    (half / "sign.key").write_bytes(b"half")
    (state / "identity.new").symlink_to("identity-aaaa")
    assert read_identity(state) == before
    pair(state, Pairing(OWNER.public, CLOUD, renew=True), source.randbytes)
    assert not half.exists()


def test_nobody_pairs_under_a_running_agent(state: Path, source: random.Random) -> None:
    with locked(state), pytest.raises(UnavailableError, match="stop it first"):
        pair(state, ASKED, source.randbytes)


def test_an_unpaired_or_damaged_unit_says_so(state: Path, source: random.Random) -> None:
    with pytest.raises(ConfigError, match="carnet-agent pair"):
        read_identity(state)
    pair(state, ASKED, source.randbytes)
    (state / "identity" / "owner.json").write_bytes(b"{}")
    with pytest.raises(ConfigError, match="pair the unit again"):
        read_identity(state)


def test_a_folder_that_others_may_enter_is_refused(state: Path, source: random.Random) -> None:
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        pair(state, ASKED, source.randbytes)


def test_files_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    """Each with a sentence that names the file; secrets handed in by mistake are not echoed."""
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(b'{"crv":"Ed25519","d":"c2VjcmV0","kty":"OKP","x":"AA"}')
    for reader in (read_owner_key, read_cloud_keys):
        with pytest.raises(ConfigError, match=r"wrong\.json") as caught:
            reader(wrong)
        assert "c2VjcmV0" not in str(caught.value)


def test_the_command_writes_the_enrolment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line, with a vehicle that is known already; the second time one sentence and exit code 2."""
    unit = make_unit(tmp_path)
    out = tmp_path / "enrolment.json"
    vehicle = device_text(bytes(range(16)))
    words = ["pair", "--config", str(unit.config), "--owner-key", str(unit.owner_key), "--cloud-keys"]
    words += [str(unit.cloud_keys), "--out", str(out)]
    assert main([*words, "--vehicle", vehicle, "--epoch", "4"]) == 0
    enrolment = parse_enrolment(out.read_bytes())
    assert (enrolment.vehicle, enrolment.epoch) == (device_bytes(vehicle), 4)
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert parse_enrolment(out.read_bytes()) == enrolment
    assert not list(tmp_path.glob(".*.part"))


def words(unit: Unit, out: Path) -> list[str]:
    keys = ["--owner-key", str(unit.owner_key), "--cloud-keys", str(unit.cloud_keys)]
    return ["pair", "--config", str(unit.config), *keys, "--out", str(out)]


def test_an_enrolment_into_a_pipe_goes_through_it_and_leaves_it_there(tmp_path: Path) -> None:
    """As into any device: a root user's /dev/stdout is no file to be replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert main(words(make_unit(tmp_path), pipe)) == 0
    assert parse_enrolment(os.read(reader, 65_536)).epoch == 1
    os.close(reader)
    assert pipe.is_fifo()


def test_a_state_folder_that_takes_nothing_is_told_by_its_own_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pairing, "sync_folder", full)
    unit, out = make_unit(tmp_path), tmp_path / "enrolment.json"
    assert main(words(unit, out)) == 1
    said = capsys.readouterr().err
    assert "cannot be written: No space left" in said and out.name not in said
    assert not [path for path in tmp_path.iterdir() if out.name in path.name]


def test_a_wrong_vehicle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = make_unit(tmp_path)
    words = ["pair", "--config", str(unit.config), "--owner-key", str(unit.owner_key), "--cloud-keys"]
    with pytest.raises(SystemExit) as left:
        main([*words, str(unit.cloud_keys), "--vehicle", "WVWZZZ"])
    assert left.value.code == 2
    assert "--vehicle" in capsys.readouterr().err
