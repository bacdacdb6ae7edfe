"""An owner who has lost his key gets another one beside it, at the unit, and nothing of his ends."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from carnet.consent import encode_grant_set
from carnet.enrolment import parse_enrolment
from carnet.errors import ConfigError, UnavailableError
from carnet.grantsets import Documents
from carnet.ids import RECORD, device_bytes, parse_id
from carnet.keys import SigningKey
from carnet.ownerkeys import PINNED_MAX, sign_addition, sign_removal
from carnet_agent.__main__ import main
from carnet_agent.consent.file import open_consents
from carnet_agent.consent.store import GrantStore
from carnet_agent.identity import Identity, read_identity
from carnet_agent.pairing import Pairing, pair
from carnet_agent.recovery import recover
from carnet_agent.statefolder import locked
from tests import consentkit as kit
from tests.agent.effects import EFFECTS, Cut
from tests.agent.units import CLOUD, make_unit

NEW = kit.SECOND_KEY


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A unit of the example owner's car."""
    state = tmp_path / "state"
    pair(state, Pairing(kit.OWNER_KEY.public, CLOUD, device_bytes(kit.VEHICLE)), random.Random(1).randbytes)
    return state


def recovered(state: Path, key: SigningKey = NEW) -> bytes:
    enrolment, damaged = recover(state, key.public, random.Random(2).randbytes)
    assert not damaged
    return enrolment


def consents(state: Path) -> GrantStore:
    store, damaged = open_consents(state / "consent.db", read_identity(state).owner, random.Random(3).randbytes)
    assert not damaged
    return store


def files(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (state / "identity").iterdir()}


def test_nothing_changes_but_the_keys(state: Path) -> None:
    """The same unit, vehicle and epoch; what was collected stays; and the cloud is told by the unit's signature."""
    (state / "buffer.db").write_bytes(b"rows")
    before, old = read_identity(state), files(state)
    enrolment = parse_enrolment(recovered(state))
    after, new = read_identity(state), files(state)
    keys = (kit.OWNER_KEY.public, NEW.public)
    assert (enrolment.owner_keys, enrolment.device) == (keys, before.device)
    assert (enrolment.sign_key, enrolment.receive_key) == (before.sign.public, before.receive.public)
    assert (enrolment.vehicle, enrolment.epoch) == (device_bytes(kit.VEHICLE), 1)
    assert after == Identity(before.device, before.sign, before.receive, before.owner.with_pinned(NEW.public), CLOUD)
    assert {name for name in old if old[name] != new[name]} == {"owner.json"}
    assert (state / "identity" / "owner.json").stat().st_mode & 0o777 == 0o600
    assert (state / "buffer.db").read_bytes() == b"rows"


def test_what_the_lost_key_agreed_to_goes_on_and_the_new_one_ends_it(state: Path) -> None:
    given, record = kit.documents(), parse_id(kit.RECORD_ID, RECORD)
    with closing(consents(state)) as store:
        store.apply(encode_grant_set(kit.grant_set(1, given)))
        handle = store.handle_of((record,))
    recovered(state)
    with closing(consents(state)) as store:
        assert [grant.state.value for grant in store.grants] == ["given"]
        assert store.handle_of((record,)) == handle
        ended = kit.event("withdraw", [given.record], key=NEW)
        store.apply(encode_grant_set(kit.grant_set(2, Documents(kit.OFFER, given.record, (ended,)))))
        assert [grant.state.value for grant in store.grants] == ["withdrawing"]
        other = kit.documents(key=NEW, id=kit.OTHER_RECORD_ID)
        assert store.apply(encode_grant_set(kit.grant_set(3, other))).refused == ()


def test_a_second_time_changes_nothing_and_writes_the_same_file(state: Path) -> None:
    """The first one may have got lost on its way to the cloud."""
    first, before = recovered(state), files(state)
    assert (recovered(state), files(state)) == (first, before)


def test_a_key_that_was_removed_is_not_pinned(state: Path) -> None:
    """The cloud would go on to say that it was, and no grant set of its would count any more."""
    owner = read_identity(state).owner
    tokens = tuple(
        sign(owner, NEW.public, kit.GIVEN_MS, kit.OWNER_KEY.secret) for sign in (sign_addition, sign_removal)
    )
    with closing(consents(state)) as store:
        store.apply(encode_grant_set(kit.grant_set(1, keys=tokens)))
    with pytest.raises(ConfigError) as refused:
        recovered(state)
    assert refused.value.reason == "owner_key_removed"
    assert read_identity(state).owner == owner


def test_keys_have_a_bound(state: Path) -> None:
    for number in range(1, PINNED_MAX):
        recovered(state, SigningKey.from_seed(bytes([number]) * 32))
    with pytest.raises(ConfigError, match="--renew") as refused:
        recovered(state)
    assert refused.value.reason == "owner_keys_excess"
    assert len(read_identity(state).owner.pinned) == PINNED_MAX


def test_a_power_cut_at_any_effect_leaves_the_old_keys_or_the_new_ones(tmp_path: Path) -> None:
    seen = set()
    for number in range(100):
        state = tmp_path / str(number)
        pair(state, Pairing(kit.OWNER_KEY.public, CLOUD), random.Random(1).randbytes)
        consents(state).close()
        try:
            with EFFECTS.cut_before(number):
                recovered(state)
        except Cut:
            assert len(read_identity(state).owner.pinned) in {1, 2}
            seen.add(len(read_identity(state).owner.pinned))
            recovered(state)
            assert read_identity(state).owner.pinned == (kit.OWNER_KEY.public, NEW.public)
        else:
            break
    else:
        pytest.fail("there is no end of effects")
    assert 1 in seen


def test_a_sale_that_a_power_cut_stopped_is_carried_out_first(state: Path) -> None:
    (state / "identity" / "wipe").write_bytes(b"")
    (state / "buffer.db").write_bytes(b"of the owner before")
    recovered(state)
    assert not (state / "buffer.db").exists()


def test_nobody_recovers_under_a_running_agent_or_where_nobody_was_paired(state: Path, tmp_path: Path) -> None:
    with locked(state), pytest.raises(UnavailableError, match="stop it first"):
        recovered(state)
    with pytest.raises(ConfigError, match="not paired"):
        recovered(tmp_path / "another")


def test_the_command_says_what_is_typed_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit, out = make_unit(tmp_path), tmp_path / "recovery.json"
    keys = ["--owner-key", str(unit.owner_key), "--config", str(unit.config)]
    assert main(["pair", *keys, "--cloud-keys", str(unit.cloud_keys), "--out", str(tmp_path / "first.json")]) == 0
    capsys.readouterr()
    assert main(["recover", *keys, "--out", str(out)]) == 0
    assert f"carnet-cloud enrol {out} --recover --tenant ten_" in capsys.readouterr().out
    assert out.read_bytes() == (tmp_path / "first.json").read_bytes()


def test_consents_that_were_found_damaged_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next start finds nothing wrong any more, and the mode is off."""
    unit = make_unit(tmp_path)
    keys = ["--owner-key", str(unit.owner_key), "--config", str(unit.config)]
    out = ["--out", str(tmp_path / "out.json")]
    assert main(["pair", *keys, "--cloud-keys", str(unit.cloud_keys), *out]) == 0
    (unit.state / "consent.db").write_bytes(b"no database" * 1000)
    assert main(["recover", *keys, *out]) == 0
    assert "mode and ceiling let nothing through" in capsys.readouterr().err
    assert main(["recover", *keys, *out]) == 0
    assert capsys.readouterr().err == ""
