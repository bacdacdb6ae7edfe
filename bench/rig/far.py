"""A network as far away as a car: 100 ms round trip and 2 % loss, by netem on the loopback of the guest.

Law: this machine's own network is never touched; netem lives in the guest, with whatever is measured over it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.system.guest import uml

CHECKOUT = Path(__file__).resolve().parents[2]
ONE_WAY_MS, LOSS_PERCENT = 50, 2
SECONDS_MAX = 1800.0


def in_guest(bench: str, words: Sequence[str]) -> int:
    """Run this bench there and print what it says; its exit code."""
    outcome = uml.run(
        [sys.executable, "-m", f"bench.{bench}", "--in-guest", *words],
        timeout_s=SECONDS_MAX,
        directory=CHECKOUT,
        environment={"PYTHONPATH": str(CHECKOUT / "tools"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    print(outcome.output, end="")
    return outcome.code


def move_away() -> None:
    """From now on every packet on loopback takes its time, and some are lost. In the guest only."""
    if Path("/proc/sys/kernel/hostname").read_text().strip() != "guest":
        raise SystemExit("netem is for the guest alone: --netem starts it there")
    module = max(uml.MODULES.iterdir()) / "kernel" / "net" / "sched" / "sch_netem.ko"
    subprocess.run(["insmod", str(module)], check=True)
    netem = ["netem", "delay", f"{ONE_WAY_MS}ms", "loss", f"{LOSS_PERCENT}%", "limit", "100000"]
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", *netem], check=True)
