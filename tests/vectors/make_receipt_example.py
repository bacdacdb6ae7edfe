"""Makes the example that ``docs/ledger.md`` invites to verify: ``docs/receipts/``, byte for byte the same every time.

Run it after a change of the documents: ``python -m tests.vectors.make_receipt_example``. A test compares its output
with the files, and types the two lines of the page.
"""

from __future__ import annotations

from pathlib import Path

from carnet.ledger.account import Account
from tests.carnet.ledger.kit import NOTE_KEY, story

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "receipts"


def files() -> dict[str, bytes]:
    """The log's key, a receipt of the yes, and one of every account of what was delivered under it."""
    log = story()
    found = {"log.public": NOTE_KEY.text().encode() + b"\n", "given.json": log.receipt(1).encode() + b"\n"}
    for index, leaf in enumerate(log.leaves):
        if isinstance(leaf, Account):
            found[f"account-{leaf.number}.json"] = log.receipt(index).encode() + b"\n"
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)
