"""The four captures from the bus to two recipients' files, each reading judged by a per-sample oracle over cantools.

The oracle shares nothing with the product but is told when a window closed; it reads the capture by itself, decodes
with cantools and computes with fractions. What recipients got must be what it allows: none more, none less, none other.
In the middle of each drive one of the two is held up for a while and its consent is then withdrawn: it has what was
sent before, and nothing else ever.
"""

from __future__ import annotations

import contextlib
import json
import math
import tomllib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import cantools
import numpy as np
import pytest
from cantools.database.errors import DecodeError

from carnet.grants import Grant, GrantItem
from carnet.ids import OFFER, RECIPIENT, format_id
from carnet.signals import DeliveryClass
from carnet.transforms import Transform
from carnet_agent.captures.capture import Capture
from carnet_agent.frames import Frames
from carnet_cloud import gate
from tests import consentkit as kit
from tests.agent import collect_oracle
from tests.agent.cantools_oracle import candump
from tests.agent.collect_oracle import LATITUDE, LONGITUDE, Oracle
from tests.conftest import shared_data
from tests.realparts import real_part
from tests.system.line import START_MS, WALL_MS, Bus, Line, Script

HOLD, WITHDRAW = 0.7, 0.9
"""Parts of the drive after which the second recipient is held up, and after which its consent is withdrawn."""
UNCERTAINTY_MS_MAX: Final = 1_000
BEGIN_NS: Final = (START_MS + 2000) * 1_000_000
"""BOOTTIME of the first frame."""
ENGINE = "Vehicle.Powertrain.CombustionEngine"
SPEED, RPM, TPS = "Vehicle.Speed", f"{ENGINE}.Speed", f"{ENGINE}.TPS"
LATERAL = "Vehicle.Acceleration.Lateral"
ALL_FIELDS = ["min", "max", "mean", "count", "first", "last", "sum"]
Item = dict[str, Any]
Key = tuple[str, str, str]
"""Path, transform as JSON, field."""
Samples = dict[Key, list[tuple[Any, ...]]]
"""BOOTTIME in ms and value, in the order in which they came; of what was received also the uncertainty in ms."""


@dataclass(frozen=True)
class Drive:
    """A capture, what two recipients may have of it, and how finely time passes."""

    file: str
    buses: tuple[Bus, ...]
    first: list[Item]
    second: list[Item]
    match: str = "id"
    step_ms: int = 500

    @property
    def offers(self) -> dict[str, dict[str, Any]]:
        """Record id -> offer."""
        both = {kit.RECORD_ID: (b"garage", self.first), kit.OTHER_RECORD_ID: (b"insurer", self.second)}
        return {
            record: kit.offer_document(
                id=format_id(OFFER, name.ljust(10, b"-")),
                recipient=format_id(RECIPIENT, name.ljust(10, b"-")),
                items=items,
            )
            for record, (name, items) in both.items()
        }


