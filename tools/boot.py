#!/usr/bin/env python3
"""Make ``.venv`` with everything that ``make demo`` (run) or ``make test`` (test) needs, from whatever this machine has.

Standard library only. Law: a half-made environment is never taken for a whole one (the stamp is written last), and what
is installed is what the committed files name, by hash.

usage: python3 tools/boot.py [run|test]
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SETS = ("run", "test")
COMMANDS = {
    "carnet": "carnet.cli.__main__",
    "carnet-agent": "carnet_agent.__main__",
    "carnet-cloud": "carnet_cloud.__main__",
    "carnet-sim": "carnet_simulator.__main__",
}
IMPORT_ROOTS = (".", "agent", "cloud", "simulator")
PYTHON_MIN = (3, 11)
APT = "apt-get install -y python3-venv"


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else "run"
    if wanted not in SETS:
        return fail("usage: python3 tools/boot.py [run|test]")
    if sys.version_info < PYTHON_MIN:
        return fail(f"Carnet needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    if stamped(wanted):
        return 0
    started = time.monotonic()
    print(f"carnet: setting up .venv ({wanted}), once; this takes about a minute", flush=True)
    try:
        how = install(wanted)
    except subprocess.CalledProcessError as error:
        return fail(f"the set-up failed at: {' '.join(map(str, error.cmd))}; run it by hand to see why")
    except NoWay as error:
        return fail(str(error))
    connect()
    stamp(wanted).write_text(digest(wanted))
    print(f"carnet: ready after {time.monotonic() - started:.0f} s ({how})", flush=True)
    return 0


class NoWay(Exception):
    """This machine has nothing that can make an environment."""


def stamped(wanted: str) -> bool:
    """Whether ``.venv`` already holds the wanted set, or the larger one."""
    sets = SETS[SETS.index(wanted) :]
    return PYTHON.exists() and any(stamp(each).exists() and stamp(each).read_text() == digest(each) for each in sets)


def stamp(name: str) -> Path:
    return VENV / f".carnet-{name}"


def digest(name: str) -> str:
    """What the environment depends on: requirements, this file, where the checkout lies, which Python."""
    parts = [requirements(name).read_bytes(), Path(__file__).read_bytes(), os.fsencode(ROOT), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def requirements(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def install(wanted: str) -> str:
    """Install the set; how it was done. A broken or foreign environment is made anew."""
    if not (PYTHON.exists() and works()):
        shutil.rmtree(VENV, ignore_errors=True)
    for name in SETS:
        stamp(name).unlink(missing_ok=True)
    uv = shutil.which("uv")
    if uv:
        if not PYTHON.exists():
            run(uv, "venv", "--quiet", "--python", sys.executable, VENV)
        run(uv, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "--no-deps", "-r", requirements(wanted))
        return "uv"
    if not PYTHON.exists():
        make_venv()
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    run(*pip, "--require-hashes", "--no-deps", "-r", requirements(wanted))
    return "venv and pip"


def works() -> bool:
    """Whether the environment's python starts, is of our version and has pip or can do without."""
    probe = "import sys; sys.exit(sys.version_info[:2] != tuple(map(int, sys.argv[1:])))"
    version = [str(part) for part in sys.version_info[:2]]
    return subprocess.run([PYTHON, "-c", probe, *version], check=False, capture_output=True).returncode == 0


def make_venv() -> None:
    """`python -m venv`; Debian keeps ensurepip in a package of its own, which is installed if we may."""
    if not has_ensurepip():
        get_ensurepip()
    run(sys.executable, "-m", "venv", VENV)


def has_ensurepip() -> bool:
    done = subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True)
    return done.returncode == 0


def get_ensurepip() -> None:
    apt, sudo = shutil.which("apt-get"), shutil.which("sudo")
    prefix = [] if os.geteuid() == 0 else [sudo, "-n"] if sudo else None
    if apt and prefix is not None:
        print(f"carnet: this Python has no ensurepip: {APT}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ([apt, "update", "-qq"], [apt, "install", "-y", "-qq", "python3-venv"]):
            subprocess.run([*prefix, *command], check=False, env=environment, stdout=subprocess.DEVNULL)
    if not has_ensurepip():
        raise NoWay(f"this Python has no ensurepip: run  sudo {APT}  and try again")


def connect() -> None:
    """Put the checkout on the environment's path and the four commands into its ``bin``."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    Path(site, "_carnet.pth").write_text("".join(f"{ROOT / each}\n" for each in IMPORT_ROOTS))
    for name, module in COMMANDS.items():
        script = VENV / "bin" / name
        script.write_text(f"#!{PYTHON}\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n")
        script.chmod(0o755)


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def fail(sentence: str) -> int:
    print(f"carnet: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
