"""Runs inside the guest under the sandbox of one of our units and says, as JSON, what it could do there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

PR_SET_MDWE_TARGET = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
AF_CAN, AF_NETLINK, AF_PACKET, AF_VSOCK = 29, 16, 17, 40


def attempt(action: Callable[[], object]) -> str:
    """``ok`` or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"


def write(path: Path) -> Callable[[], object]:
    return lambda: path.write_text("x")


def family(number: int, kind: int = socket.SOCK_RAW) -> Callable[[], object]:
    return lambda: socket.socket(number, kind, 1 if number == AF_CAN else 0).close()


def can_bind() -> None:
    with socket.socket(AF_CAN, socket.SOCK_RAW, 1) as opened:
        opened.bind(("vcan0",))


def run_written(folder: Path) -> None:
    """Start a program that was written there: what an intruder would try first."""
    program = folder / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o700)
    subprocess.run([program], check=True)


def write_and_execute() -> str:
    """Memory that is writable and executable at once."""
    with contextlib.suppress(OSError):
        mmap.mmap(-1, 4096, prot=PR_SET_MDWE_TARGET).close()
        return "ok"
    return "refused"


def modes(folder: Path) -> dict[str, str]:
    """Name -> mode of each file, as far as it can be read."""
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(folder.iterdir()) if path.read_bytes()}


def facts() -> dict[str, object]:
    states = [Path(path) for path in os.environ["STATE_DIRECTORY"].split(":")]
    return {
        "uid": os.getuid(),
        "capabilities": next(
            line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")
        ),
        "write_etc": attempt(write(Path("/etc/probe"))),
        "write_opt": attempt(write(Path("/opt/probe"))),
        "write_var": attempt(write(Path("/var/lib/probe"))),
        "write_state": {path.name: attempt(write(path / "probe")) for path in states},
        "mode_state": {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in states},
        "run_written": {str(folder): attempt(partial(run_written, folder)) for folder in (*states, Path("/tmp"))},
        "list_root": attempt(lambda: os.listdir("/root/.ssh")),
        "can": attempt(family(AF_CAN)),
        "netlink": attempt(family(AF_NETLINK)),
        "packet": attempt(family(AF_PACKET)),
        "inet": attempt(family(socket.AF_INET, socket.SOCK_STREAM)),
        "unix": attempt(family(socket.AF_UNIX, socket.SOCK_STREAM)),
        "write_and_execute": write_and_execute(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "boot_id": attempt(lambda: Path("/proc/sys/kernel/random/boot_id").read_text()),
        "others_seen": any(path.name == "1" for path in Path("/proc").iterdir()),
        "namespace": attempt(_unshare),
        "credentials": modes(Path(os.environ["CREDENTIALS_DIRECTORY"])),
        "clock_read": attempt(read_clock),
        "clock_set": attempt(set_clock),
    } | ({"can_bind": attempt(can_bind)} if "agent" in states[0].name else {})


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")


def read_clock() -> None:
    """Ask the kernel how well its clock goes, and change nothing: adjtimex with modes 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(ctypes.create_string_buffer(512))) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")


def set_clock() -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()))
