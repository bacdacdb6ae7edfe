"""The agent that one would write in an afternoon: one datagram at a time with python-can's own receive function,
cantools, a row in SQLite for every sample, and every minute gzipped JSON in a sealed box.

    python -m bench.rig.naive PORT FOLDER every|thin

``every`` keeps each sample of the 48 signals, ``thin`` only one a second, as the grants say.
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import sqlite3
import sys
import time
import tomllib
from pathlib import Path
from typing import cast

import can
import cantools
from can.interfaces.socketcan.socketcan import capture_message
from cantools.database.can import Database
from nacl.public import PublicKey, SealedBox

from bench.rig.line import SIGNALS
from bench.rig.unit import DATABASE, HOST, MAPPING, mapped_paths
from carnet_agent.bus.recvmmsg import SO_TIMESTAMPNS
from carnet_agent.bus.socketcan import RECEIVE_BUFFER_BYTES
from tests.cloud.kit import SEAL

COMMIT_S, SEND_S = 1.0, 60.0


class Naive:
    """``interval_s``: between two samples kept of a signal. What would be sent is made and thrown away."""

    def __init__(self, port: int, folder: Path, interval_s: float) -> None:
        self._interval_s = interval_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.bind((HOST, port))
        self._database = cast("Database", cantools.database.load_file(DATABASE))
        paths = set(mapped_paths(SIGNALS))
        rows = tomllib.loads(MAPPING.read_text())["signal"]
        self._path = {(row["message"], row["signal"]): row["path"] for row in rows if row.get("path") in paths}
        self._messages = {(m.frame_id, m.is_extended_frame): m for m in self._database.messages}
        self._last: dict[str, float] = {}
        self._db = sqlite3.connect(folder / f"naive-{interval_s}.db")
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("create table sample (path text, time real, value real)")
        self._box = SealedBox(PublicKey(SEAL.public))

    def run(self) -> None:
        """Until SIGTERM."""
        commit = send = time.monotonic()
        while True:
            ready, _, _ = select.select([self._socket], [], [], 0.5)
            if ready:
                message = capture_message(self._socket)
                if message is not None:
                    self._take(message)
            now = time.monotonic()
            if now - commit >= COMMIT_S:
                self._db.commit()
                commit = now
            if now - send >= SEND_S:
                self._send()
                send = now

    def _take(self, message: can.Message) -> None:
        known = self._messages.get((message.arbitration_id, message.is_extended_id))
        if known is None:
            return
        values = known.decode(bytes(message.data), decode_choices=False)
        for name, value in cast("dict[str, float]", values).items():
            path = self._path.get((known.name, name))
            if path is not None and message.timestamp - self._last.get(path, 0.0) >= self._interval_s:
                self._last[path] = message.timestamp
                self._db.execute("insert into sample values (?, ?, ?)", (path, message.timestamp, value))

    def _send(self) -> None:
        rows = self._db.execute("select path, time, value from sample").fetchall()
        text = json.dumps([{"path": path, "time": at, "value": value} for path, at, value in rows])
        self._box.encrypt(gzip.compress(text.encode(), 6))
        self._db.execute("delete from sample")
        self._db.commit()


def main(port: int, folder: Path, keeps: str) -> None:
    naive = Naive(port, folder, 1.0 if keeps == "thin" else 0.0)
    print("ready", flush=True)
    naive.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
