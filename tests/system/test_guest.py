"""The guest itself: a copy-on-write view, the command's own exit status, nothing left behind, and a real systemd."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.realparts import real_part
from tests.system.guest import uml
from tests.system.guest.require import require_guest

WAIT_S = 15.0

NOTIFY_SERVICE = """
[Service]
Type=notify
DynamicUser=yes
ExecStart=/usr/bin/python3 -c "import os, socket, time; \\
 socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); \\
 time.sleep(1000)"
Restart=on-failure
"""

CHECK_SYSTEMD = """
systemctl start notify || { journalctl --no-pager -u notify; exit 1; }
systemctl show -p ActiveState -p Type notify
kill -9 "$(systemctl show -p MainPID --value notify)"
for _ in $(seq 100); do
    test "$(systemctl show -p NRestarts --value notify)" = 1 && systemctl is-active --quiet notify && break
    sleep 0.1
done
systemctl show -p ActiveState -p NRestarts notify
cat /proc/1/comm
"""


def wait_until(true: Callable[[], bool]) -> None:
    """Ask until the answer is yes; AssertionError after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def _guest() -> None:
    require_guest()


def guests_left() -> list[str]:
    """Command lines of guests that are still running."""
    commands = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                commands.append(Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return [command for command in commands if f"{uml.KERNEL} " in command and f"init={uml.INIT}" in command]


def test_exit_status_and_output_are_the_commands_and_its_writes_vanish_but_where_allowed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    script = f"pwd; uname -r; ip -br link show vcan0; echo x >{tmp_path}/closed; echo y >{tmp_path}/open/file; exit 7"
    outcome = uml.run(["sh", "-c", script], timeout_s=30, directory=tmp_path, writable=[tmp_path / "open"])
    assert outcome.code == 7
    place, kernel, interface = outcome.output.splitlines()
    assert place == str(tmp_path)
    assert kernel != os.uname().release
    real_part("user-mode-linux", kernel)
    assert interface.startswith("vcan0") and "UP" in interface
    assert not (tmp_path / "closed").exists()
    assert (tmp_path / "open" / "file").read_text() == "y\n"


def test_a_guest_that_does_not_end_is_killed_whole() -> None:
    before = guests_left()
    outcome = uml.run(["sh", "-c", "echo started; sleep 1000"], timeout_s=3.5)
    assert outcome.code == uml.TIMED_OUT
    assert "started" in outcome.output
    assert guests_left() == before


def test_a_guest_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no guest behind."""
    before = guests_left()
    command = ["sh", "-c", f"touch {tmp_path}/started; sleep 1000"]
    program = f"""
from pathlib import Path
from tests.system.guest import uml
uml.run({command!r}, timeout_s=60, writable=[Path({str(tmp_path)!r})])
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as owner:
        wait_until((tmp_path / "started").exists)
        owner.kill()
    wait_until(lambda: guests_left() == before and not list(tmp_path.glob("carnet-guest-*/")))


def test_a_guest_that_dies_is_told_from_a_command_that_failed() -> None:
    assert uml.run(["sh", "-c", "echo c >/proc/sysrq-trigger"], timeout_s=30).code == uml.DIED


def test_systemd_starts_a_notifying_service_and_restarts_it_when_killed(tmp_path: Path) -> None:
    (tmp_path / "notify.service").write_text(NOTIFY_SERVICE)
    outcome = uml.run(["sh", "-c", CHECK_SYSTEMD], timeout_s=60, units=tmp_path)
    assert outcome.code == 0, outcome.output
    real_part("systemd", "process 1 of the guest")
    assert outcome.output.split() == [
        "Type=notify",
        "ActiveState=active",
        "NRestarts=1",
        "ActiveState=active",
        "systemd",
    ]
