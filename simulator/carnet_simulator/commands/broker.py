"""``carnet-sim broker``: the development broker as a program."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tomllib
from pathlib import Path
from typing import Any, Final

from carnet.commandline import whole
from carnet.errors import ConfigError, UnavailableError
from carnet_simulator.broker import Account, Broker

EXAMPLES: Final = """examples:
  carnet-sim broker --port 1883
  carnet-sim broker --port 0 --ready-file /tmp/broker.port --users users.toml

users.toml:
  [users.worker]
  password = "…"
  role = "receiver"       # or "device": then the name is the device id
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "broker",
        help="run an MQTT 5 broker on this machine's loopback",
        description="For development and demonstration: MQTT 5, quality of service 0 and 1, no retained messages, no "
        "stored sessions, loopback only. Use Mosquitto for anything else. Ctrl-C ends it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1 or ::1 (default: 127.0.0.1)")
    parser.add_argument("--port", type=whole(0, 65_535), default=1883, help="0 lets the system choose (default: 1883)")
    parser.add_argument("--ready-file", type=Path, help="write the port into this file once it listens")
    parser.add_argument("--users", type=Path, help="TOML file with accounts (default: everybody may do everything)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until somebody interrupts."""
    broker = Broker(accounts=load_accounts(arguments.users.read_bytes()) if _exists(arguments.users) else {})
    asyncio.run(_serve(broker, arguments.host, arguments.port, arguments.ready_file))
    return 0


def load_accounts(text: bytes) -> dict[str, Account]:
    """Parse a users file; ConfigError ``users_syntax`` or ``users_value``."""
    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        raise ConfigError("users_syntax", "the users file is not TOML in UTF-8") from None
    users = document.get("users")
    if set(document) != {"users"} or not isinstance(users, dict):
        raise ConfigError("users_value", "the users file has tables [users.NAME] and nothing else")
    accounts = {}
    for name, user in users.items():
        if not isinstance(user, dict) or set(user) != {"password", "role"}:
            raise ConfigError("users_value", f"[users.{name}] has exactly the keys password and role")
        if user["role"] not in ("device", "receiver") or not isinstance(user["password"], str) or not user["password"]:
            raise ConfigError("users_value", f"[users.{name}]: role is device or receiver, password a text")
        accounts[name] = Account(user["password"].encode(), user["role"])
    return accounts


def _exists(path: Path | None) -> bool:
    if path is not None and not path.is_file():
        raise ConfigError("users_missing", f"{path}: there is no such file")
    return path is not None


async def _serve(broker: Broker, host: str, port: int, ready_file: Path | None) -> None:
    try:
        server = await broker.listen(host, port)
    except (OSError, OverflowError) as error:
        raise UnavailableError("broker_port", f"cannot listen on {host} port {port}: {error}; try --port 0") from None
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bound = server.sockets[0].getsockname()[1]
    print(f"listening on {host} port {bound}", flush=True)
    if ready_file is not None:
        # Renamed into place: who sees the file sees the whole number.
        draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        draft.write_text(f"{bound}\n")
        draft.replace(ready_file)
    await stop.wait()
    server.close()
    broker.close()
    await asyncio.sleep(0)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(broker.counters.items()))
    print(f"stopped: {counts or 'nobody came'}", flush=True)
