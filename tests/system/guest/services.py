"""Runs inside the guest as root, beside a real systemd: starts, kills and hangs our services, and says what it saw.

usage: services.py RESULT.json. A step that fails is in the result, with the journal.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carnet import canonical
from tests.system.guest import install
from tests.system.guest.machine import hang, journal, probe, restart_by, run, show, stop, wait_until

CLOUD, AGENT, BROKER = "carnet-cloud", "carnet-agent", "mosquitto"
API = "http://127.0.0.1:8480"
RECEIVED = Path("/var/lib/carnet-cloud/repair-shop.jsonl")
OFFER = {
    "v": 1, "type": "offer", "id": "off_aaaaaaaaaaaaaaaa", "tenant": install.TENANT,
    "recipient": "rcp_aaaaaaaaaaaaaaaa", "recipient_name": "Repair shop",
    "purpose": {"code": "dpv:RepairAndMaintenance", "text": "Look at the car."},
    "items": [
        {"path": "Vehicle.Speed", "need": "required", "transform": {"interval_ms": 500}, "class": "event", "when": []}
    ],
    "reveals": "How fast you drive.", "incentive": None, "retention_days": 30, "valid_days": 30,
    "storage_location": "EU", "replay_ms": 0,
}  # fmt: skip


def main(result: Path) -> None:
    facts: dict[str, Any] = {"seconds": {}}
    try:
        for name, step in STEPS.items():
            started = time.monotonic()
            facts[name] = step()
            facts["seconds"][name] = round(time.monotonic() - started, 1)
    except Exception:  # noqa: BLE001  whatever went wrong is the result, and the guest has no other way to say it
        facts["failed"] = traceback.format_exc() + journal()
    result.write_text(json.dumps(facts))


def prepare() -> str:
    """Install; the version of systemd."""
    install.install_programs()
    install.install_broker()
    return run("systemctl", "--version").split()[1]


def start_cloud() -> dict[str, str]:
    install.install_cloud()
    wait_until(receiving)
    return show(CLOUD)


def kill_broker() -> dict[str, bool]:
    """Cloud and agent outlive their broker and find it again."""
    before = [show(unit)["MainPID"] for unit in (CLOUD, AGENT)]
    restart_by(signal.SIGKILL, (BROKER,), receiving)
    wait_until(delivering())
    return {"same_processes": [show(unit)["MainPID"] for unit in (CLOUD, AGENT)] == before}


def start_agent() -> dict[str, str]:
    """Pair, consent, drive: until the repair shop has readings."""
    vehicle = install.pair()
    before = install.check()
    consent(vehicle)
    drive = [str(install.INSTALLED / ".venv/bin/carnet-sim"), "drive", "--channel", "can0=vcan0", "--rate", "100"]
    # It ends with the guest.
    subprocess.Popen(drive, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    install.start_agent()
    wait_until(delivering())
    return show(AGENT) | {"check before": before[1]}


def consent(vehicle: str) -> None:
    """The operator publishes the offer, and the owner agrees."""
    offer = canonical.encode({**OFFER, "created_ms": time.time_ns() // 1_000_000})
    headers = {"Authorization": f"Bearer {install.operator_token()}", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{API}/v1/offers", offer, headers)).close()
    whose = ("--vehicle", vehicle, "--key", install.OWNER)
    install.carnet("carnet", "owner", "grant", str(OFFER["id"]), *whose)


def check() -> dict[str, Any]:
    """The unit checked while its service runs, by whoever installs it; and what lies open to others."""
    before = broker_facts()
    code, said = install.check()
    after = broker_facts()
    connections = (before["connections"], after["connections"])
    return {"code": code, "said": said, "connections": connections, "open": install.open_to_others()}


def broker_facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(install.carnet("carnet-agent", "status", "--json"))["broker"]
    return facts


def recover() -> str:
    """What the owner's new key is shown; readings go on to the repair shop under what the lost one agreed to."""
    shown = install.recover()
    wait_until(delivering())
    return shown


def renew() -> dict[str, Any]:
    """The unit after a new owner's pairing, connected by its new certificate."""
    install.renew()
    wait_until(lambda: show(AGENT)["ActiveState"] == "active" and broker_facts()["fault"] is None)
    return show(AGENT)


def bench() -> dict[str, str]:
    """The page's other way: no TLS, a broker on loopback, vcan0; until the repair shop has readings."""
    consent(install.bench())
    wait_until(delivering())
    return show(AGENT)


def receiving() -> bool:
    """The API answers and the cloud says, there and to systemd, that it has reached the broker."""
    try:
        with urllib.request.urlopen(f"{API}/healthz", timeout=5) as answer:
            connected = json.load(answer)["broker"]
    except OSError:
        return False
    return bool(connected) and show(CLOUD)["StatusText"] == "receiving"


def delivering() -> Callable[[], bool]:
    """Whether more has reached the repair shop since this was called."""
    before = delivered()
    return lambda: delivered() > before


def delivered() -> int:
    return RECEIVED.stat().st_size if RECEIVED.exists() else 0


STEPS: dict[str, Callable[[], Any]] = {
    "version": prepare,
    "start": lambda: {CLOUD: start_cloud(), AGENT: start_agent()},
    "kill": lambda: restart_by(signal.SIGKILL, (CLOUD, AGENT), delivering()),
    "kill broker": kill_broker,
    "check": check,
    "hang": lambda: hang((CLOUD, AGENT), delivering()),
    "recover": recover,
    "renew": renew,
    "stop": lambda: {AGENT: stop(AGENT), CLOUD: stop(CLOUD)},
    "probe carnet-cloud": lambda: probe(CLOUD),
    "probe carnet-agent": lambda: probe(AGENT),
    "bench": bench,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
