"""Runs targets in child processes: the same inputs every time for a number of runs, or new ones for a while."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import CHECKOUT

HANG_S: Final = 20
SLICE_RUNS: Final = 50_000
"""Inputs after which a long run begins a new process: what is traced of numpy costs memory that never comes back."""
SLICE_S_MAX: Final = 900


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target came through. ``broken``: the input that breaks its law, and where; None if none was found."""

    target: str
    runs: int
    seconds: float
    broken: Path | None
    said: str


def available() -> bool:
    """Whether atheris is there."""
    return importlib.util.find_spec("atheris") is not None


def missing(machine: str) -> str:
    """What to do without it on this sort of machine."""
    if machine in {"x86_64", "AMD64"}:
        return "atheris is not installed: python3 tools/boot.py test  installs it"
    return f"atheris has wheels for x86-64 alone: on {machine} nothing can be fuzzed"


def fuzz(name: str, folder: Path, *, runs: int, seed: int = 1, hang_s: int = HANG_S, seconds: int = 0) -> Outcome:
    """Give a target so many inputs; the same ones for the same seed, unless ``seconds`` cut it short."""
    folder.mkdir(parents=True, exist_ok=True)
    options = [f"-seed={seed}", f"-runs={runs}", f"-timeout={hang_s}", f"-max_total_time={seconds}"]
    command = [sys.executable, "-m", "tests.fuzz.child", name, str(folder), *options]
    # the hashes decide the order of sets, and so what is covered first; scratch files go with the folder
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": str(folder)}
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=SLICE_S_MAX,
    )  # fmt: skip
    said = done.stdout.decode(errors="replace")
    ran = re.findall(r"^#(\d+)\s+DONE", said, re.MULTILINE)
    artifacts = [path for kind in ("crash", "timeout", "oom") for path in sorted(folder.glob(f"{kind}-*"))]
    broken = artifacts[0] if artifacts else None if done.returncode == 0 and ran else folder
    return Outcome(name, int(ran[-1]) if ran else 0, time.monotonic() - started, broken, _shortened(said))


def fuzz_for(name: str, folder: Path, *, seconds: int, seed: int = 1) -> Outcome:
    """Give a target new inputs for so long, one process after the other; the corpus goes from each to the next."""
    started, runs = time.monotonic(), 0
    while True:
        left = max(1, round(seconds - (time.monotonic() - started)))
        outcome = fuzz(name, folder, runs=SLICE_RUNS, seed=seed, seconds=left)
        runs, seed = runs + outcome.runs, seed + 1
        if outcome.broken or time.monotonic() - started >= seconds:
            return Outcome(name, runs, time.monotonic() - started, outcome.broken, outcome.said)


def _shortened(said: str) -> str:
    """What was raised and where, without the fuzzer's own lines."""
    _, _, error = said.partition("Uncaught Python exception")
    return (error or said).strip()[:4000] if error else said.strip()[-4000:]