DRIVES = {
    "rav4": Drive(
        "toyota_rav4_2017.log.gz",
        (Bus("can0", "toyota_new_mc_pt_generated"),),
        [
            kit.item("Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed"),
            kit.item(SPEED, transform={"interval_ms": 1000}),
            kit.item(RPM, transform={"aggregate": {"window_ms": 5000, "fields": ["min", "max", "mean", "count"]}}),
            kit.item("Vehicle.Chassis.Accelerator.PedalPosition", transform={"round": "0.05", "on_change": True}),
            kit.item("Vehicle.ADAS.CruiseControl.SpeedSet", transform={"on_change": True}, **{"class": "event"}),
        ],
        [
            kit.item(SPEED, transform={"interval_ms": 1000}),
            kit.item(SPEED, transform={"interval_ms": 5000, "round": "5"}, **{"class": "live"}),
            kit.item(
                "Vehicle.Chassis.SteeringWheel.Angle",
                transform={"dead_band": "3", "interval_ms": 300},
                **{"class": "live"},
            ),
            kit.item("comfort", transform={"on_change": True}),
        ],
    ),
    "ft86": Drive(
        "toyota_ft86_drive.log.gz",
        (Bus("can0", "ft86_sample_can_spec"),),
        [
            kit.item("Vehicle.Chassis.SteeringWheel.Angle"),
            kit.item(RPM, transform={"interval_ms": 100}),
            kit.item(
                "Vehicle.Powertrain.Transmission.CurrentGear", transform={"on_change": True}, **{"class": "event"}
            ),
            kit.item(
                LATERAL,
                transform={"round": "0.25", "on_change": True, "interval_ms": 500},
                **{"class": "live"},
            ),
            kit.item(TPS, transform={"interval_ms": 250}, when=[kit.when(RPM, ">=", "3000")]),
        ],
        [
            kit.item(RPM, transform={"interval_ms": 100}),
            kit.item("Vehicle.Chassis.Brake.PedalPosition", transform={"dead_band": "2", "interval_ms": 200}),
            kit.item(TPS, transform={"round": "0.5", "interval_ms": 200}, **{"class": "live"}),
            kit.item("energy", transform={"interval_ms": 10_000}),
            kit.item(
                "Vehicle.Acceleration.Longitudinal", transform={"aggregate": {"window_ms": 2000, "fields": ALL_FIELDS}}
            ),
        ],
    ),
    "skoda": Drive(
        "skoda_obd2_gnss.log.gz",
        (Bus("can1", "OBD-v4.4"), Bus("can9", "canedge-internal-can9")),
        [
            kit.item(SPEED),
            kit.item(LATITUDE, transform={"cell_m": 500, "interval_ms": 10_000}),
            kit.item(LONGITUDE, transform={"cell_m": 500, "interval_ms": 10_000}),
            kit.item("Vehicle.CurrentLocation.Altitude", transform={"round": "10", "on_change": True}),
        ],
        [
            kit.item(SPEED, transform={"interval_ms": 5000, "round": "10"}),
            kit.item(LATITUDE, transform={"cell_m": 2000}, **{"class": "live"}),
            kit.item(LONGITUDE, transform={"cell_m": 2000}, **{"class": "live"}),
            kit.item(RPM, transform={"aggregate": {"window_ms": 60_000, "fields": ["mean", "count"]}}),
            kit.item("Vehicle.CurrentLocation.HorizontalAccuracy", transform={"round": "0.5", "interval_ms": 2000}),
        ],
        step_ms=2000,
    ),
    "tractor": Drive(
        "tractor_j1939.log.gz",
        (Bus("can1", "CSS-Electronics-SAE-J1939-DEMO"),),
        [kit.item(RPM), kit.item(SPEED, transform={"interval_ms": 1000})],
        [
            kit.item(RPM, transform={"round": "50", "interval_ms": 500}, **{"class": "live"}),
            kit.item(SPEED, transform={"interval_ms": 2000}, **{"class": "live"}),
            kit.item(SPEED, transform={"aggregate": {"window_ms": 10_000, "fields": ["mean", "first", "last"]}}),
        ],
        match="pgn",
    ),
}


@dataclass(frozen=True)
class Run:
    """What came of a drive: the files of both recipients, and all that an oracle must know."""

    drive: Drive
    script: Script
    found: dict[str, Samples]
    """By record."""
    held_ms: int
    """BOOTTIME from which nothing more was forwarded to the second recipient."""
    events_at_withdrawal: int
    events_at_end: int
    destroyed: int
    counters: dict[str, int]


def captured(drive: Drive) -> Frames:
    """The frames of the drive's buses as the product reads them, put on a pretended boot that began an hour before."""
    names = [bus.name for bus in drive.buses]
    capture = Capture(shared_data() / "captures" / drive.file, names)
    kept = [block.frames.take(block.frames.bus < len(names)) for block in capture.blocks()]
    real_part("captures")
    frames = Frames.concat(kept)
    assert (np.diff(frames.time_ns) >= 0).all()
    return replace(frames, time_ns=frames.time_ns - frames.time_ns[0] + BEGIN_NS)


def heard(drive: Drive) -> list[tuple[str, collect_oracle.Frame]]:
    """The same, each with the name of its bus, but read by nothing of ours."""
    names = {bus.name for bus in drive.buses}
    found = [each for each in candump(shared_data() / "captures" / drive.file) if each[1] in names]
    first = Decimal(found[0][0])
    return [
        (bus, (BEGIN_NS + int((Decimal(stamp) - first) * 10**9), int(identifier, 16), extended, data))
        for stamp, bus, identifier, extended, data in found
    ]


