"""The story of an owner's tool: the file beside the key with every signed document and the highest generation seen.

Law 3: what the tool has signed and seen is there before anything leaves, so that a cloud that went back is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from carnet.cli.kept import Kept
from tests.powercut.story import Facts, Say, tell, values


def work(folder: Path, say: Say) -> None:
    for number in range(1, 7):
        kept = start(folder)
        kept.signed(f"token-{number}-" + "x" * 200)
        say({"signed": f"token-{number}-"})
        kept.saw(1, number)
        say({"seen": number})


def start(folder: Path) -> Kept:
    return Kept(folder / "owner.key.kept", "https://cloud", "v" * 26, lambda: 1)


def check(folder: Path, said: Iterable[Facts]) -> None:
    said = list(said)
    kept = start(folder)
    assert kept.seen >= (1 if values(said, "seen") else 0, max(values(said, "seen"), default=0))
    text = (folder / "owner.key.kept").read_text() if values(said, "signed") else ""
    assert all(signed in text for signed in values(said, "signed"))
    kept.saw(2, 1)
    assert start(folder).seen == (2, 1), "what comes after a torn line is lost with it"


if __name__ == "__main__":
    tell(work)
