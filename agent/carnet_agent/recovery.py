"""Another key of the same owner: he has lost the one that the unit was paired with.

Law: whoever pins a key stands at the unit. Vehicle, epoch, unit, buffer and consents stay as they are: the owner's file
is exchanged in one rename. A key that a pinned one has removed is not pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from carnet.enrolment import Enrolment
from carnet.errors import ConfigError, ConsentError
from carnet.ids import device_bytes
from carnet.ownerkeys import encode_owner
from carnet_agent.consent.file import open_consents
from carnet_agent.handover import finish
from carnet_agent.identity import FOLDER, OWNER_FILE, read_identity, sync_folder, write_durably
from carnet_agent.statefolder import CONSENT_FILE, locked


def recover(state: Path, owner_key: bytes, random: Callable[[int], bytes]) -> tuple[bytes, bool]:
    """Pin ``owner_key`` (Ed25519, 32 bytes) beside the others; the enrolment file's bytes, the same again if it is
    pinned already, and whether damaged consents were put aside (`carnet_agent.consent.file.DAMAGED`).

    ConfigError ``not_paired``, ``owner_keys_excess`` or ``owner_key_removed``; UnavailableError ``agent_running``
    while an agent works in the folder.
    """
    read_identity(state)  # before the lock, which would make a folder where nobody was ever paired
    with locked(state):
        finish(state)
        identity = read_identity(state)
        try:
            owner = identity.owner.with_pinned(owner_key)
        except ConsentError as error:
            raise ConfigError("owner_keys_excess", f"{error}; --renew ends this tenure and all of them") from error
        try:
            # with what the cloud has brought of keys that were added and removed
            consents, damaged = open_consents(state / CONSENT_FILE, owner, random)
        except ConsentError as error:
            raise ConfigError("owner_key_removed", "this key was removed by the owner: make another one") from error
        consents.close()
        _exchange(state / FOLDER / OWNER_FILE, encode_owner(owner))
        sign, receive = identity.sign, identity.receive
        vehicle = device_bytes(owner.vehicle)
        enrolment = Enrolment(identity.device, vehicle, owner.epoch, sign.public, receive.public, owner.pinned)
        return enrolment.signed(sign), damaged


def _exchange(path: Path, data: bytes) -> None:
    """The old file is in force until the new one is, whole and on the disk."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    write_durably(new, data, 0o600)
    new.replace(path)
    sync_folder(path.parent)
