"""The whole line as programs: a car that counts, a simulated one, an agent, Mosquitto, two receivers on one PostgreSQL,
a file and two webhooks; and whatever is done to it.

Law: all that is done is known with its time, so that what came of it can be judged.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.agent.units import DBC
from tests.soak.schedule import Fault
from tests.soak.webhook import Webhook
from tests.system.mosquitto import PLAIN, Mosquitto, free_port
from tests.system.postgres import Postgres
from tests.system.road import BUS, GROUP, OFFER, RECIPIENT, SPEED, Road, until
from tests.system.tally import BUSES, SLOW_PATH, Tally, fast_path, make_car

PERIOD_S: Final = 0.5
CAR_FRAMES: Final = 100
"""Of the simulated car, in a second; beside it the counting one sends 8.5."""
TRIES_S: Final = 30.0
CLOUDS: Final = ("cloud", "cloud-2")
INSURER: Final = "rcp_iiiiiiiiiiiiiiii"
VISITOR: Final = "rcp_eeeeeeeeeeeeeeee"
CLOCK_S: Final = 2.0
HOOK: Final = """
[[recipient]]
kind = "webhook"
id = "{recipient}"
name = "{name}"
url = "http://127.0.0.1:{port}/{name}"
secret_file = "webhook.secret"
"""
SECRET: Final = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
FORGETFUL: Final = PLAIN.replace("persistence true\npersistence_location {folder}/\n", "persistence false\n")


def item(path: str, kind: str, **transform: int) -> dict[str, Any]:
    return {"path": path, "need": "required", "transform": transform, "class": kind, "when": []}


def offer(recipient: str, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **OFFER, "id": recipient.replace("rcp", "off"), "recipient": recipient, "recipient_name": name, "items": items
    }  # fmt: skip


OFFERS: Final = (
    offer(RECIPIENT, "Workshop", [item(fast_path(bus), "event") for bus in BUSES] + [item(SLOW_PATH, "background")]),
    offer(INSURER, "Insurer", [item(fast_path("can0"), "event"), item(SPEED, "live", interval_ms=500)]),
    offer(VISITOR, "Visitor", [item(fast_path("can1"), "event")]),
)
"""The first two are given once for all; the last comes and goes."""


@dataclass
class Deeds:
    """What was done. Times are time.monotonic()."""

    done: Counter[str] = field(default_factory=Counter)
    agent_away: list[tuple[float, float]] = field(default_factory=list)
    silent: list[tuple[float, float]] = field(default_factory=list)
    """When the visitor's consent was paused or ended, from the return of the call to the next call."""
    withdrawn: dict[str, float] = field(default_factory=dict)
    """Record -> when the withdrawal had returned."""
    owner_s: list[float] = field(default_factory=list)


