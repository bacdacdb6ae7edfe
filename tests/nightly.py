"""What `make nightly` runs: ``python -m tests.nightly [PART…]``, one part after the other; all if none is named.

Every part is run whatever became of the ones before. Exit code 1 if one of them failed. ``docs/nightly.md`` says what
each does, how long it takes and what came of it the last time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Final

PARTS: Final = {
    "world": ("-m", "tests.world", "--seeds", "5000"),
    "powercut": ("-m", "tests.powercut", "--seeds", "20", "--guest"),
    "fuzz": ("-m", "tests.fuzz", "--seconds", "300", "--seed", "{day}"),
    "bombs": ("-m", "tests.fuzz.bombs", "1073741824"),
    "soak": ("-m", "tests.soak", "--minutes", "120", "--seed", "{day}"),
    "mutation": ("tools/mutate.py",),
    "coverage": ("tools/cover.py",),
}
"""Part -> what Python runs; ``{day}`` is today, so that no night is like another and each can be had again."""
SETTINGS: Final = {"PYTHONHASHSEED": "0"}
"""A world repeats only with it."""


def command(part: str, day: str) -> list[str]:
    """As it is typed, but for the settings."""
    return [sys.executable, *(word.format(day=day) for word in PARTS[part])]


def main(arguments: list[str]) -> int:
    """Exit code 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.nightly", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    chosen = parser.parse_args(arguments).parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    day = time.strftime("%Y%m%d")
    results = {part: run(part, command(part, day)) for part in chosen}
    print(
        "\n".join(
            f"{part:8} {'failed' if code else 'passed'} after {took:,.0f} s" for part, (code, took) in results.items()
        )
    )
    return int(any(code for code, _ in results.values()))


def run(part: str, words: list[str]) -> tuple[int, float]:
    """Exit code and seconds."""
    print(f"== {part}: {' '.join(words[1:])}", flush=True)
    started = time.monotonic()
    code = subprocess.run(words, check=False, env=os.environ | SETTINGS).returncode
    return code, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
