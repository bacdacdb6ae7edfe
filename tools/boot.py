#!/usr/bin/env python3
"""Make ``.venv`` with all that ``make demo``, ``make test`` or ``make bench`` needs: the sets run, test and bench.

Standard library only. Law: an environment that is not complete is never taken for one (its stamp is written last, and
taken away before anything is changed), and only what the requirement files name by version and hash is installed.

usage: python3 tools/boot.py [run|test|bench]
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PLACE = VENV / ".carnet-place"
"""Says where the environment was made: scripts in it name that path, so a copy elsewhere is made anew."""
SETS = {"run": "demo", "test": "test", "bench": "bench"}
"""Names of requirement files and the targets of make that want them; each file holds the one before it."""
COMMANDS = {
    "carnet": "carnet.cli",
    "carnet-agent": "carnet_agent.__main__",
    "carnet-cloud": "carnet_cloud.__main__",
    "carnet-sim": "carnet_simulator.__main__",
}
"""Program in ``.venv/bin`` -> the module whose ``main`` it runs; ``pyproject.toml`` says the same for a wheel."""
IMPORT_ROOTS = (".", "agent", "cloud", "simulator")
VERSION_MIN = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")
"""Looked for where ``python3`` is too old."""
VENV_PACKAGE = "python3-venv"
PIP_LINES = 12
"""Of what pip said, shown if it failed."""
MISLEADING = ("PIP_CONSTRAINT", "PIP_NO_BINARY", "PIP_PREFIX", "PIP_REQUIREMENT", "PIP_ROOT", "PIP_TARGET", "PIP_USER")
"""Settings that would change what is installed, or where; a mirror or a proxy of the user's stays in force."""

# /bin/sh starts Python, because what stands after #! may neither be long nor hold spaces.
SCRIPT = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

try:
    try:
        from {module} import main
    except ModuleNotFoundError as error:
        if error.name not in {{"{package}", "{module}"}}:
            raise
        sys.exit("{name}: {module} is not in this checkout")
    code = main()
except KeyboardInterrupt:
    code = 130
sys.exit(code)
"""


class BootError(Exception):
    """The environment cannot be made; the message is one sentence that says what to do."""


def main(arguments: list[str]) -> int:
    """Exit code 0 once the environment is there, 1 if it cannot be made, 2 for wrong use."""
    wanted = arguments[0] if arguments else "run"
    if wanted not in SETS or len(arguments) > 1:
        print("usage: python3 tools/boot.py [run|test|bench]", file=sys.stderr)
        return 2
    if sys.version_info < VERSION_MIN:
        return with_newer_python(arguments)
    if is_ready(wanted):
        return 0
    try:
        with locked():
            if not is_ready(wanted):
                make(wanted)
    except BootError as error:
        print("carnet:", error, file=sys.stderr)
        return 1
    return 0


def with_newer_python(arguments: list[str]) -> int:
    """Start again with a newer Python of this machine; exit code 1 and a sentence if there is none."""
    for name in NEWER:
        path = shutil.which(name)
        # A version manager's stand-in exists for versions that do not start.
        if path and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:
            return subprocess.run([path, __file__, *arguments], check=False).returncode
    found = ".".join(map(str, sys.version_info[:3]))
    print(f"carnet: Python 3.11 or newer is needed, this is {found}; install it and try again", file=sys.stderr)
    return 1


def is_ready(wanted: str) -> bool:
    """Whether ``.venv`` holds the wanted set, or a larger one, as the files say now."""
    for name in list(SETS)[list(SETS).index(wanted) :]:
        try:
            if PYTHON.exists() and stamp(name).read_text() == digest(files_of(name)):
                return True
        except OSError:
            continue
    return False


def stamp(name: str) -> Path:
    """The file that says that a set is complete, and which."""
    return VENV / f".carnet-{name}"


def files_of(name: str) -> list[bytes]:
    """The files that say what is in a set, as they are now: its requirements and this one."""
    return [requirements(name).read_bytes(), Path(__file__).read_bytes()]


def requirements(name: str) -> Path:
    """The file that names what is in a set."""
    return ROOT / "requirements" / f"{name}.txt"


def digest(files: list[bytes]) -> str:
    """What an environment depends on: these files, the checkout's place, the Python it was made with."""
    parts = [*files, bytes(ROOT), bytes(PYTHON.resolve())]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@contextmanager