def play(drive: Drive, folder: Path, lie: Callable[[Grant], Grant] = lambda grant: grant) -> Run:
    """The whole drive through agent, broker and receiver."""
    frames = captured(drive)
    first_ms, last_ms = (int(frames.time_ns[at] // 1_000_000) for at in (0, -1))
    hold_ms, withdraw_ms = (first_ms + int((last_ms - first_ms) * part) for part in (HOLD, WITHDRAW))
    other = drive.offers[kit.OTHER_RECORD_ID]["recipient"]
    at = held_ms = at_withdrawal = 0
    ended = None
    with Line(folder, drive.buses, drive.match, drive.offers, lie) as line:
        file = line.cloud.files[other]
        for boot_ms in range(first_ms + drive.step_ms, last_ms + drive.step_ms + 1, drive.step_ms):
            end = int(frames.time_ns.searchsorted(boot_ms * 1_000_000))
            line.script.entries.append(("frames", boot_ms, None))
            line.step(frames.take(slice(at, end)), boot_ms)
            at = end
            if not held_ms and boot_ms >= hold_ms:
                line.cloud.held_up.add(other)
                held_ms = boot_ms
                line.script.entries.append(("held", boot_ms, None))
            if ended is None and boot_ms >= withdraw_ms:
                ended = line.withdraw(kit.OTHER_RECORD_ID)
                at_withdrawal = len(events_of(file))
                line.cloud.held_up.clear()
                line.settle()
        assert at == len(frames) and ended is not None
        line.stop()
        files = {record: line.cloud.files[offer["recipient"]] for record, offer in drive.offers.items()}
        return Run(
            drive=drive,
            script=line.script,
            found={record: read(path, record) for record, path in files.items()},
            held_ms=held_ms,
            events_at_withdrawal=at_withdrawal,
            events_at_end=len(events_of(file)),
            destroyed=ended.destroyed,
            counters=line.cloud.counters(),
        )


def events_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def read(file: Path, record: str) -> Samples:
    """What one recipient has got, with the times of the car's clock; every event once, and under its own record."""
    found: Samples = defaultdict(list)
    events = events_of(file)
    assert len({event["id"] for event in events}) == len(events)
    for event in events:
        assert event["data"]["record"] == record
        for column in event["data"]["columns"]:
            assert column["uncertainty_ms"] <= UNCERTAINTY_MS_MAX
            key = column["path"], text(column["transform"]), column.get("field", "")
            times = [t - WALL_MS for t in column["t_ms"]]
            found[key] += zip(times, column["v"], [column["uncertainty_ms"]] * len(times), strict=True)
    return found


def text(transform: object) -> str:
    return json.dumps(transform, sort_keys=True)


def expected(run: Run) -> dict[str, Samples]:
    """What each record may have, by cantools and the consents alone: the second one only until it was held up."""
    oracles = {bus.name: oracle_of(bus, run.drive.match) for bus in run.drive.buses}
    items = {record: [plain_item(item) for item in offer["items"]] for record, offer in run.drive.offers.items()}
    waiting = deque(heard(run.drive))
    found: dict[str, Samples] = {}
    for what, boot_ms, detail in run.script.entries:
        if what == "frames":
            while waiting and waiting[0][1][0] < boot_ms * 1_000_000:
                bus, frame = waiting.popleft()
                feed(oracles[bus], frame)
        for oracle in oracles.values():
            if what == "grants":
                oracle.set_grants({record: items[record] for record in sorted(detail)}, boot_ms)
            elif what == "cut":
                oracle.cut(boot_ms, *detail)
        if what == "held":
            found[kit.OTHER_RECORD_ID] = allowed(run, oracles.values(), kit.OTHER_RECORD_ID)
    assert not waiting
    found[kit.RECORD_ID] = allowed(run, oracles.values(), kit.RECORD_ID)
    return found


def allowed(run: Run, oracles: Iterable[Oracle], record: str) -> Samples:
    """What the oracles have for a record by now; paths of the car's own are in no catalogue of the cloud."""
    found: Samples = {}
    spelled = {repr(item["transform"]): text(item["transform"]) for item in run.drive.offers[record]["items"]}
    for oracle in oracles:
        for (whose, _, path, transform, name), samples in oracle.result.items():
            if whose == record and samples and not path.startswith("Vehicle.Private."):
                key = path, spelled[transform], name
                found.setdefault(key, []).extend((time, float(value)) for time, value in samples)
    return found


def oracle_of(bus: Bus, match: str) -> Oracle:
    database = cantools.database.load_file(bus.database, strict=False)
    mapping = tomllib.loads(bus.mapping.read_text())
    signals = collect_oracle.signals_of(database, mapping, f"Vehicle.Private.{bus.name}.{bus.dbc}")
    return Oracle(database, signals, by_pgn=match == "pgn")


def feed(oracle: Oracle, frame: collect_oracle.Frame) -> None:
    # a reply with a parameter that the DBC does not know: cantools has no word for any of it
    with contextlib.suppress(DecodeError):
        oracle.feed(frame)


def plain_item(item: Item) -> Item:
    return {**item, "condition": item["need"] == "condition"}


def differences(run: Run) -> list[str]:
    """What the recipients have beside what they may have, in sentences."""
    oracle = expected(run)
    return [one for record, samples in run.found.items() for one in compare(samples, oracle[record])]


def compare(found: Samples, allowed: Samples) -> list[str]:
    """What one has and the other has not; times may differ by what the event says of their uncertainty."""
    sentences = [f"{key}: not allowed at all" for key in found.keys() - allowed.keys()]
    sentences += [f"{key}: missing" for key in allowed.keys() - found.keys()]
    for key in sorted(found.keys() & allowed.keys()):
        got, want = found[key], allowed[key]
        if len(got) != len(want):
            sentences.append(f"{key}: {len(got)} samples instead of {len(want)}")
        for number, (one, other) in enumerate(zip(got, want, strict=False)):
            if abs(one[0] - other[0]) > one[2] + 1 or one[1] != pytest.approx(other[1], rel=1e-12, abs=1e-12):
                sentences.append(f"{key}: sample {number} is {one} instead of {other}")
                break
    return sentences


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each drive is played once, when a test first asks for it."""
    played: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in played:
            played[name] = play(DRIVES[name], tmp_path_factory.mktemp(name))
        return played[name]

    return run


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", DRIVES)
def test_recipients_got_what_the_oracle_allows_and_nothing_else(runs: Callable[[str], Run], name: str) -> None:
    """Both recipients, the whole drive; the second one only what was sent before it was held up and withdrawn."""
    run = runs(name)
    assert differences(run) == []
    for record, offer in run.drive.offers.items():
        paths = {item.get("path") for item in offer["items"]} - {None}
        assert paths <= {path for path, _, _ in run.found[record]}, "the drive does not show all that was granted"
    assert not {key: n for key, n in run.counters.items() if key.startswith(("refused_", "held_", "deferred_"))}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", DRIVES)
def test_after_the_withdrawal_returned_there_is_no_further_event(runs: Callable[[str], Run], name: str) -> None:
    """What waited for the recipient is destroyed with it, though the car goes on driving for the other one."""
    run = runs(name)
    assert run.events_at_withdrawal > 0 and run.destroyed > 0
    assert run.events_at_end == run.events_at_withdrawal
    times = [time for samples in run.found[kit.OTHER_RECORD_ID].values() for time, *_ in samples]
    assert max(times) < run.held_ms
    assert max(time for samples in run.found[kit.RECORD_ID].values() for time, *_ in samples) > run.held_ms


@pytest.mark.parametrize(
    ("broken", "instead"),
    [
        ("half_up", math.floor),
        ("digits", lambda value: 0),
        ("Column.is_change", lambda column, value: True),
        ("Oracle._holds", lambda oracle, whens, time: True),
    ],
)
def test_a_broken_oracle_does_not_agree(
    runs: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch, broken: str, instead: Any
) -> None:
    """Each rule of the transforms is looked at: with one of them broken the whole drive is another one."""
    run = runs("ft86")
    monkeypatch.setattr(f"tests.agent.collect_oracle.{broken}", instead)
    assert differences(run)


def test_one_sample_too_many_too_few_or_other_is_a_difference(runs: Callable[[str], Run]) -> None:
    """The comparison itself, told of one wrong sample in a whole drive."""
    run = runs("ft86")
    allowed = expected(run)[kit.RECORD_ID]
    assert compare(run.found[kit.RECORD_ID], allowed) == []
    for wrong in ("too many", "too few", "later", "higher", "elsewhere"):
        found = {key: list(samples) for key, samples in run.found[kit.RECORD_ID].items()}
        key = max(found, key=lambda each: len(found[each]))
        time, value, around = found[key][40]
        if wrong == "elsewhere":
            found["Vehicle.Private", *key[1:]] = [found[key][40]]
        else:
            found[key][40:41] = {
                "too many": [found[key][40]] * 2,
                "too few": [],
                "later": [(time + 2 * around + 5, value, around)],
                "higher": [(time, value + 0.125, around)],
            }[wrong]
        assert compare(found, allowed), wrong


@pytest.mark.parametrize("wrong", ["a frame less", "another byte"])
def test_a_capture_read_wrongly_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """The oracle does not hear what our reader heard."""
    frames = captured(DRIVES["tractor"])
    if wrong == "a frame less":
        frames = frames.take(np.arange(len(frames)) != len(frames) // 4)
    else:
        frames.payload[len(frames) // 4] ^= 8
    monkeypatch.setattr(f"{__name__}.captured", lambda _: frames)
    assert differences(play(DRIVES["tractor"], tmp_path))


def lie(grant: Grant) -> Grant:
    """A unit that sends both recipients readings that were not granted to them, or finer than granted."""
    extra = [GrantItem(path, None, False, Transform(), DeliveryClass.BACKGROUND, ()) for path in (TPS, LATERAL)]
    return replace(grant, items=(*grant.items, *extra))


def test_what_a_lying_unit_sends_does_not_get_through(tmp_path: Path) -> None:
    """The second gate drops what no consent covers, and the recipients' files are as if the unit had not lied."""
    run = play(DRIVES["ft86"], tmp_path, lie)
    assert run.counters["blocked_offer"] > 100
    assert differences(run) == []


def test_without_the_gate_the_comparison_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lie through a gate that allows every column: had the comparison agreed, it would show nothing."""
    monkeypatch.setattr(gate, "may_hold", lambda *_: None)
    run = play(DRIVES["ft86"], tmp_path, lie)
    assert any("not allowed at all" in sentence for sentence in differences(run))
