"""Memory and time of a warm start: ``python bench/start.py [--starts 7]``.

A virtual environment with exactly what a unit has (requirements/run.txt), made once in ``build/`` from the interpreter
that ``--base`` names, starts the real ``carnet-agent run`` on a unit that has run before: identity, buffer,
consents and compiled configuration are there. Measured from exec to the line that systemd is told when the bus is
read and everything is in force (READY=1), and VmRSS at that moment and five seconds later.

The environment variables are those of the shipped unit, read from its file. Memory is VmRSS, told apart as the kernel
does: *own* is RssAnon, the rest are pages of files that other processes of the unit may share. How many of the latter
count depends on how the files came into memory: after an installation the kernel has them in large pieces and counts
6 MB more. So the environment's files are dropped from memory first and are read as after a boot.

The bus is a ``vcan0`` that need not exist: its reader keeps trying, as in a car whose interface is not up yet. That the
warm path imports no validator, DBC parser, python-can or sqlite-utils is read from the interpreter's own list.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rig.measure import forget_files, machine, memory_mb
from bench.rig.unit import free_udp_port, make_unit

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "agent", "cloud", "simulator")
BUILD = CHECKOUT / "build"
HEAVY = ("pydantic", "can", "cantools", "sqlite_utils", "fastapi", "asammdf", "pandas", "prometheus_client")
SETTLE_S = 5.0
WAIT_S = 60.0
UNIT_FILE = CHECKOUT / "systemd" / "carnet-agent.service"
COMMAND = ("-m", "carnet_agent", "run", "--config", "agent.toml")


def environment(base: str) -> Path:
    """The interpreter of an environment without development packages; made if it is not there."""
    name = subprocess.run(
        [base, "-c", "import sys; print(sys.version.split()[0], sys.base_prefix.strip('/').replace('/', '-'))"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.split()  # fmt: skip
    folder = BUILD / "-".join(["bench", *name])
    found = folder / "bin" / "python"
    packages = folder / "lib" / f"python{'.'.join(name[0].split('.')[:2])}" / "site-packages"
    if not (packages / "carnet.pth").exists():
        subprocess.run([base, "-m", "venv", "--without-pip", "--clear", folder], check=True)
        pip: list[str | Path] = [sys.executable, "-m", "pip", "-q", "--python", found, "install"]
        subprocess.run([*pip, "-r", CHECKOUT / "requirements" / "run.txt"], check=True, stdout=sys.stderr)
        (packages / "carnet.pth").write_text("".join(f"{CHECKOUT / each}\n" for each in FOLDERS))
        subprocess.run([found, "-m", "compileall", "-q", CHECKOUT / "carnet", CHECKOUT / "agent"], check=True)
    return found


def shipped_variables() -> dict[str, str]:
    """What the unit's file sets for the agent."""
    lines = re.findall(r"^Environment=(.*)$", UNIT_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(word.split("=", 1) for line in lines for word in line.split())


class Manager:
    """What systemd is to a service: a socket that hears READY=1."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(WAIT_S)
        self.address = str(folder / "notify")

    def wait(self) -> None:
        """Until READY=1."""
        while b"READY=1" not in self._socket.recv(4096):
            pass

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Start:
    """One start that ended by SIGTERM."""

    ready_s: float
    """Wall time to READY."""
    ready_mb: float
    later_mb: float
    own_mb: float
    """Of these what no file holds."""
    log: str


def start(python: Path, folder: Path, options: Sequence[str] = ()) -> Start:
    """Start, wait, measure, stop."""
    (folder / "notify").unlink(missing_ok=True)
    manager = Manager(folder)
    try:
        variables = {**os.environ, **shipped_variables(), "NOTIFY_SOCKET": manager.address}
        command: list[str | Path] = [python, *options, *COMMAND]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, env=variables)
        manager.wait()
        ready_s, ready_mb = time.monotonic() - began, memory_mb(process.pid)
        time.sleep(0 if options else SETTLE_S)
        later_mb, own_mb = memory_mb(process.pid), memory_mb(process.pid, "RssAnon")
        process.send_signal(signal.SIGTERM)
        return Start(ready_s, ready_mb, later_mb, own_mb, process.communicate(timeout=30)[1].decode())
    finally:
        manager.close()


def imported(python: Path, folder: Path) -> list[str]:
    """Top-level names of every module that a warm start imports."""
    log = start(python, folder, ("-X", "importtime")).log
    lines = [line.rsplit("|", 1)[1].strip() for line in log.splitlines() if line.startswith("import time:")]
    return sorted({name.split(".")[0] for name in lines if name != "imported package"})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--base", default=sys.executable, help="interpreter to make the environment from")
    options = parser.parse_args(arguments)
    python = environment(options.base)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_unit(folder, free_udp_port())
        cold_s = start(python, folder).ready_s
        for each in (python.parents[1], *(CHECKOUT / name for name in FOLDERS[1:]), CHECKOUT / "carnet"):
            forget_files(each)
        names = imported(python, folder)
        heavy = [each for each in HEAVY if each in names]
        warm = [start(python, folder) for _ in range(options.starts)]
    ready_s = statistics.median(each.ready_s for each in warm)
    ready_mb, later_mb = (
        statistics.median(each) for each in zip(*((w.ready_mb, w.later_mb) for w in warm), strict=True)
    )
    own_mb = statistics.median(each.own_mb for each in warm)
    print(f"warm start {ready_s:.3f} s (best {min(each.ready_s for each in warm):.3f}), cold {cold_s:.2f} s")
    print(f"memory {ready_mb:.1f} MB when ready, {later_mb:.1f} MB {SETTLE_S:.0f} s later, {own_mb:.1f} MB of it own")
    print(f"imported of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'} ({len(names)} top-level modules)")
    found = {"ready_s": round(ready_s, 3), "ready_mb": round(ready_mb, 1), "later_mb": round(later_mb, 1)}
    found["own_mb"] = round(own_mb, 1)
    print(json.dumps({"bench": "start", **machine(), **found, "cold_s": round(cold_s, 2), "heavy": heavy}))
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
