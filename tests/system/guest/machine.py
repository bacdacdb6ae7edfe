"""What a script in the guest asks of its systemd: look, kill, hang, probe, wait; every wait has a limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WAIT_S = 60.0
PROBE = Path(__file__).with_name("probe.py")
SHOWN = "Type,ActiveState,NRestarts,MainPID,StatusText,Result"


def run(*words: str | Path) -> str:
    """What the command said; RuntimeError with its complaint if it failed."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        said = f"{done.stdout[-1000:]}{done.stderr[-2000:]}"
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}: {said}")
    return done.stdout


def show(unit: str) -> dict[str, str]:
    """What systemd says of the unit, by the names in SHOWN."""
    return dict(line.split("=", 1) for line in run("systemctl", "show", "-p", SHOWN, unit).splitlines())


def restart_by(number: int, units: Sequence[str], well: Callable[[], bool]) -> dict[str, dict[str, str]]:
    """Send a signal to the units' processes and wait until systemd has started others and all is well; how each is."""
    before = {unit: show(unit) for unit in units}
    for unit in units:
        os.kill(int(before[unit]["MainPID"]), number)

    def others() -> bool:
        return all(
            now["ActiveState"] == "active" and int(now["NRestarts"]) == int(before[unit]["NRestarts"]) + 1
            for unit, now in ((unit, show(unit)) for unit in units)
        )

    wait_until(others)
    wait_until(well)
    return {unit: show(unit) for unit in units}


def hang(units: Sequence[str], well: Callable[[], bool]) -> dict[str, dict[str, Any]]:
    """Let the processes stand still: they say nothing more and must be replaced."""
    restart_by(signal.SIGSTOP, units, well)
    cores = [str(path) for path in (*Path("/").glob("core*"), *Path("/var/lib/private").rglob("core*"))]
    return {unit: {"watchdog": "Watchdog timeout" in journal(unit), "cores": cores} for unit in units}


def stop(unit: str) -> dict[str, str]:
    run("systemctl", "stop", unit)
    return show(unit)


def probe(unit: str) -> Any:
    """What probe.py can do in the sandbox of a stopped unit: the unit itself with another program, this once."""
    output = Path("/run", f"{unit}.json")
    drop_in = Path(f"/run/systemd/system/{unit}.service.d/probe.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(
        f"[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart={sys.executable} {PROBE}\n"
        f"StandardOutput=truncate:{output}\n"
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "start", unit)
    drop_in.unlink()
    return json.loads(output.read_text())


def journal(unit: str | None = None) -> str:
    """The last lines, of one unit or of all but the kernel."""
    which = ["-u", unit] if unit else []
    said = run("journalctl", "--no-pager", "-n", "120", *which)
    return "".join(line for line in said.splitlines(keepends=True) if "guest kernel" not in line)


def wait_until(true: Callable[[], bool]) -> None:
    """Ask until the answer is yes; TimeoutError after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.3)
