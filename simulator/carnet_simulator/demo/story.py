"""The story that ``carnet-sim demo`` tells: set up, agree, watch, withdraw, watch the silence, add up twice."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from carnet import canonical, consent, ids, jws
from carnet.errors import ConfigError, UnavailableError
from carnet.narrowing import Ceiling, Mode, explain
from carnet.ownerkeys import OWNER_BYTES_MAX, OwnerKeys, parse_key
from carnet.signals import Category
from carnet_simulator.demo import captures, ending, scene, stage
from carnet_simulator.demo.catalogue import kinds
from carnet_simulator.demo.frame import Row
from carnet_simulator.demo.live import Live
from carnet_simulator.demo.received import Received
from carnet_simulator.demo.scene import INSURER, Scene
from carnet_simulator.demo.stage import Stage
from carnet_simulator.demo.told import Told, Withdrawal, note, now_ms
from carnet_simulator.demo.webhook import Insurer
from carnet_simulator.demo.words import asked_and_refused

SECONDS_MIN: Final = 20.0
"""What is not an event leaves every ten seconds, and some of it has to leave on both sides of the withdrawal."""
FIRST_READING_S: Final = 60.0
PATIENCE_S: Final = 15.0
"""A withdrawal shows little where nothing has come yet: a slow machine gets so much longer before it."""
WITHDRAW_AT: Final = 0.6
"""Share of the time after which the insurer's consent is withdrawn."""
LOOK_S: Final = 0.05


def tell(arguments: argparse.Namespace) -> int:
    """Run the demonstration; the exit code."""
    began_ms = now_ms()
    tenant = ids.new_id(ids.TENANT, os.urandom)
    # everything that can be wrong with the command line is said before there is a folder
    _check(arguments)
    played = _scene(arguments, tenant, began_ms)
    live = Live(sys.stderr if arguments.json else sys.stdout, plain=arguments.headless or arguments.json)
    folder = _folder(arguments.folder)
    try:
        play = partial(_play, arguments, live, folder, played, tenant, began_ms)
        report = _play_in(folder, arguments.keep, live, play)
    except KeyboardInterrupt:
        live.say(f"stopped: every program has ended, and the folder is {'kept' if arguments.keep else 'removed'}")
        return 0
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    return 0 if report["ok"] else 1


