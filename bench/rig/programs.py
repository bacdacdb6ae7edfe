"""Child processes of a bench: started, waited for, and ended with it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Program = subprocess.Popen[bytes]
WAIT_S = 60


class Programs:
    """Child processes of a bench, one log each; all ended when the bench ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Program] = {}

    def start(self, name: str, *words: str) -> Program:
        """Run ``python words…``."""
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, *words]
            self._running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        return self._running[name]

    def start_ready(self, name: str, *words: str) -> Program:
        """The same, and wait for the line ``ready``."""
        program = self.start(name, *words)
        assert program.stdout is not None
        if program.stdout.readline() != b"ready\n":
            raise SystemExit(f"{name} did not start: {self.log(name)}")
        return program

    def tell(self, program: Program, word: str = "go") -> None:
        """Write a line to a program."""
        assert program.stdin is not None
        program.stdin.write(word.encode() + b"\n")
        program.stdin.flush()

    def until(self, happened: Callable[[], bool], name: str) -> None:
        """Wait for it; give up with the log of the program that should have done it."""
        end = time.monotonic() + WAIT_S
        while not happened():
            if time.monotonic() > end:
                raise SystemExit(f"{name} did not do it in time: {self.log(name)}")
            time.sleep(0.05)

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)
