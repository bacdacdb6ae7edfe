"""Run a command under a kernel that has CAN: user-mode-linux, which needs neither root nor a hypervisor.

Law: the guest sees this machine's files and changes none but those in directories named to it, its exit status is the
command's, and when ``run`` returns nothing of it is left.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KERNEL = Path("/usr/bin/linux.uml")
MODULES = Path("/usr/lib/uml/modules")
PACKAGES = ("user-mode-linux", "kmod", "can-utils", "e2fsprogs", "iproute2")
"""Debian packages that the guest is made of."""
INIT = Path(__file__).with_name("init.sh")
TIMED_OUT = 124
"""Exit status if the time was over, as of ``timeout``."""
DIED = 125
"""Exit status if the guest ended without saying how its command did."""
WATCHDOG = 'read -r _; for _ in $(seq 100); do kill -9 "-$1" || break; sleep 0.1; done 2>/dev/null; rm -rf "$2"'
"""Its input ends when the process that started the guest does, however that ended: then the guest goes too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command in the guest ended."""

    code: int
    """The command's exit status, or TIMED_OUT or DIED."""
    output: str
    """What it said, and if the guest died or ran out of time also what the guest's kernel did."""
    wall_s: float


def missing() -> str | None:
    """What this machine lacks for a guest, as one sentence; None if it can be started."""
    absent = [str(path) for path in (KERNEL, MODULES) if not path.exists()]
    absent += [tool for tool in ("taskset", "insmod", "ip", "candump", "mkfs.ext4") if _find(tool) is None]
    return f"no {', '.join(absent)}: apt-get install {' '.join(PACKAGES)}" if absent else None


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    directory: Path | None = None,
    writable: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    units: Path | None = None,
    disks_mb: Sequence[int] = (),
    memory_mb: int = 1024,
) -> Outcome:
    """Run ``command`` in a fresh guest, in ``directory`` (default: here), and wait for it.

    Changes under ``writable`` reach the host, all others vanish. With ``units`` a real systemd is PID 1: the files in
    that directory are its only units besides the journal, none is started, and the command runs as a service.
    ``disks_mb``: sizes of the empty disks /dev/ubda, /dev/ubdb and so on; they vanish too.
    """
    reason = missing()
    if reason:
        raise FileNotFoundError(reason)
    scratch = Path(tempfile.mkdtemp(prefix="carnet-guest-"))
    try:
        settings = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": "/run/tmp"}
        settings |= environment or {}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        inside = shlex.quote(str(directory or Path.cwd()))
        (scratch / "command").write_text(f"{exports}cd {inside}\n{shlex.join(command)}\n")
        (scratch / "writable").write_text("".join(f"{path}\n" for path in writable))
        if units is not None:
            shutil.copytree(units, scratch / "units")
        disks = [_disk(scratch, number, size_mb) for number, size_mb in enumerate(disks_mb)]
        return _boot(scratch, timeout_s, memory_mb, disks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _disk(scratch: Path, number: int, size_mb: int) -> str:
    """The kernel's argument for a disk that takes no room until it is written to."""
    path = scratch / f"disk{number}"
    with path.open("wb") as file:
        file.truncate(size_mb << 20)
    return f"ubd{number}={path}"


def _boot(scratch: Path, timeout_s: float, memory_mb: int, disks: Sequence[str]) -> Outcome:
    modules = max(MODULES.iterdir()) / "kernel"
    arguments = [
        str(KERNEL),
        f"mem={memory_mb}M",
        "rootfstype=hostfs",
        "root=/dev/root",
        "rootflags=/",
        "rw",
        f"init={INIT}",
        f"carnet.scratch={scratch}",
        f"carnet.modules={modules}",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        "quiet",
        "loglevel=1",
        "noreboot",
        f"uml_dir={scratch}",
        "umid=guest",
        *disks,
    ]
    console = scratch / "console"
    started = time.monotonic()
    with _one_cpu() as cpu, console.open("wb") as output:
        guest = subprocess.Popen(
            ["taskset", "-c", str(cpu), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watchdog = subprocess.Popen(
            ["sh", "-c", WATCHDOG, "watchdog", str(guest.pid), str(scratch)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            guest.wait(timeout_s)
            timed_out = False
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            watchdog.kill()
            watchdog.communicate()
            _end(guest)
    code = TIMED_OUT if timed_out else _code(scratch)
    said = _text(scratch / "output")
    if code in (TIMED_OUT, DIED):
        said += _text(console)
    return Outcome(code, said, time.monotonic() - started)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _code(scratch: Path) -> int:
    try:
        return int((scratch / "code").read_text())
    except (FileNotFoundError, ValueError):
        return DIED


@contextmanager
def _one_cpu() -> Iterator[int]:
    """A CPU that no other guest of ours has.

    Kernel and processes of a guest take turns; on two CPUs each system call would pay a wake-up across them, which
    makes it three to five times slower.
    """
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    for cpu in allowed:
        with Path(tempfile.gettempdir(), f"carnet-guest-{os.getuid()}-cpu{cpu}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield cpu
            return
    yield allowed[0]


def _end(guest: subprocess.Popen[bytes]) -> None:
    """Kill all processes of the guest's session and wait until they are gone:
    its traced children outlive it a moment.
    """
    try:
        os.killpg(guest.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    guest.wait()
    while any(_session(entry) == guest.pid for entry in os.listdir("/proc") if entry.isdigit()):
        time.sleep(0.01)


def _session(process: str) -> int | None:
    try:
        return int(Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return None


def _find(tool: str) -> str | None:
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
