"""Starts the programs of Carnet by their commands, each with a log of its own, and ends them.

Law: whatever was started is gone when ``end`` returns.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from carnet.errors import UnavailableError

HOST: Final = "127.0.0.1"
END_S: Final = 10.0
TAIL_CHARACTERS: Final = 600


def mosquitto() -> str | None:
    """Where Mosquitto is; Debian puts it where only administrators look."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody had when this returned."""
    with socket.socket(type=kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def until(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until it is so; False if it never was."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Programs:
    """Programs by name; ``folder`` gets a log for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, words: list[str]) -> None:
        """Start it in a session of its own: Ctrl-C is for the demo, which then ends its programs in order."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """UnavailableError ``program_ended`` if one has ended that nobody asked to."""
        for name, process in self._running.items():
            if process.poll() is not None:
                tail = self.log(name).read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
                raise UnavailableError("program_ended", f"{name} ended with {process.returncode}: {tail}")

    def wait_for(self, name: str, ready: Callable[[], bool], seconds: float = 20.0) -> None:
        """Return once it is ready; UnavailableError ``program_slow`` or ``program_ended``."""

        def looked() -> bool:
            self.check()
            return ready()

        if not until(looked, seconds):
            raise UnavailableError("program_slow", f"{name} is not ready after {seconds:g} s: see {self.log(name)}")

    def end(self, *names: str) -> None:
        """End these, or all, last started first."""
        for name in names or list(reversed(self._running)):
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ask(words: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; UnavailableError ``command_failed`` with its own sentence if it did not end with 0."""
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})}
    )
    if done.returncode != 0:
        name = " ".join(words[2:4])
        raise UnavailableError("command_failed", f"{name}: {done.stderr.strip()[-TAIL_CHARACTERS:]}")
    return done.stdout
