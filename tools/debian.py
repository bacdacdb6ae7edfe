#!/usr/bin/env python3
"""Install the Debian packages that the tests need, when this is root or CI; otherwise say in one line what is missing.

Standard library only. Law: what is installed is announced, and no daemon is started, left running or enabled by it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {
    "can-utils": "candump",
    "e2fsprogs": "mkfs.ext4",
    "iproute2": "ip",
    "kmod": "insmod",
    "mosquitto": "mosquitto",
    "mosquitto-clients": "mosquitto_sub",
    "nodejs": "node",
    "openssl": "openssl",
    "postgresql": "initdb",
    "strace": "strace",
    "systemd": "systemd-analyze",
    "systemd-sysv": "poweroff",
    "user-mode-linux": "linux.uml",
}
"""Package -> a program of it that the tests start."""

SERVICES = ("mosquitto", "postgresql")
"""Services that these packages would start and enable on a machine with a service manager."""

SPARE = {"postgresql": ".venv/lib/python*/site-packages/pgserver"}
"""What pip has installed instead, for a user who may install nothing: the tests take it where there is no package."""

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = b"#!/bin/sh\n# Written while Carnet's tests install packages: start no service.\nexit 101\n"


def main() -> int:
    """Exit code 0, or 1 where CI=true and something is still missing: there no test may be skipped."""
    names = missing()
    if not names:
        return 0
    strict = os.environ.get("CI") == "true"
    if os.geteuid() != 0 and not strict:
        if lacking := [name for name in names if not spare(name)]:
            print(f"carnet: tests that need these are skipped; to run them: sudo {command(lacking)}", flush=True)
        return 0
    if install(names):
        names = missing()
    if names:
        print(f"carnet: these packages are missing and could not be installed: {' '.join(names)}", file=sys.stderr)
    return 1 if names and strict else 0


def missing() -> list[str]:
    """Packages of which no program is found."""
    # Debian keeps each version of PostgreSQL in a folder of its own, outside of PATH
    servers = ":".join(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:{servers}"
    return [name for name, program in PACKAGES.items() if shutil.which(program, path=path) is None]


def spare(name: str) -> bool:
    """Whether something else stands in for this package."""
    return name in SPARE and any(Path(__file__).resolve().parents[1].glob(SPARE[name]))


def command(names: Sequence[str]) -> str:
    """What a person would type after sudo."""
    return f"apt-get install -y --no-install-recommends {' '.join(names)}"


def install(names: Sequence[str]) -> bool:
    """Install as root or with sudo that asks nothing; False if that is not allowed here or did not work."""
    rights = _rights()
    if rights is None:
        return False
    print(f"carnet: {command(names)}", flush=True)
    guarded = not POLICY.exists()
    if guarded:
        subprocess.run([*rights, "install", "-m", "755", "/dev/stdin", POLICY], input=POLICY_TEXT, check=False)
    try:
        # The lists may be old or, in a container, absent; they are fetched only if it does not go without.
        error = _run(rights, command(names))
        if error:
            error = _run(rights, "apt-get update") or _run(rights, command(names))
    finally:
        if guarded:
            subprocess.run([*rights, "rm", "-f", POLICY], check=False)
    for service in set(names).intersection(SERVICES):
        subprocess.run([*rights, "update-rc.d", service, "disable"], check=False, capture_output=True)
    if error:
        print(f"carnet: {error}", file=sys.stderr)
    return not error


def _rights() -> list[str] | None:
    """What to put before a command that needs root; None if this user may not, or the machine has no apt-get."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return ["env", "DEBIAN_FRONTEND=noninteractive"]
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode == 0
    ):
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    return None


def _run(rights: Sequence[str], line: str) -> str:
    """Run a command line quietly; empty if it worked, else the last line of what it complained about."""
    done = subprocess.run([*rights, *line.split(), "-qq"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"{line} failed").splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
