"""Install broker, cloud and agent in the guest as docs/installation.md says, with the configuration files in it."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

from tests.system.guest.machine import run

CHECKOUT = Path(__file__).resolve().parents[3]
INSTALLATION = CHECKOUT / "docs" / "installation.md"
INSTALLED = Path("/opt/carnet")
ETC = Path("/etc/carnet")
BROKER_FILES = Path("/etc/mosquitto/carnet")
AUTHORITY = Path("/run/authority")
OWNER = Path("/run/owner")
ENROLMENT = Path("/run/enrolment.json")
TENANT = "ten_aaaaaaaaaaaaaaaa"
OPERATOR_TOKEN = "0123456789abcdef" * 2
BROKER_HERE = ("broker.example.org", "127.0.0.1")
BUS_HERE = ('channel = "can0"', 'channel = "vcan0"')
"""What the page says -> what it is in the guest."""


def documented() -> dict[Path, str]:
    """The configuration files in docs/installation.md; the first line of each is a comment with its path."""
    blocks = re.findall(r"```toml\n(.*?)```", INSTALLATION.read_text(), re.DOTALL)
    texts = [textwrap.dedent(block) for block in blocks]
    return {Path(text.splitlines()[0].removeprefix("# ")): text for text in texts}


def carnet(command: str, *words: str | Path) -> str:
    """Run one of the installed commands."""
    return run(INSTALLED / ".venv" / "bin" / command, *words)


def install_programs() -> None:
    """They are bound to their place instead of copied there."""
    INSTALLED.mkdir(parents=True)
    run("mount", "--bind", CHECKOUT, INSTALLED)
    # Whatever made this environment, its commands are now those that `make` installs; the guest forgets it.
    tools = str(CHECKOUT / "tools")
    run(sys.executable, "-c", f"import sys; sys.path.insert(0, {tools!r}); import boot; boot.connect()")
    for folder in ("tls", "secrets"):
        (ETC / folder).mkdir(parents=True, mode=0o700)
    for path, text in documented().items():
        path.write_text(text.replace(*BROKER_HERE).replace(*BUS_HERE))


def install_broker() -> None:
    certificates("ca")
    certificates("broker", "127.0.0.1")
    BROKER_FILES.mkdir(parents=True)
    for name in ("ca.pem", "broker.pem", "broker.key", "revoked.pem"):
        run("install", "-m", "600", "-o", "mosquitto", AUTHORITY / name, BROKER_FILES)
    shipped = INSTALLED / "systemd" / "mosquitto"
    run("install", "-m", "644", shipped / "acl", BROKER_FILES)
    run("install", "-m", "644", shipped / "carnet.conf", "/etc/mosquitto/conf.d")


def install_cloud() -> None:
    carnet("carnet-cloud", "keygen", ETC / "keys")
    token = ETC / "secrets" / "operator"
    token.touch(0o600)
    token.write_text(OPERATOR_TOKEN)
    certificates("receiver", "receiver-1")
    for name in ("ca.pem", "receiver-1.pem", "receiver-1.key"):
        run("install", "-m", "600", AUTHORITY / name, ETC / "tls")


def pair() -> str:
    """The unit, paired, enrolled at the running cloud, and with a certificate; the vehicle's name."""
    carnet("carnet", "owner", "keygen", "--out", OWNER)
    keys = ("--owner-key", OWNER / "owner.public.json", "--cloud-keys", ETC / "keys" / "cloud.public.json")
    carnet("carnet-agent", "pair", *keys, "--out", ENROLMENT)
    device = carnet("carnet-cloud", "enrol", ENROLMENT, "--tenant", TENANT).split()[-1]
    certificates("device", device)
    run("install", "-m", "600", AUTHORITY / f"{device}.pem", ETC / "tls" / "unit.pem")
    run("install", "-m", "600", AUTHORITY / f"{device}.key", ETC / "tls" / "unit.key")
    vehicle: str = json.loads(ENROLMENT.read_text())["enrolment"]["vehicle"]
    return vehicle


def certificates(action: str, *names: str) -> None:
    run(sys.executable, INSTALLED / "tools" / "certificates.py", action, AUTHORITY, *names)