def locked() -> Iterator[None]:
    """Held while the environment is made: two targets of make may run at once."""
    # The folder itself is locked: no file is left behind.
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make(wanted: str) -> None:
    """Make the environment or bring it up to date; BootError says why not."""
    started = time.monotonic()
    say(f"setting up .venv for 'make {SETS[wanted]}', once")
    for name in SETS:
        stamp(name).unlink(missing_ok=True)
    # read before they are used: what changes meanwhile is not installed, and the next run sees that
    files = files_of(wanted)
    how = install(wanted)
    connect()
    stamp(wanted).write_text(digest(files))
    say(f"ready after {time.monotonic() - started:.0f} s ({how}, Python {'.'.join(map(str, sys.version_info[:3]))})")


def install(wanted: str) -> str:
    """Install a set, into the environment that is there if it works, else into a new one; returns how."""
    uv = shutil.which("uv")
    if uv and install_with_uv(uv, wanted):
        return "uv"
    if not works("import pip"):
        make_venv()
    install_with_pip(wanted)
    return "pip"


def install_with_uv(uv: str, wanted: str) -> bool:
    """Whether it worked: uv does not know what pip's configuration says of mirrors, so pip gets a try after it."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    fresh = [uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(VENV)]
    if not works("") and subprocess.run(fresh, check=False).returncode != 0:
        return False
    command = [uv, "pip", "install", *quiet, "--python", str(PYTHON), "--only-binary", ":all:", "--no-deps"]
    done = subprocess.run([*command, "--require-hashes", "-r", str(requirements(wanted))], check=False, cwd=ROOT)
    if done.returncode != 0:
        say("uv could not install the requirements; trying pip")
    return done.returncode == 0


def install_with_pip(wanted: str) -> None:
    """Install a set with the environment's own pip, showing how far it is on a terminal."""
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    command += ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(requirements(wanted))]
    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING} | {"PIP_USER": "0"}
    total = requirements(wanted).read_text().count("==")
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Collecting "):
                progress(f"package {sum(each.startswith('Collecting ') for each in said)} of {total}")
            elif line.startswith("Installing "):
                progress("installing")
    progress("")
    if pip.returncode != 0:
        print("".join(said[-PIP_LINES:]), end="", file=sys.stderr)
        raise BootError("the requirements could not be installed, pip says why above; is there a network?")


def works(code: str) -> bool:
    """Whether the environment's Python is of this version and runs ``code``."""
    if not PYTHON.exists() or (PLACE.exists() and PLACE.read_text() != str(ROOT)):
        return False
    probe = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    command = [str(PYTHON), "-c", f"{code}\n{probe}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def make_venv() -> None:
    """A new environment with pip. Debian keeps what that needs in a package of its own; it is installed if we may."""
    if not has_ensurepip():
        import debian

        if not debian.install([VENV_PACKAGE]) or not has_ensurepip():
            raise BootError(f"this Python has no ensurepip; run: sudo apt-get install -y {VENV_PACKAGE}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, check=False).returncode != 0:
        raise BootError(f"{VENV} could not be made (the reason is above)")


def has_ensurepip() -> bool:
    """Asked of a new process: this one would not notice that it has been installed."""
    command = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def connect() -> None:
    """Put the checkout on the environment's path, and the commands into its ``bin``."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    Path(site, "carnet.pth").write_text("".join(f"{ROOT / folder}\n" for folder in IMPORT_ROOTS))
    PLACE.write_text(str(ROOT))
    for name, module in COMMANDS.items():
        script = VENV / "bin" / name
        script.write_text(SCRIPT.format(name=name, module=module, package=module.partition(".")[0], python=PYTHON))
        script.chmod(0o755)


def say(sentence: str) -> None:
    """One line of what is going on."""
    print(f"carnet: {sentence}", flush=True)


def progress(words: str) -> None:
    """The same line again and again, on a terminal only; without words the line is cleared."""
    if sys.stdout.isatty():
        print(f"\r\033[Kcarnet: {words}" if words else "\r\033[K", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
