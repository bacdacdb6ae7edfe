"""A real Mosquitto for a test: on a free loopback port, with all its files in a folder of the test, ended with it.

Law: the broker that answers is the one that was started here, and when ``stop`` or ``kill`` returns it is gone.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import certificates
from tests.lacking import lacking
from tests.realparts import real_part
from tests.workers import is_port_of_ours

HOST = "127.0.0.1"
SHIPPED = Path(__file__).resolve().parents[2] / "systemd" / "mosquitto"
INSTALLED = "/etc/mosquitto/carnet"
"""Where the shipped configuration looks for its files."""
START_S = 10.0
PACKET_BYTES_MAX = 300_000
PLAIN = f"""\
listener {{port}} {HOST}
allow_anonymous true
persistence true
persistence_location {{folder}}/
retain_available false
max_packet_size {PACKET_BYTES_MAX}
"""
"""No certificates, no names: for tests that are about something else. Its store is written when it stops."""

DEBIAN = """\
persistence true
persistence_location {folder}/
log_dest stdout
include_dir {folder}/conf.d
"""
"""What Debian's own file says, which includes ours."""


def program() -> str | None:
    """Where Mosquitto is; None if this machine has none."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def require_mosquitto() -> str:
    """Mosquitto's path. Without it: skip, saying what to install; where CI=true fail, because there it is promised."""
    path = program()
    if path is None:
        lacking("no mosquitto: apt-get install --no-install-recommends mosquitto")
    return path


class Mosquitto:
    """One broker. ``config`` holds ``{port}`` and ``{folder}``; the port (0: a free one) stays the same over ``kill``
    and ``start``.

    As a context manager it is started and stopped. ``folder`` must exist; store and log are in it.
    """

    def __init__(self, folder: Path, config: str = PLAIN, port: int = 0) -> None:
        self.folder = folder
        self.host = HOST
        self.port = port or free_port()
        self.log = folder / "mosquitto.log"
        self._program = require_mosquitto()
        self._file = folder / "mosquitto.conf"
        # Started as root it would become another user, who may not read the test's folder.
        text = f"user {getpass.getuser()}\n" + config.format(port=self.port, folder=folder)
        self._file.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it takes connections; AssertionError with its log if it does not."""
        assert self._process is None, "already started"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._file)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"mosquitto did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        real_part("mosquitto", version(self._program))

    def stop(self) -> None:
        """SIGTERM: it writes its store and closes its connections."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def freeze(self) -> None:
        """SIGSTOP: its connections stand and nothing goes through them, as when a network is cut."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP: it reads its lists of rights and of revoked certificates again; sessions go on."""
        self._signal(signal.SIGHUP)

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def shipped(folder: Path, receivers: Sequence[str] = (), devices: Sequence[str] = ()) -> Mosquitto:
    """The configuration as it is shipped, on loopback, with an authority and these parties' certificates.

    Certificates and keys are in ``folder / "carnet"``, as `certificates` names them.
    """
    place = folder / "carnet"
    certificates.make_authority(place)
    certificates.make_broker(place, [HOST])
    for name in receivers:
        certificates.make_receiver(place, name)
    for device in devices:
        certificates.make_device(place, device)
    shutil.copy(SHIPPED / "acl", place)
    broker = Mosquitto(folder, DEBIAN)
    text = (SHIPPED / "carnet.conf").read_text()
    assert INSTALLED in text
    assert "\nlistener 8883\n" in text
    text = text.replace(INSTALLED, str(place)).replace("listener 8883", f"listener {broker.port} {HOST}")
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "carnet.conf").write_text(text)
    return broker


def free_port() -> int:
    """A loopback port that nobody had when this returned, and that no other worker of this run is given."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if is_port_of_ours(port):
            return port


def version(path: str) -> str:
    """As Mosquitto names itself, e.g. ``2.0.11``."""
    said = subprocess.run([path, "-h"], check=False, capture_output=True, text=True).stdout
    return said.partition("version ")[2].split()[0]
