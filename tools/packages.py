#!/usr/bin/env python3
"""Install the Debian packages that the tests need, when this is root or CI; otherwise say in one line what is missing.

Law: no daemon is left running or enabled. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "mosquitto": "/usr/sbin/mosquitto",
    "user-mode-linux": "/usr/bin/linux.uml",
    "kmod": "/bin/kmod",
    "can-utils": "/usr/bin/candump",
    "iproute2": "/bin/ip",
    "systemd": "/usr/bin/systemd-analyze",
}
"""Package -> a file of it that the tests use."""

POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> int:
    missing = [name for name, file in PACKAGES.items() if not Path(file).exists()]
    if not missing:
        return 0
    line = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if not shutil.which("apt-get") or not (os.geteuid() == 0 or os.environ.get("CI") == "true"):
        print(f"carnet: some tests of real parts will be skipped; for them run  sudo {line}", flush=True)
        return 0
    print(f"carnet: {line}", flush=True)
    install(missing)
    still = [name for name in missing if not Path(PACKAGES[name]).exists()]
    if still:
        print(f"carnet: could not be installed: {' '.join(still)}", file=sys.stderr)
    return 1 if still and os.environ.get("CI") == "true" else 0


def install(names: list[str]) -> None:
    """apt-get, with a policy that starts no service, and nothing enabled afterwards."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    guarded = os.geteuid() == 0 and not POLICY.exists()
    if guarded:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *names]):
            subprocess.run([*prefix, "apt-get", *command], check=False, env=environment, stdout=subprocess.DEVNULL)
    finally:
        if guarded:
            POLICY.unlink()
    if "mosquitto" in names and shutil.which("systemctl"):
        subprocess.run([*prefix, "systemctl", "disable", "-q", "mosquitto"], check=False, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
