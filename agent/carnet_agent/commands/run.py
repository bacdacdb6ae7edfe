"""``carnet-agent run``: collect what was granted and send it, until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from carnet.ids import device_text
from carnet_agent import compiled
from carnet_agent.assembly import make_agent, open_buses
from carnet_agent.brokerclient import wrong_files
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.identity import read_identity
from carnet_agent.local import LocalServer
from carnet_agent.mqtt import BrokerLink
from carnet_agent.service import Service
from carnet_agent.statefolder import locked
from carnet_agent.systemclock import SystemClock

EXAMPLE = "example: carnet-agent run --config agent.toml"
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Levels as journald knows them, see sd-daemon(3)."""

log = logging.getLogger("carnet.agent")


class JournalFormatter(logging.Formatter):
    """A line of the journal with its priority; on a terminal a plain one."""

    def __init__(self, *, priorities: bool) -> None:
        super().__init__("%(message)s")
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, whatever is in it."""
        line = " ".join(super().format(record).splitlines())
        return f"<{PRIORITIES.get(record.levelno, 6)}>{line}" if self._priorities else line


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="collect what was granted and send it",
        description="Read the buses, collect what the owner granted, keep it sealed, send it. SIGTERM and Ctrl-C write "
        "what is open and end it.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Work until told to stop; returns the exit code. Raises carnet.errors.Error if it cannot begin."""
    _log_to_journal()
    found = compiled.load(arguments.config)
    settings = found.settings
    for error in wrong_files(settings.mqtt):
        raise error
    with locked(settings.unit.state):
        identity = read_identity(settings.unit.state)
        agent = make_agent(found, identity, os.urandom)
        link = BrokerLink(settings.mqtt, identity.device)
        service = Service(agent, open_buses(settings), link, SystemClock().moment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        names = ", ".join(f"{number} is {bus.name}" for number, bus in enumerate(settings.bus))
        log.info("device %s; bus %s", device_text(identity.device), names)
        with contextlib.closing(LocalServer(settings.unit.state, service.handle)) as local:
            try:
                local.open()
            except OSError as error:
                log.warning("no local socket: %s; status and mode do not work", error.strerror)
            service.run(local)
    return 0


def _log_to_journal() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter(priorities=bool(os.environ.get("JOURNAL_STREAM"))))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
