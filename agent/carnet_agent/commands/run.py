"""``carnet-agent run``: collect what was granted and send it, until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
from pathlib import Path

from carnet import logs
from carnet.errors import UnavailableError
from carnet.ids import device_text
from carnet.logs import told
from carnet_agent import compiled
from carnet_agent.assembly import make_agent, open_buses
from carnet_agent.brokerclient import wrong_files
from carnet_agent.buffer import doubt
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.handover import finish
from carnet_agent.identity import read_identity
from carnet_agent.local import LocalServer
from carnet_agent.mqtt import BrokerLink
from carnet_agent.service import Service
from carnet_agent.statefolder import BUFFER_FILE, locked
from carnet_agent.systemclock import SystemClock

EXAMPLE = "example: carnet-agent run --config agent.toml"
log = logging.getLogger("carnet.agent")


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
    logs.start()
    found = compiled.load(arguments.config)
    settings = found.settings
    logs.start(settings.log.format)
    for error in wrong_files(settings.mqtt):
        raise error
    with locked(settings.unit.state):
        finish_handover(settings.unit.state)
        identity = read_identity(settings.unit.state)
        agent = make_agent(found, identity, os.urandom)
        link = BrokerLink(settings.mqtt, identity.device)
        service = Service(agent, open_buses(settings), link, SystemClock().moment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        names = ", ".join(f"{number} is {bus.name}" for number, bus in enumerate(settings.bus))
        log.info("device %s; bus %s", device_text(identity.device), names, extra=told("start", buses=len(settings.bus)))
        with contextlib.closing(LocalServer(settings.unit.state, service.handle)) as local:
            try:
                local.open()
            except OSError as error:
                extra = told("no_local_socket", type(error).__name__)
                log.warning(
                    "no local socket: %s; status, mode, ceiling and ledger do not work", error.strerror, extra=extra
                )
            service.run(local)
        if service.damaged:
            doubt(settings.unit.state / BUFFER_FILE)
            text = "the disk has damaged what lies on it; the next start looks through all of it and saves what it can"
            raise UnavailableError("disk_damaged", text)
    return 0


def finish_handover(state: Path) -> None:
    """What a pairing that was cut short has left of the owner before goes first."""
    try:
        if finish(state):
            log.info("the car has a new owner: what was collected before is gone", extra=told("handed_over"))
    except OSError as error:
        raise UnavailableError("state_unwritable", f"{state} cannot be written: {error.strerror}") from error
