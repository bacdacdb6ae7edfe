"""Pair a unit: make its device id and keys, pin the owner's and the cloud's, and write the enrolment for the cloud.

Law: whoever pairs stands at the unit, nothing of this comes over a network. The new identity takes the old one's place
in one rename, and carries the order to wipe what the old tenure had collected (`handover`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carnet import canonical
from carnet.enrolment import Enrolment
from carnet.errors import ConfigError, Error
from carnet.ids import DEVICE_BYTES, device_bytes, device_text
from carnet.keys import (
    DEVICE_RECEIVE,
    DEVICE_SIGN,
    SEED_BYTES,
    encode_key,
    parse_box_key,
    parse_signing_key,
)
from carnet.keyset import KeySet
from carnet.ownerkeys import EPOCH_MAX, OWNER_BYTES_MAX, OwnerKeys, encode_owner, parse_key
from carnet_agent.handover import ORDER_FILE, finish, remove_leftovers
from carnet_agent.identity import (
    CLOUD_FILE,
    DEVICE_FILE,
    FOLDER,
    OWNER_FILE,
    RECEIVE_FILE,
    SIGN_FILE,
    read_bytes,
    read_identity,
    sync_folder,
    write_durably,
)
from carnet_agent.statefolder import locked

FIRST_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Pairing:
    """What the installer asks for."""

    owner_key: bytes
    """The owner's Ed25519 public key, 32 bytes."""
    cloud: KeySet
    vehicle: bytes | None = None
    """16 bytes; None: a new vehicle, or at a renewal the vehicle that the unit is in."""
    epoch: int | None = None
    """None: the first one, or at a renewal the next one."""
    renew: bool = False
    """The vehicle has a new owner: everything of the tenure before is destroyed."""


def pair(state: Path, asked: Pairing, random: Callable[[int], bytes]) -> bytes:
    """Pair; returns the enrolment file's bytes.

    ConfigError ``already_paired`` without ``renew``, ``epoch_not_higher`` with an epoch that is not; UnavailableError
    ``agent_running`` while an agent works in the folder.
    """
    with locked(state):
        owner = _owner(state, asked, random)
        remove_leftovers(state)
        enrolment = _write_identity(state, owner, asked.cloud, random)
        device = device_text(enrolment[0].device)
        # A link is replaced in one step, a folder is not.
        (state / f"{FOLDER}.new").symlink_to(f"{FOLDER}-{device}", target_is_directory=True)
        (state / f"{FOLDER}.new").replace(state / FOLDER)
        sync_folder(state)
        finish(state)
        return enrolment[1]


def read_owner_key(path: Path) -> bytes:
    """The 32 bytes in an ``owner.public.json`` as ``carnet owner keygen`` writes it; ConfigError for anything else."""
    try:
        return parse_key(canonical.parse(read_bytes(path).strip(), OWNER_BYTES_MAX))
    except ConfigError:
        raise
    except Error as error:
        raise ConfigError("owner_key", f"{path} is not an owner's public key: {error}") from error


def read_cloud_keys(path: Path) -> KeySet:
    """The key set in a ``cloud.public.json`` as ``carnet-cloud keygen`` writes it; ConfigError for anything else."""
    try:
        return KeySet.parse(read_bytes(path).strip())
    except ConfigError:
        raise
    except Error as error:
        raise ConfigError("cloud_keys", f"{path} is not a cloud's public key set: {error}") from error


def _owner(state: Path, asked: Pairing, random: Callable[[int], bytes]) -> OwnerKeys:
    """Vehicle, epoch and key to pin."""
    if not (state / FOLDER).is_symlink():
        vehicle = asked.vehicle or random(DEVICE_BYTES)
        return OwnerKeys(device_text(vehicle), _epoch(asked.epoch or FIRST_EPOCH), (asked.owner_key,))
    before = read_identity(state).owner
    if not asked.renew:
        raise ConfigError(
            "already_paired",
            f"this unit is paired with vehicle {before.vehicle}, epoch {before.epoch}; "
            "--renew ends that tenure and destroys what it collected",
        )
    epoch = _epoch(before.epoch + 1 if asked.epoch is None else asked.epoch)
    vehicle = asked.vehicle or device_bytes(before.vehicle)
    if device_text(vehicle) == before.vehicle and epoch <= before.epoch:
        raise ConfigError("epoch_not_higher", f"epoch {epoch} is not higher than the present {before.epoch}")
    return OwnerKeys(device_text(vehicle), epoch, (asked.owner_key,))


def _epoch(epoch: int) -> int:
    if not FIRST_EPOCH <= epoch <= EPOCH_MAX:
        raise ConfigError("epoch_range", f"an epoch is a number from {FIRST_EPOCH} to {EPOCH_MAX}")
    return epoch


def _write_identity(
    state: Path, owner: OwnerKeys, cloud: KeySet, random: Callable[[int], bytes]
) -> tuple[Enrolment, bytes]:
    """A folder with new keys, on the disk; the enrolment and its signed bytes."""
    device = random(DEVICE_BYTES)
    sign_text = encode_key(DEVICE_SIGN, random(SEED_BYTES))
    receive_text = encode_key(DEVICE_RECEIVE, random(SEED_BYTES))
    folder = state / f"{FOLDER}-{device_text(device)}"
    folder.mkdir(mode=0o700)
    write_durably(folder / DEVICE_FILE, device_text(device).encode(), 0o600)
    write_durably(folder / SIGN_FILE, sign_text.encode(), 0o600)
    write_durably(folder / RECEIVE_FILE, receive_text.encode(), 0o600)
    write_durably(folder / OWNER_FILE, encode_owner(owner), 0o600)
    write_durably(folder / CLOUD_FILE, cloud.encode(), 0o600)
    write_durably(folder / ORDER_FILE, b"", 0o600)
    sync_folder(folder)
    sign = parse_signing_key(sign_text, DEVICE_SIGN)
    receive = parse_box_key(receive_text, DEVICE_RECEIVE)
    enrolment = Enrolment(device, device_bytes(owner.vehicle), owner.epoch, sign.public, receive.public, owner.pinned)
    return enrolment, enrolment.signed(sign)
