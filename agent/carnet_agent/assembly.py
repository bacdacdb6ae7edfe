"""Puts an agent together from its compiled files and its state folder.

Law: what decides about collecting (grants, ceiling, mode) is read here once and handed to the core; nothing else has a
default that widens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from carnet.errors import ConfigError
from carnet.logs import told
from carnet.narrowing import Ceiling
from carnet.signals import Category
from carnet_agent.buffer import open_buffer
from carnet_agent.bus.opening import BusConfig, open_bus
from carnet_agent.bus.reader import BusReader
from carnet_agent.bus.socketcan import RECEIVE_BUFFER_BYTES
from carnet_agent.collect import Collector
from carnet_agent.collect.wants import index_paths
from carnet_agent.compiled import Compiled
from carnet_agent.consent.file import DAMAGED, open_consents
from carnet_agent.core import Agent
from carnet_agent.dbc.mapping import MappedSignal, Mapping
from carnet_agent.dbc.plan import Plan
from carnet_agent.effects import Identifiers
from carnet_agent.identity import Identity
from carnet_agent.settings import BusSection, OperatingSection, Settings
from carnet_agent.statefolder import BUFFER_FILE, CONSENT_FILE
from carnet_agent.unit import DAY_MS, Unit

log = logging.getLogger("carnet.agent")


def make_agent(compiled: Compiled, identity: Identity, random: Callable[[int], bytes]) -> Agent:
    """The core over the unit's buffer and consents. UnavailableError if these cannot be opened."""
    settings, plan = compiled.settings, compiled.plan
    state = settings.unit.state
    consents, damaged = open_consents(state / CONSENT_FILE, identity.owner, random)
    if damaged:
        log.error(DAMAGED, extra=told("consents_damaged"))
    opened = open_buffer(state / BUFFER_FILE, identity.device, identity.sign, random, settings.buffer.size_bytes_max)
    saved = told("buffer_damaged", saved=opened.salvaged)
    if opened.quarantined:
        sentence = "the buffer was damaged and is put aside; %d envelopes of it were saved"
        log.error(sentence, opened.salvaged, extra=saved)
    elif opened.salvaged:
        sentence = "%d envelopes of a damaged buffer were saved, which an earlier start had not come to"
        log.warning(sentence, opened.salvaged, extra=saved)
    mapped = map_signals(plan, compiled.mappings)
    collector = Collector(
        plan,
        mapped,
        operating=operating(settings.operating, mapped),
        checksums={each.dbc: each.checksum for each in compiled.mappings if each.checksum is not None},
    )
    unit = Unit(
        device=identity.device,
        sign=identity.sign,
        receive=identity.receive,
        cloud=identity.cloud,
        ceiling=ceiling(settings),
        untimed_ms_max=settings.grants.untimed_days_max * DAY_MS,
        voltage_min=settings.operating.voltage_min,
    )
    return Agent(unit, opened.buffer, consents, collector, identifiers_of(plan), random)


def open_buses(settings: Settings) -> dict[str, BusReader]:
    """A reader for each bus, in the order of their numbers; none of them hears anything yet."""
    return {bus.name: open_bus(_bus(bus), number, bus.name) for number, bus in enumerate(settings.bus)}


def map_signals(plan: Plan, mappings: Sequence[Mapping]) -> tuple[MappedSignal, ...]:
    """What is said about each signal of the plan; private and unmapped where nothing is."""
    files = {mapping.dbc: mapping for mapping in mappings}
    return tuple(
        (files.get(info.dbc) or Mapping.empty(info.dbc, "", {(info.message, info.name): info.unit})).path_of(
            info.bus, info.dbc, info.message, info.name
        )
        for info in plan.signals
    )


def operating(section: OperatingSection, mapped: Sequence[MappedSignal]) -> dict[str, int]:
    """The unit's own signals: name -> plan signal. ConfigError ``operating_unknown`` for a path that no signal has."""
    paths = index_paths(mapped)
    found = {}
    for name in ("ignition", "voltage", "gnss_time"):
        path = getattr(section, name)
        if path is not None:
            if path not in paths:
                raise ConfigError("operating_unknown", f"operating.{name}: no signal has the path {path}")
            found[name] = paths[path]
    return found


def ceiling(settings: Settings) -> Ceiling:
    """The ceiling of the configuration; categories that are not named there at all are all of them."""
    section = settings.ceiling
    categories = frozenset(Category) if section.categories is None else frozenset(section.categories)
    return Ceiling(categories, section.sensitivity, dict(section.interval_ms_min))


def identifiers_of(plan: Plan) -> Callable[[NDArray[np.int32]], Identifiers]:
    """From plan signals to the frames that hold them, by bus."""

    def identifiers(wanted: NDArray[np.int32]) -> Identifiers:
        selected = plan.select(wanted.tolist())
        return {bus: tuple(selected.identifiers(bus)) for bus in plan.buses}

    return identifiers


def _bus(bus: BusSection) -> BusConfig:
    return BusConfig(
        channel=bus.channel,
        interface=bus.interface,
        match=bus.match,
        receive_buffer_bytes=bus.receive_buffer_bytes or RECEIVE_BUFFER_BYTES,
        options=bus.options,
    )
