"""Runs inside the guest as root, beside a real systemd: installs as docs/installation.md says, and says what it saw.

usage: services.py RESULT.json. Every wait has a limit; a step that fails is in the result with its journal.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
PYTHON = CHECKOUT / ".venv" / "bin" / "python"
ETC = Path("/etc/carnet")
WAIT_S = 40.0
CLOUD, AGENT, BROKER = "carnet-cloud", "carnet-agent", "mosquitto"
TENANT = "ten_aaaaaaaaaaaaaaaa"
INSTALLATION = CHECKOUT / "docs" / "installation.md"


def main(result: Path) -> None:
    facts: dict[str, Any] = {}
    try:
        install()
        for name, step in STEPS.items():
            facts[name] = step()
    except Exception:  # noqa: BLE001  whatever went wrong is the result, and the guest has no other way to say it
        facts["failed"] = traceback.format_exc() + journal()
    result.write_text(json.dumps(facts))


# installing


def install() -> None:
    """As an installer does; only the programs are bound to /opt/carnet instead of copied there."""
    Path("/opt/carnet").mkdir(parents=True)
    run("mount", "--bind", str(CHECKOUT), "/opt/carnet")
    # Whatever made this environment, its commands are now those that `make` installs; the guest forgets it.
    run(str(PYTHON), "-c", f"import sys; sys.path.insert(0, {str(CHECKOUT / 'tools')!r}); import boot; boot.connect()")
    for folder, mode in (("tls", 0o700), ("secrets", 0o700)):
        (ETC / folder).mkdir(parents=True)
        (ETC / folder).chmod(mode)
    for path, text in documented().items():
        path.write_text(text.replace("broker.example.org", "127.0.0.1").replace("can0", "vcan0"))
    (ETC / "secrets" / "operator").write_text("0123456789abcdef" * 2)
    (ETC / "secrets" / "operator").chmod(0o600)
    carnet("carnet-cloud", "keygen", str(ETC / "keys"))
    install_broker(Path("/etc/mosquitto/carnet"))
    run("systemctl", "daemon-reload")


def documented() -> dict[Path, str]:
    """The configuration files in docs/installation.md; the first line of each is a comment with its path."""
    blocks = re.findall(r"```toml\n(.*?)```", INSTALLATION.read_text(), re.DOTALL)
    texts = [textwrap.dedent(block) for block in blocks]
    return {Path(text.splitlines()[0].removeprefix("# ")): text for text in texts}


def install_broker(place: Path) -> None:
    authority = Path("/run/authority")
    certificates(authority, "ca")
    certificates(authority, "broker", "127.0.0.1")
    certificates(authority, "receiver", "receiver-1")
    place.mkdir(parents=True)
    for name in ("ca.pem", "broker.pem", "broker.key", "revoked.pem"):
        run("install", "-m", "600", "-o", "mosquitto", str(authority / name), str(place))
    for name in ("ca.pem", "receiver-1.pem", "receiver-1.key"):
        run("install", "-m", "600", str(authority / name), str(ETC / "tls"))
    run("install", "-m", "644", "/opt/carnet/systemd/mosquitto/acl", str(place))
    run("install", "-m", "644", "/opt/carnet/systemd/mosquitto/carnet.conf", "/etc/mosquitto/conf.d/carnet.conf")


def certificates(*words: str | Path) -> None:
    action, folder, *names = (str(word) for word in ((words[1], words[0], *words[2:])))
    run(str(PYTHON), "/opt/carnet/tools/certificates.py", action, folder, *names)


def carnet(command: str, *words: str) -> str:
    return run(f"/opt/carnet/.venv/bin/{command}", *words)


# steps


def start_cloud() -> dict[str, Any]:
    run("systemctl", "start", BROKER, CLOUD)
    wait_until(receiving)
    return show(CLOUD)


def kill_cloud() -> dict[str, Any]:
    kill(CLOUD)
    wait_until(lambda: restarts(CLOUD) == 1 and active(CLOUD))
    wait_until(receiving)
    return show(CLOUD)


def kill_broker() -> dict[str, Any]:
    """The cloud outlives its broker and finds it again."""
    before = show(CLOUD)["MainPID"]
    kill(BROKER)
    wait_until(lambda: restarts(BROKER) == 1 and active(BROKER))
    wait_until(receiving)
    return {"same_process": show(CLOUD)["MainPID"] == before}


def hang_cloud() -> dict[str, Any]:
    """A process that stands still says nothing, and is replaced."""
    before = restarts(CLOUD)
    os.kill(int(show(CLOUD)["MainPID"]), signal.SIGSTOP)
    wait_until(lambda: restarts(CLOUD) == before + 1 and active(CLOUD))
    said = run("journalctl", "--no-pager", "-u", CLOUD)
    return {"watchdog": "Watchdog timeout" in said, "cores": [str(path) for path in Path("/").glob("core*")]}


def stop_cloud() -> dict[str, Any]:
    run("systemctl", "stop", CLOUD)
    return show(CLOUD)


STEPS: dict[str, Callable[[], Any]] = {
    "version": lambda: run("systemctl", "--version").split()[1],
    "start_cloud": start_cloud,
    "kill_cloud": kill_cloud,
    "kill_broker": kill_broker,
    "hang_cloud": hang_cloud,
    "stop_cloud": stop_cloud,
    "probe carnet-cloud": lambda: probe(CLOUD),
    "probe carnet-agent": lambda: probe(AGENT),
}


def probe(unit: str) -> Any:
    """Run probe.py in the sandbox of a unit: the unit itself, with another program."""
    output = Path("/run", f"{unit}.json")
    folder = Path(f"/run/systemd/system/{unit}.service.d")
    folder.mkdir(parents=True)
    program = "/opt/carnet/tests/system/guest/probe.py"
    (folder / "probe.conf").write_text(
        f"[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart={PYTHON} {program}\n"
        f"StandardOutput=truncate:{output}\n"
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "start", unit)
    return json.loads(output.read_text())


# looking


def show(unit: str) -> dict[str, str]:
    names = "Type,ActiveState,NRestarts,MainPID,StatusText,WatchdogUSec,Result"
    said = run("systemctl", "show", "-p", names, unit)
    return dict(line.split("=", 1) for line in said.splitlines())


def active(unit: str) -> bool:
    return show(unit)["ActiveState"] == "active"


def receiving() -> bool:
    """The API answers and the cloud says, there and to systemd, that it has reached the broker."""
    return bool(api()["connected"]) and show(CLOUD)["StatusText"] == "receiving"


def restarts(unit: str) -> int:
    return int(show(unit)["NRestarts"])


def kill(unit: str) -> None:
    os.kill(int(show(unit)["MainPID"]), signal.SIGKILL)


def api() -> dict[str, Any]:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8480/healthz", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {"connected": False}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.returncode}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def journal() -> str:
    return subprocess.run(["journalctl", "--no-pager", "-n", "80"], check=False, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
