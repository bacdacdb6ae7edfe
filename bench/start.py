"""Memory and time of a warm start: ``python bench/start.py [--starts 7]``.

A virtual environment with exactly what a unit has (requirements/run.txt), made once in ``build/`` from the interpreter
that ``--base`` names, starts the real ``carnet-agent run`` on a unit that has run before: identity, buffer,
consents and compiled configuration are there. Measured from exec to the line that systemd is told when the bus is
read and everything is in force (READY=1), and VmRSS at that moment and five seconds later.

The bus is a ``vcan0`` that need not exist: its reader keeps trying, as in a car whose interface is not up yet. That the
warm path imports no validator, DBC parser, python-can or sqlite-utils is read from the interpreter's own list.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.rig.measure import machine, memory_mb
from bench.rig.unit import free_udp_port, make_unit

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "agent", "cloud", "simulator")
BUILD = CHECKOUT / "build"
HEAVY = ("pydantic", "can", "cantools", "sqlite_utils", "fastapi", "asammdf", "pandas")
SETTLE_S = 5.0
WAIT_S = 60.0
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


def start(python: Path, folder: Path, options: Sequence[str] = ()) -> tuple[float, float, float, str]:
    """(seconds of wall time to READY, MB then, MB later, what it wrote) of one start that ends by SIGTERM."""
    (folder / "notify").unlink(missing_ok=True)
    manager = Manager(folder)
    try:
        began = time.monotonic()
        process = subprocess.Popen(
            [python, *options, *COMMAND],
            cwd=folder, stderr=subprocess.PIPE, env={**os.environ, "NOTIFY_SOCKET": manager.address},
        )  # fmt: skip
        manager.wait()
        ready_s, ready_mb = time.monotonic() - began, memory_mb(process.pid)
        time.sleep(0 if options else SETTLE_S)
        later_mb = memory_mb(process.pid)
        process.send_signal(signal.SIGTERM)
        return ready_s, ready_mb, later_mb, process.communicate(timeout=30)[1].decode()
    finally:
        manager.close()


def imported(python: Path, folder: Path) -> list[str]:
    """Top-level names of every module that a warm start imports."""
    log = start(python, folder, ("-X", "importtime"))[3]
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
        cold_s = start(python, folder)[0]
        names = imported(python, folder)
        heavy = [each for each in HEAVY if each in names]
        warm = [start(python, folder) for _ in range(options.starts)]
    ready_s = statistics.median(each[0] for each in warm)
    memory = statistics.median(each[1] for each in warm), statistics.median(each[2] for each in warm)
    print(f"warm start {ready_s:.3f} s (best {min(each[0] for each in warm):.3f}), cold {cold_s:.2f} s")
    print(f"memory {memory[0]:.1f} MB when ready, {memory[1]:.1f} MB {SETTLE_S:.0f} s later")
    print(f"imported of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'} ({len(names)} top-level modules)")
    found = {"ready_s": round(ready_s, 3), "ready_mb": round(memory[0], 1), "later_mb": round(memory[1], 1)}
    print(json.dumps({"bench": "start", **machine(), **found, "cold_s": round(cold_s, 2), "heavy": heavy}))
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
