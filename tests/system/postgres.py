"""A real PostgreSQL for tests: in a private folder, on a socket of its own and a free loopback port, ended by them.

Law: the server that answers is the one that was started here, never as root, and its folder goes with it. Through the
socket everybody who may enter the folder is let in; over TCP only who knows the password.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.lacking import lacking
from tests.realparts import real_part
from tests.system.mosquitto import HOST, free_port

USER: Final = "carnet"
PASSWORD: Final = "a-password-of-the-tests"
START_S: Final = 20.0
DEBIAN: Final = Path("/usr/lib/postgresql")
"""Each version in a folder of its own, outside of PATH."""
OTHERS: Final = ("postgres", "nobody")
"""Who runs it where the tests are root: initdb refuses root."""
MEMORY_BYTES_MIN: Final = 1 << 30
ACCESS: Final = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def programs() -> Path | None:
    """The folder with initdb and postgres: of PATH, the newest of Debian's or the package's; None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    return debian[-1].parent if debian else packaged()


def packaged() -> Path | None:
    """Those that pip has installed with what the tests need; None where that has no wheel."""
    package = find_spec("pgserver")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


def require_postgres() -> Path:
    """Without it: skip, saying what to install; where CI=true fail, because there it is promised."""
    folder = programs()
    if folder is None:
        lacking("no PostgreSQL, nor a wheel of one: apt-get install --no-install-recommends postgresql")
    return folder


class Postgres:
    """One server. Databases are made by copying; the port stays the same over ``kill`` and ``start``."""

    def __init__(self, *, on_disk: bool = False, programs: Path | None = None) -> None:
        """``on_disk``: also where there is room in memory. ``programs``: not those that are found."""
        self._programs = programs or require_postgres()
        self.folder = Path(tempfile.mkdtemp(prefix="carnet-pg-", dir=None if on_disk else _memory()))
        self._as: dict[str, Any] = _somebody_else() if os.geteuid() == 0 else {}
        if self._as:
            if self._programs == packaged():
                self._programs = _lent(self._programs, self.folder)
            os.chown(self.folder, self._as["user"], self._as["group"])
        self.port = free_port()
        self.log = self.folder / "log"
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        words = ["--no-sync", "--username", USER, "--pwfile", str(secret), "--encoding", "UTF8", "--locale", "C"]
        done = self._run([self._programs / "initdb", "-D", self.folder / "data", *words])
        assert done.returncode == 0, done.stderr
        (self.folder / "data" / "pg_hba.conf").write_text(ACCESS)

    def start(self, **more: str) -> None:
        """Return once it takes connections; AssertionError with its log if it does not. ``more``: settings."""
        settings = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": self.folder, **more}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        with psycopg.connect(self.url("postgres")) as connection:
            number = connection.info.server_version
        real_part("postgresql", f"{number // 10_000}.{number % 10_000}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections are cut, what was committed is written. SIGQUIT: it is recovered at the next start."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def database(self, template: str = "template1") -> str:
        """A new database, a copy of another; its name."""
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name} template {template}".encode())
        return name

    def dumped(self, database: str) -> bytes:
        """What an operator's pg_dump writes of it, while it is in use."""
        return self._operated("pg_dump", "--format=custom", f"--dbname={self.url(database)}")

    def restore(self, dump: bytes, database: str) -> None:
        """Into one that is empty, as an operator does it."""
        self._operated("pg_restore", "--exit-on-error", f"--dbname={self.url(database)}", data=dump)

    def _operated(self, program: str, *words: str, data: bytes = b"") -> bytes:
        command = [str(self._programs / program), *words]
        done = subprocess.run(command, input=data, check=False, capture_output=True, cwd=self.folder, **self._as)
        assert done.returncode == 0, done.stderr.decode()
        out: bytes = done.stdout
        return out

    def url(self, database: str) -> str:
        """By the socket, without a password."""
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, port: int = 0) -> str:
        """Over loopback, which asks for the password; ``port``: of something in between."""
        return f"postgresql://{USER}@{HOST}:{port or self.port}/{database}"

    def cpu_s(self) -> float:
        """What all its processes that live have taken so far."""
        # the ticks in user and system mode
        ticks = sum(int(words[11]) + int(words[12]) for _, words in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def pids(self) -> list[int]:
        """All its processes: one for each connection is among them."""
        return [pid for pid, _ in self._processes()]

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        """Each with the words of its ``stat`` after its name; the second is its parent."""
        assert self._process is not None
        for each in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                words = each.read_text().rpartition(")")[2].split()
                if str(self._process.pid) in (each.parent.name, words[1]):
                    yield int(each.parent.name), words

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, command: list[Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=self.folder, **self._as)


def _memory() -> str | None:
    """A folder in memory, if there is one with room: our databases live for a second, and a busy disk takes longer."""
    place = Path("/dev/shm")
    if not place.is_dir() or not os.access(place, os.W_OK):
        return None
    return str(place) if shutil.disk_usage(place).free > MEMORY_BYTES_MIN else None


def _lent(programs: Path, folder: Path) -> Path:
    """The package's programs, where somebody else may start them: an environment of root's is closed to others."""
    package = programs.parents[1]
    for each in (package, package.with_name("pgserver.libs")):
        shutil.copytree(each, folder / each.name)
    return folder / programs.relative_to(package.parent)


def _somebody_else() -> dict[str, Any]:
    """For ``subprocess``: another user than root."""
    for name in OTHERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise AssertionError("there is no user but root to run PostgreSQL as")
