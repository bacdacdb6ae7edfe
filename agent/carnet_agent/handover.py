"""The handing over of a car: what was collected and granted for the owner before goes whole, before anything else is
done.

Law: the new identity carries the order to wipe and takes the old one's place in one rename. Before it everything is the
old owner's, grants, floors and driver's mode as they were; after it nothing is. A start that finds the order carries it
out first.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from carnet_agent.identity import FOLDER, sync_folder
from carnet_agent.statefolder import BUFFER_FILE, CONSENT_FILE

ORDER_FILE = "wipe"
_ZEROS = bytes(1 << 16)


def finish(state: Path) -> bool:
    """Carry out what a pairing has ordered, and clear away what is not in force; whether anything was wiped.

    OSError if the folder takes no change: then nothing of it may be used.
    """
    order = state / FOLDER / ORDER_FILE
    ordered = order.exists()
    if ordered:
        wipe(state)
        order.unlink()
        sync_folder(state / FOLDER)
    remove_leftovers(state)
    return ordered


def wipe(state: Path) -> None:
    """Destroy what was collected and granted: buffer, consents, and what was ever put aside of them."""
    for name in (BUFFER_FILE, CONSENT_FILE):
        for path in sorted(state.glob(f"{name}*")):
            _overwrite(path)
            path.unlink()
    sync_folder(state)


def remove_leftovers(state: Path) -> None:
    """Identities that are not in force: an earlier one, or one of a pairing that was cut short."""
    (state / f"{FOLDER}.new").unlink(missing_ok=True)
    current = (state / FOLDER).resolve().name
    for folder in sorted(state.glob(f"{FOLDER}-*")):
        if folder.name != current:
            shutil.rmtree(folder)


def _overwrite(path: Path) -> None:
    """What an unlinked file leaves in free blocks is zeros; what a flash card keeps beside them is a named limit."""
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(_ZEROS[:left])
        file.flush()
        os.fsync(file.fileno())
