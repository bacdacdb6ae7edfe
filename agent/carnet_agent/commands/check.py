"""``carnet-agent check``: is everything in order, and what would be collected for whom?"""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from carnet.errors import ConfigError, Error, UnavailableError
from carnet.ids import device_text
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.settings import BusSection, MqttSection, Settings

EXAMPLE = "example: carnet-agent check --config agent.toml"
OK, FAILED, WRONG = 0, 1, 2
"""Exit codes: in order; something is not there now; a file is wrong."""
LOSSES_SHOWN = 5
INTERFACES = Path("/sys/class/net")
WITHOUT_HARDWARE = frozenset({"udp_multicast", "virtual"})
"""Interfaces that `check` may open: a running agent keeps what it hears."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and the exit code that it calls for."""

    code: int
    text: str


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="say whether configuration, keys and broker are in order",
        description="Check the configuration, DBCs, mappings, keys and their permissions, the buses and whether the "
        "broker takes this unit, and print what would be collected for whom. While the agent runs it is asked how it "
        "stands with the broker, and its connection is left alone. Exit code 0: in order, 1: something is not there "
        "now, 2: a file is wrong.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--offline", action="store_true", help="leave the broker out")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; returns the worst code. Raises carnet.errors.Error for a configuration that says nothing."""
    from carnet_agent.config import load

    settings = load(arguments.config)
    worst = OK
    for finding in _findings(arguments.config, settings, offline=arguments.offline):
        print(f"{('ok', 'failed', 'wrong')[finding.code]:7}{finding.text}", flush=True)
        worst = max(worst, finding.code)
    return worst


def _findings(config: Path, settings: Settings, *, offline: bool) -> Iterator[Finding]:
    yield Finding(OK, f"{config}")
    signals = list(_signals(config))
    yield from signals
    yield from _buses(settings)
    files = list(_files(settings.mqtt))
    yield from files
    yield from _identity(config, settings, compiled=all(finding.code == OK for finding in signals))
    if not offline and not files:
        yield _broker(settings)


def _signals(config: Path) -> Iterator[Finding]:
    from carnet_agent import compiled

    try:
        found = compiled.load(config)
    except Error as error:
        yield Finding(WRONG, str(error))
        return
    mapped = sum(len(mapping.rows) for mapping in found.mappings)
    yield Finding(OK, f"{len(found.plan.signals)} signals, {mapped} of them with a path and a category")
    for loss in found.losses[:LOSSES_SHOWN]:
        yield Finding(OK, f"not used: {loss}")
    if len(found.losses) > LOSSES_SHOWN:
        yield Finding(OK, f"not used: {len(found.losses) - LOSSES_SHOWN} more")
    paths = {row.path for mapping in found.mappings for row in mapping.rows}
    operating = found.settings.operating
    for name in ("ignition", "voltage", "gnss_time"):
        path = getattr(operating, name)
        if path is not None and path not in paths:
            yield Finding(WRONG, f"operating.{name}: no mapping has the path {path}")


def _buses(settings: Settings) -> Iterator[Finding]:
    for bus in settings.bus:
        if bus.interface != "socketcan" and not _known(bus.interface):
            yield Finding(WRONG, f"{bus.name}: python-can has no interface {bus.interface}")
        elif bus.interface == "socketcan" and not (INTERFACES / bus.channel).exists():
            yield Finding(FAILED, f"{bus.name}: there is no interface {bus.channel} now; the agent keeps trying")
        elif bus.interface in WITHOUT_HARDWARE and _refused(bus):
            yield Finding(WRONG, f"{bus.name}: python-can refuses its options: look at channel and options")
        else:
            yield Finding(OK, f"{bus.name}: {bus.interface} {bus.channel}")


def _refused(bus: BusSection) -> bool:
    """Whether an adapter that is no device, and disturbs nobody, cannot be opened as the configuration says."""
    from carnet_agent.bus.pythoncan import open_adapter, refuses_options

    try:
        open_adapter(bus.interface, bus.channel, bus.options)().shutdown()
    except Exception as error:  # noqa: BLE001 - what is not the options' fault, the running agent tries again
        return refuses_options(error)
    return False


def _known(interface: str) -> bool:
    import can

    return interface in can.VALID_INTERFACES


def _files(mqtt: MqttSection) -> Iterator[Finding]:
    from carnet_agent.brokerclient import wrong_files

    for error in wrong_files(mqtt):
        yield Finding(FAILED if error.reason == "credential_away" else WRONG, str(error))


def _identity(config: Path, settings: Settings, *, compiled: bool) -> Iterator[Finding]:
    """Who the unit is; with ``compiled`` signals also what would be collected for whom."""
    from carnet_agent.identity import read_identity

    state = settings.unit.state
    if state.is_dir() and stat.S_IMODE(state.stat().st_mode) & 0o077:
        yield Finding(WRONG, f"{state} can be entered by others: chmod 700 {state}")
        return
    try:
        identity = read_identity(state)
    except ConfigError as error:
        yield Finding(WRONG, str(error))
        return
    owner = identity.owner
    yield Finding(OK, f"device {device_text(identity.device)}, vehicle {owner.vehicle}, epoch {owner.epoch}")
    if compiled:
        yield from _collected(config, settings)


def _collected(config: Path, settings: Settings) -> Iterator[Finding]:
    """Who gets what, from the consents on this unit; the running agent has them open and tells it by `status`."""
    from carnet_agent.statefolder import CONSENT_FILE, locked

    if not (settings.unit.state / CONSENT_FILE).exists():
        yield Finding(OK, "no consents yet: nothing would be collected")
        return
    try:
        with locked(settings.unit.state):
            yield from _grants(config, settings)
    except UnavailableError as error:
        if error.reason != "agent_running":
            yield Finding(FAILED, str(error))
            return
        yield Finding(OK, "the agent is running: carnet-agent status shows what is collected")


def _grants(config: Path, settings: Settings) -> Iterator[Finding]:
    import os
    import shutil
    import tempfile

    from carnet.consent import narrow
    from carnet_agent import compiled
    from carnet_agent.assembly import ceiling, map_signals
    from carnet_agent.collect.wants import catalogue, index_paths
    from carnet_agent.consent.file import open_consents
    from carnet_agent.identity import read_identity
    from carnet_agent.statefolder import CONSENT_FILE

    found = compiled.load(config)
    owner = read_identity(settings.unit.state).owner
    # A copy: a check changes nothing, and opening a database does.
    with tempfile.TemporaryDirectory() as folder:
        for path in settings.unit.state.glob(f"{CONSENT_FILE}*"):
            shutil.copy(path, folder)
        store, damaged = open_consents(Path(folder) / CONSENT_FILE, owner, os.urandom)
        if damaged:
            yield Finding(WRONG, f"{CONSENT_FILE} is damaged: the agent will put it aside and collect nothing")
        mapped = map_signals(found.plan, found.mappings)
        kinds = catalogue(mapped, index_paths(mapped))
        wanted = narrow(store.grants, kinds, store.mode, ceiling(settings), time.time_ns() // 1_000_000)
        yield Finding(OK, f"mode {store.mode}, {len(store.grants)} grants")
        for grant in store.grants:
            paths = sorted({each.path for each in wanted if each.record_id == grant.record_id})
            yield Finding(OK, f"{grant.record_id} for {grant.recipient}: {', '.join(paths) or 'nothing'}")


def _broker(settings: Settings) -> Finding:
    """Whether the broker takes this unit.

    It keeps one connection of a name, and by `use_username_as_clientid` the name is the certificate's, whatever a
    client calls itself: a second connection with the unit's certificate ends the running agent's. So a running agent is
    asked instead, which also tells how it really stands. One that starts in this very moment is connected again in a
    second or two, and has lost nothing.
    """
    from carnet.brokertls import names
    from carnet_agent.identity import read_identity
    from carnet_agent.knock import knock
    from carnet_agent.statefolder import at_work

    mqtt = settings.mqtt
    where = f"broker {mqtt.host}:{mqtt.port}"
    try:
        if at_work(settings.unit.state):
            return _as_the_agent_says(where, settings.unit.state)
        device = device_text(read_identity(settings.unit.state).device)
        refusal = knock(mqtt, device)
    except ConfigError as error:
        return Finding(WRONG, f"{where} was not asked: {error}")
    if refusal is not None:
        return Finding(FAILED, f"{where}: {refusal}")
    if mqtt.cert_file is not None and not mqtt.username and not names(mqtt.cert_file, device):
        # Such a broker takes it for another unit and drops what it sends.
        return Finding(FAILED, f"{where}: the certificate does not name {device}: have one signed for this pairing")
    return Finding(OK, f"{where} takes this unit")


def _as_the_agent_says(where: str, state: Path) -> Finding:
    from carnet_agent.local import ask

    try:
        fault = ask(state, {"do": "status"})["broker"]["fault"]
    except (Error, KeyError) as error:
        return Finding(FAILED, f"{where}: an agent is at work and cannot be asked how it stands: {error}")
    if fault is None:
        return Finding(OK, f"{where}: the running agent is connected")
    return Finding(FAILED, f"{where}, says the running agent: {fault}")
