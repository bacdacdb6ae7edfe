"""Install broker, cloud and agent in the guest by typing what docs/installation.md says, in its order.

Law: what is typed is the page's; only what a virtual machine without network and car cannot do is left out, by name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.guest import page
from tests.system.guest.machine import run

CHECKOUT = Path(__file__).resolve().parents[3]
INSTALLED = Path("/opt/carnet")
ETC = Path("/etc/carnet")
HOME = Path("/run/home")
OWNER = HOME / "carnet-key"
CARRIED = HOME / "carnet"
TENANT = "ten_aaaaaaaaaaaaaaaa"
REPLACED = {"broker.example.org": "127.0.0.1", 'channel = "can0"': 'channel = "vcan0"'}
"""What the page says -> what it is in the guest."""
LEFT_OUT = re.compile(
    r"^(?:REPOSITORY=|sudo (?:apt-get|git clone|ip link) |cd /opt/carnet && sudo python3 tools/boot).*\n", re.MULTILINE
)
"""No network here; the checkout is bound to its place and the guest has its vcan0."""
SOME_DEVICE = "a" * 26


def type_in(block: str) -> str:
    """What a block of the page prints; RuntimeError with its complaint if one of its lines fails."""
    return run("bash", "-euo", "pipefail", "-c", here(LEFT_OUT.sub("", block)))


def here(text: str) -> str:
    """What the page says as it is in the guest."""
    for said, meant in REPLACED.items():
        text = text.replace(said, meant)
    return text


def configure(files: dict[Path, str]) -> None:
    """Write the configuration files as an installer would."""
    for path, text in files.items():
        path.write_text(here(text))
        path.chmod(0o644)


def carnet(command: str, *words: str | Path) -> str:
    """Run one of the installed commands."""
    return run(INSTALLED / ".venv" / "bin" / command, *words)


def install_programs() -> None:
    """They are bound to their place instead of copied there; root needs no sudo, and the guest may have none."""
    HOME.mkdir()
    os.environ["HOME"] = str(HOME)
    sudo = Path("/usr/local/bin/sudo")
    if shutil.which("sudo") is None:
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
    os.environ["PATH"] += ":/usr/local/bin:/usr/sbin:/sbin"
    INSTALLED.mkdir(parents=True)
    run("mount", "--bind", CHECKOUT, INSTALLED)
    # Whatever made this environment, its commands are now those that `make` installs; the guest forgets it.
    tools = str(CHECKOUT / "tools")
    run(sys.executable, "-c", f"import sys; sys.path.insert(0, {tools!r}); import boot; boot.connect()")
    type_in(*page.commands("Programs, on every machine"))


def install_broker() -> None:
    type_in(*page.commands("The authority"))
    type_in(*page.commands("The broker"))


def install_cloud() -> None:
    """Up to its start."""
    keys, start = page.commands("The cloud")
    type_in(keys)
    configure(page.installed())
    type_in(start)


def pair() -> str:
    """The unit, paired, enrolled at the running cloud, and with a certificate; the vehicle's name."""
    _bus, owner, unit = page.commands("The unit: bus, configuration, pairing")
    type_in(owner)
    type_in(unit)
    certify()
    return vehicle()


def certify() -> None:
    """From the enrolment to the certificate's copy."""
    device = type_in(*page.commands("Enrolment")).split()[-1]
    type_in(page.commands("The unit's certificate")[0].replace(SOME_DEVICE, device))


def start_agent() -> None:
    type_in(page.commands("Start of the unit")[0])


def recover() -> str:
    """The owner has lost his key and got another one; his consents, as the cloud shows them to the new key."""
    OWNER.rename(HOME / "lost-key")
    _start, _new_owner, *recovering = page.commands("Start of the unit")
    _bus, owner, _unit = page.commands("The unit: bus, configuration, pairing")
    for block in (owner, *recovering):
        type_in(block)
    return carnet("carnet", "owner", "list", "--vehicle", vehicle(), "--key", OWNER)


def renew() -> None:
    """The car has a new owner, until the service runs again."""
    start, new_owner, *_recovering = page.commands("Start of the unit")
    type_in(new_owner)
    certify()
    type_in(start)


def bench() -> str:
    """Everything anew as the page's bench; the vehicle's name."""
    for folder in (*Path("/var/lib").glob("carnet-*"), *Path("/var/lib/private").glob("carnet-*"), ETC, CARRIED, OWNER):
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    Path("/etc/mosquitto/conf.d/carnet.conf").unlink()
    CARRIED.mkdir()
    before, after, *_without_vcan = page.commands(page.BENCH)
    type_in(before)
    for path, text in page.bench().items():
        path.write_text(text)
    type_in(after)
    return vehicle()


def vehicle() -> str:
    """As the enrolment names it."""
    name: str = json.loads((CARRIED / "enrolment.json").read_text())["enrolment"]["vehicle"]
    return name


def open_to_others() -> list[str]:
    """What somebody without rights could read of our secrets."""
    secret = [ETC / "keys", ETC / "tls", ETC / "secrets", Path("/root/carnet-authority"), *ETC.rglob("*.key"), OWNER]
    return [str(path) for path in secret if path.exists() and path.stat().st_mode & 0o077]


def operator_token() -> str:
    return (ETC / "secrets" / "operator").read_text().strip()


def check() -> tuple[int, str]:
    """`carnet-agent check`: exit code and output."""
    command = INSTALLED / ".venv" / "bin" / "carnet-agent"
    done = subprocess.run([command, "check"], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