class Line(Road):
    """``apis``: a consent API for each receiver; an owner asks whichever answers."""

    def __init__(self, folder: Path, database: Postgres, hook: Webhook) -> None:
        brokers = [Mosquitto(_made(folder / "kept"), PLAIN + "autosave_interval 1\n")]
        brokers.append(Mosquitto(_made(folder / "forgotten"), FORGETFUL, brokers[0].port))
        car = make_car(folder)
        car = replace(car, ports=dict(car.ports))
        names = {"Insurer": INSURER, "Visitor": VISITOR}
        hooks = "".join(HOOK.format(recipient=each, name=name, port=hook.port) for name, each in names.items())
        super().__init__(folder, car, brokers[0], hooks)
        self.brokers = brokers
        self.hook = hook
        self.database = database
        self.name = database.database()
        self.deeds = Deeds()
        self.record = ""
        self._mended: Callable[[], None] | None = None
        self._mend_at = 0.0
        self._next = iter(())
        self._silent_since = 0.0
        self._write_more()

    def _write_more(self) -> None:
        """The simulated car's bus, the database, and the second receiver."""
        secret = self.folder / "webhook.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.drive_port = free_port()
        dbc, mapping = DBC / "carnet_demo.dbc", DBC / "carnet_demo.map.toml"
        agent, cloud = self.folder / "agent.toml", self.folder / "cloud.toml"
        bus = BUS.format(name="drive", group=GROUP, dbc=dbc, mapping=mapping, port=self.drive_port)
        agent.write_text(agent.read_text() + bus)
        text = cloud.read_text().replace('path = "store/cloud.db"', f'url = "{self.database.url(self.name)}"')
        text = text.replace(f'mappings = ["{self.car.mapping}"]', f'mappings = ["{self.car.mapping}", "{mapping}"]')
        cloud.write_text(text)
        self.apis = [self.api, free_port()]
        (self.folder / "cloud-2.toml").write_text(text.replace(f":{self.apis[0]}", f":{self.apis[1]}"))

    def begin(self) -> None:
        """Everything runs, and the first two recipients are given what they asked for; the third, too."""
        self.prepare(OFFERS)
        self.start_receiver("cloud-2")
        channel = f"can0=multicast:{self.drive_port}"
        self.start("car", "carnet_simulator", "drive", "--rate", str(CAR_FRAMES), "--channel", channel)
        self.start_agent()
        until(self.connected, lambda: self.log("agent"))
        for each in OFFERS[:2]:
            self.owner("grant", str(each["id"]))
        self._grant()
        until(lambda: len(self.facts().get("in_force", ())) == len(OFFERS), self.told)
        # readings whose time cannot be told from that of the grant are denied, as they must be
        time.sleep(CLOCK_S)

    def start_receiver(self, name: str) -> None:
        self.start(name, "carnet_cloud", "run", "--config", f"{name}.toml")

    def told(self) -> str:
        """For whoever has to find out why a run did not end."""
        states = {name: program.poll() for name, program in self.programs.items()}
        return f"{states} {self.silence} {self.facts()} {self.health()} {self.log('agent')} {self.log('cloud')}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a look at the store finds."""
        with psycopg.connect(self.database.url(self.name)) as connection:
            return connection.execute(query.encode()).fetchall()

    def suffer(self, fault: Fault) -> None:
        """Begin a fault; one at a time, so whatever is still broken is mended first."""
        self.mend()
        self.deeds.done[fault.kind] += 1
        if fault.kind == "owner":
            self._change_of_mind()
        elif fault.kind in ("agent killed", "receiver killed", "broker killed"):
            self._kill(fault)
        elif fault.kind == "broker frozen":
            self.broker.freeze()
            self._until(fault, self.broker.thaw)
        elif fault.kind == "receiver frozen":
            self._freeze(fault)
        else:
            self.hook.mode = fault.kind
            self._until(fault, self._answer_well)

    def due(self) -> None:
        """Mend what has been broken for long enough."""
        if self._mended is not None and time.monotonic() >= self._mend_at:
            self.mend()

    def mend(self) -> None:
        mended, self._mended = self._mended, None
        if mended is not None:
            mended()

    def end_of_silence(self) -> None:
        """The run ends: a consent that is silent now is silent to the end."""
        if self._silent_since:
            self.deeds.silent.append((self._silent_since, time.monotonic()))
            self._silent_since = 0.0

    def _until(self, fault: Fault, mended: Callable[[], None]) -> None:
        self._mend_at, self._mended = time.monotonic() + fault.lasts_s, mended

    def _answer_well(self) -> None:
        self.hook.mode = "well"

    def _freeze(self, fault: Fault) -> None:
        """One receiver, in turns; beyond 2.5 s the other takes its shards."""
        program = self.programs[CLOUDS[self.deeds.done[fault.kind] % 2]]
        program.send_signal(signal.SIGSTOP)
        self._until(fault, lambda: program.send_signal(signal.SIGCONT))

    def _kill(self, fault: Fault) -> None:
        """And let it begin again a little later."""
        killed = time.monotonic()
        if fault.kind == "broker killed":
            self.broker.kill()
            # with its store as it was last written, or with nothing at all
            self.broker = self.brokers[self.deeds.done[fault.kind] % 2]
            self._until(fault, self.broker.start)
        elif fault.kind == "receiver killed":
            name = CLOUDS[fault.half]
            self.kill(name)
            self._until(fault, lambda: self.start_receiver(name))
        else:
            self.kill("agent")

            def again() -> None:
                self.start_agent()
                self.deeds.agent_away.append((killed, time.monotonic()))

            self._until(fault, again)

    def _change_of_mind(self) -> None:
        """Pause, resume, withdraw, give again, and so on."""
        deeds = self.deeds
        step = deeds.done["owner"] % 4
        if step in (2, 0) and self._silent_since:
            deeds.silent.append((self._silent_since, time.monotonic()))
            self._silent_since = 0.0
        if step == 0:
            self._grant()
            return
        do = {1: "pause", 2: "resume", 3: "withdraw"}[step]
        self._as_owner(do, self.record)
        if step in (1, 3):
            self._silent_since = time.monotonic()
        if step == 3:
            deeds.withdrawn[self.record] = self._silent_since

    def _grant(self) -> None:
        self.record = str(self._as_owner("grant", str(OFFERS[2]["id"]))["record"])

    def _as_owner(self, *words: str) -> Any:
        """Of whichever receiver answers."""
        began = time.monotonic()
        while True:
            self.api = self.apis[0] if self.api == self.apis[1] else self.apis[1]
            try:
                answer = self.owner(*words)
            except AssertionError:
                if time.monotonic() - began > TRIES_S:
                    raise
                time.sleep(0.2)
            else:
                self.deeds.owner_s.append(time.monotonic() - began)
                return answer


@contextmanager
def counting(line: Line) -> Any:
    """Frames on all buses until it is left."""
    with Tally(line.car, PERIOD_S) as tally:
        yield tally


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