def _play_in(folder: Path, always_keep: bool, live: Live, play: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The report; keys and stores stay only after a failure. Whoever breaks off, or reads no more, looks at nothing."""
    keep = True
    try:
        live.say(f"folder {folder}{'' if always_keep else ' (removed after a good end; --keep keeps it)'}")
        report = play()
        keep = not report["ok"]
    except (KeyboardInterrupt, BrokenPipeError):
        keep = False
        raise
    finally:
        if not keep and not always_keep:
            shutil.rmtree(folder, ignore_errors=True)
    return report


def _check(arguments: argparse.Namespace) -> None:
    if not SECONDS_MIN <= arguments.seconds < 1e6:
        raise ConfigError(
            "seconds_wrong", f"--seconds must be at least {SECONDS_MIN:g}: the car sends every ten seconds"
        )
    if arguments.picture is not None and not arguments.picture.absolute().parent.is_dir():
        raise ConfigError("picture_folder", f"--picture: there is no folder {arguments.picture.parent}")
    stage.broker_program(arguments.broker)


def _play(
    arguments: argparse.Namespace, live: Live, folder: Path, played: Scene, tenant: str, began_ms: int
) -> dict[str, Any]:
    insurers: list[Insurer] = []

    def url_of(built: Stage) -> str:
        insurers.append(Insurer(built.files[INSURER], built.secret))
        return insurers[0].url

    built = stage.build(folder, played, tenant, url_of)
    rows = {
        party.name: Row(party.name, party.offer["recipient_name"], Received(built.files[party.name]), ())
        for party in played.parties
    }
    told = Told(built, Mode(arguments.mode), began_ms, rows)
    with insurers[0]:
        try:
            _set_up(told, live, arguments)
            _agree(told, live)
            _watch(told, live, arguments.seconds)
            return ending.end(told, live, insurers[0], arguments.picture)
        finally:
            built.programs.end()


def _scene(arguments: argparse.Namespace, tenant: str, at_ms: int) -> Scene:
    if arguments.capture is None:
        if arguments.dbc or arguments.mapping:
            raise ConfigError("capture_missing", "--dbc and --mapping go with --capture")
        return scene.simulated_car(arguments.seed, tenant, at_ms)
    file = arguments.capture.absolute()
    captures.require_dbcs(arguments.dbc)
    buses = captures.buses_of(file, arguments.dbc, arguments.mapping, arguments.match)
    speed = "max" if arguments.speed is None else f"{arguments.speed:g}"
    return scene.capture(file, buses, captures.signals_in(file, buses), speed, tenant, at_ms)


def _set_up(told: Told, live: Live, arguments: argparse.Namespace) -> None:
    built = told.stage
    stage.start_broker(built, arguments.broker)
    stage.start_cloud(built)
    stage.start_agent(built, arguments.mode)
    stage.start_car(built)
    live.say(
        f"{built.scene.title} → agent → {built.broker} → cloud → two recipients; nobody has agreed to anything yet"
    )


def _agree(told: Told, live: Live) -> None:
    """The owner says yes to each offer, to some of the optional items."""
    told.granted_ms = now_ms()
    for party in told.stage.scene.parties:
        choose = ["--choose", *map(str, party.choose)] if party.choose else []
        answer = told.stage.ask_owner("grant", party.offer["id"], *choose, "--reference", party.reference)
        told.records[party.name] = answer["record"]
        told.rows[party.name].state = answer["state"]
        live.say(f"{party.name} asks: {party.offer['purpose']['text']} The owner agrees to {len(party.items())} items.")
    _explain(told)
    for party in told.stage.scene.parties:
        asked = [item["path"] for item in party.offer["items"]]
        told.refused[party.name] = asked_and_refused(told.rows[party.name].blocks, asked)


def _explain(told: Told) -> None:
    """Why what is not sent is not sent: documents against mapping, mode and ceiling; no reading is read."""
    built = told.stage
    key = parse_key(canonical.parse(built.owner_public.read_bytes(), OWNER_BYTES_MAX))
    owner = OwnerKeys(built.vehicle, 1, (key,))
    catalogue = kinds(built.scene.signals)
    ceiling = Ceiling(categories=frozenset(map(Category, stage.CEILING)))
    names = {record: name for name, record in told.records.items()}
    for entry in built.ask_owner("list"):
        offer = jws.base64url_bytes(entry["offer_document"])
        grant = consent.compile(offer, entry["jws"], entry["events"], owner)
        row = told.rows[names[grant.record_id]]
        row.blocks = tuple(explain([grant], catalogue, told.mode, ceiling, now_ms()))
        row.state = entry["state"]


def _watch(told: Told, live: Live, seconds: float) -> None:
    """Show what leaves; ``seconds`` count from the first reading, and part of them comes after the withdrawal."""
    first_by = time.monotonic() + FIRST_READING_S
    while told.first_reading_s is None and time.monotonic() < first_by:
        _step(told, live, "waiting for the first reading")
    if told.first_reading_s is None:
        # driver mode off is such a case: the summary says that nothing left
        live.say(f"no reading has left for anybody in {FIRST_READING_S:g} s")
    else:
        live.say(f"first consented reading {told.first_reading_s:.1f} s after the command")
    began, until = time.monotonic(), seconds
    while (passed := time.monotonic() - began) < until or told.withdrawal is None:
        late = passed - seconds * WITHDRAW_AT
        if told.withdrawal is None and late > 0 and (_has_shown(told) or late > PATIENCE_S):
            _withdraw(told, live, INSURER)
            until = seconds + late
        _step(told, live, note(told))


def _has_shown(told: Told) -> bool:
    """Whether there is something to be withdrawn from, or never will be."""
    return told.first_reading_s is None or bool(told.received(INSURER).arrived_ms)


def _step(told: Told, live: Live, note: str) -> None:
    told.stage.programs.check()
    told.look()
    live.show(list(told.rows.values()), (now_ms() - told.began_ms) / 1000, now_ms(), note)
    time.sleep(LOOK_S)


def _withdraw(told: Told, live: Live, name: str) -> None:
    record = told.records[name]
    began = now_ms()
    told.stage.ask_owner("withdraw", record)
    done = now_ms()
    told.look()
    received = told.received(name)
    told.withdrawal = Withdrawal(record, name, done - began, done, len(received.events))
    last = f"; its last event had come {done - received.arrived_ms[-1]} ms before" if received.arrived_ms else ""
    live.say(f"the owner withdraws the consent for the {name}: done after {done - began} ms{last}")
    _explain(told)


def _folder(asked: Path | None) -> Path:
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="carnet-demo-"))
    try:
        asked.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ConfigError("folder_exists", f"{asked} exists: name a new folder") from None
    except OSError as error:
        raise UnavailableError("folder", f"{asked} cannot be made: {error.strerror}") from None
    return asked.absolute()
