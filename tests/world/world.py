"""A car, its owner, a network, a cloud and its recipients in one thread, on one virtual clock, out of one seed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from carnet.consent import Documents, GrantSet, Mode, encode_grant_set
from carnet.down import GrantSetMessage, seal_down
from carnet.ids import format_id
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, VEHICLE
from tests.world.agentside import DRAIN_MS, RECEIVE, AgentSide
from tests.world.car import Car
from tests.world.clockwork import Clockwork, law
from tests.world.cloudside import CloudSide
from tests.world.ledger import Ledger, Sample
from tests.world.listeners import Listener
from tests.world.owner import GARAGE, INSURER, MAP, OFFERS, Owner
from tests.world.truth import Agreed

START_MS = kit.GIVEN_MS + kit.DAY_MS
DRIVE_MS = 180_000
"""How long faults happen; then everything heals."""
HEAL_MS = 1_200_000
"""Within this after healing everything must have arrived."""
FRAMES_MIN = 1_000
SMALL_BYTES, LARGE_BYTES = 68 << 10, 4 << 20
FAULTS_FROM_MS = 12_000
UNIT_COUNTERS = {
    "rows_evicted": "unit_evicted",
    "boxes_promoted": "unit_promoted",
    "rows_reopened": "unit_reopened",
    "boxes_destroyed": "unit_destroyed",
    "rolled_back": "unit_rolled_back",
    "samples_lost_full": "unit_full",
}
CLOUD_COUNTERS = {
    "duplicates": "cloud_duplicates",
    "held_": "cloud_held",
    "deferred_schema_missing": "cloud_schema_missing",
    "blocked_time": "cloud_blocked_time",
    "blocked_expired": "cloud_blocked_expired",
    "lost_": "cloud_gap",
    "behind_floor": "cloud_behind_floor",
    "journal_applied": "cloud_journal_applied",
}


class World:
    """One seed. `run` raises Broken when a law does not hold."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clockwork = clockwork = Clockwork(seed, START_MS)
        self._random = random = clockwork.random
        self._folder = Path(tempfile.mkdtemp(prefix="carnet-world-"))
        self.agreed: dict[str, Agreed] = {}
        car = Car(random, START_MS)
        self.ledger = Ledger(clockwork, self.agreed, car.vin)
        self.loss = random.choice([0, 0.02, 0.15, 0.4])
        self.delay_ms = random.choice([20, 300, 4000])
        self.doubling = random.choice([0, 0.1])
        self.healed = False
        small = clockwork.chance(0.25)
        self.unit = AgentSide(clockwork, self.ledger, car, self._up, SMALL_BYTES if small else LARGE_BYTES)
        self.unit.on_cut = self._unit_cut  # type: ignore[method-assign]
        self.listeners = {
            name: Listener(name, clockwork, self.ledger, self._temper()) for name in (INSURER, GARAGE, MAP)
        }
        self.cloud = CloudSide(clockwork, self.ledger, self._folder, self.listeners, self._down)
        self.cloud.on_cut = self._cloud_cut  # type: ignore[method-assign]
        self.owner = Owner(clockwork, self.cloud, self.ledger)

    def close(self) -> None:
        """Remove what is on a real disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _temper(self) -> dict[str, float]:
        kinds = ("deaf", "forgetful", "slow", "refusing")
        return {kind: self._random.choice([0, 0, 0.1, 0.3]) for kind in kinds[:3]} | {
            "refusing": self._random.choice([0, 0, 0.05])
        }

    # the network

    def _up(self, payload: bytes) -> None:
        if self.unit.online:
            self._carry("up", payload, self.cloud.arrive)

    def _down(self, payload: bytes) -> None:
        self.ledger.hidden(payload, "a down message")
        self._carry("down", payload, self._arrive_down)

    def _carry(self, way: str, payload: bytes, arrive: Callable[[bytes], None]) -> None:
        copies = 1 + (not self.healed and self.clockwork.chance(self.doubling))
        if copies > 1:
            self.clockwork.note(f"{way}_doubled")
        for _ in range(copies):
            if not self.healed and self.clockwork.chance(self.loss):
                self.clockwork.note(f"{way}_lost")
            else:
                delay_ms = self._random.randrange(1, 50 if self.healed else self.delay_ms)
                self.clockwork.at(delay_ms, way, lambda: arrive(payload))

    def _arrive_down(self, payload: bytes) -> None:
        if self.unit.online:
            self.unit.do(lambda agent: agent.on_down(payload, self.unit.moment()))

    def connect(self) -> None:
        """The broker is there again."""
        if self.unit.agent is not None and not self.unit.online:
            self.unit.online = True
            self.unit.do(lambda agent: agent.on_connection(True, self.unit.moment()))

    def disconnect(self) -> None:
        if self.unit.online:
            self.unit.online = False
            self.clockwork.note("outage")
            self.unit.do(lambda agent: agent.on_connection(False, self.unit.moment()))

    # crashes

    def _unit_cut(self) -> None:
        self._unit_down(power=True)

    def _unit_down(self, *, power: bool, back_to: int | None = None) -> None:
        self.unit.crash(power=power, back_to=back_to)
        self.clockwork.note("agent_crash")
        self.clockwork.at(self._random.randrange(500, 8_000), "power on", self._unit_up)

    def _unit_up(self) -> None:
        if self.unit.agent is not None:
            return
        self.unit.start()
        self.clockwork.at(self._random.randrange(100, 3_000), "connect", self.connect)

    def _cloud_cut(self) -> None:
        self.clockwork.note("cloud_crash")
        self.clockwork.at(self._random.randrange(300, 5_000), "cloud up", self._cloud_up)

    def _cloud_up(self) -> None:
        if not self.cloud.is_up:
            self.cloud.start()

    def _cloud_stops(self) -> None:
        if self.cloud.is_up:
            self.cloud.crash()
            self._cloud_cut()

    def _cloud_restored(self, backup: int | None = None) -> None:
        """An operator puts a backup in the place of the store."""
        if not self.cloud.is_up:
            return
        if self.cloud.busy:
            self.clockwork.at(700, "restore later", lambda: self._cloud_restored(backup))
            return
        self.clockwork.note("cloud_restored")
        self.ledger.fallen_back = True
        self.cloud.crash(self._random.randrange(8) if backup is None else backup)
        self.clockwork.at(2_000, "cloud up", self._cloud_up)
        self.clockwork.at(8_000, "make up", self.owner.make_up)

    def _unit_crash(self) -> None:
        """One of the ways in which a unit stops."""
        way = self._random.choice(["commit", "commit", "effect", "power", "kill"])
        if self.unit.agent is None:
            return
        if way == "commit":
            self.unit.disk.cut_at_commit(self._random.randrange(4), after=self.clockwork.chance(0.5))
        elif way == "effect":
            self.unit.cut_at_effect(self._random.randrange(4))
        else:
            self.clockwork.note(f"agent_{way}")
            self._unit_down(power=way == "power")

    def _disk_lied(self) -> None:
        if self.unit.agent is not None:
            self.clockwork.note("disk_lied")
            self._unit_down(power=True, back_to=self._random.randrange(8))

    def _cloud_crash(self) -> None:
        if self.clockwork.chance(0.3):
            self.cloud.cut_at_answer(self._random.randrange(3))
        elif self.clockwork.chance(0.4):
            self.cloud.cut_at_group(after=self.clockwork.chance(0.5))
        elif self.clockwork.chance(0.7):
            self.cloud.disk.cut_at_commit(self._random.randrange(6), after=self.clockwork.chance(0.5))
        else:
            self._cloud_stops()

    # other mischief

    def _clock_jump(self) -> None:
        self.clockwork.note("clock_jump")
        self.unit.wall_offset_ms = self._random.choice([-30, -1, 1, 400]) * self._random.randrange(1, kit.DAY_MS)
        self.clockwork.at(self._random.randrange(2_000, 60_000), "clock right", self._clock_right)

    def _clock_right(self) -> None:
        self.unit.wall_offset_ms = 0

    def _mode(self) -> None:
        mode = self._random.choice([Mode.NO_LOCATION, Mode.GUEST, Mode.OFF])
        self.clockwork.note(f"mode_{mode.value}")
        self.unit.set_mode(mode)
        self.clockwork.at(self._random.randrange(3_000, 30_000), "mode normal", lambda: self.unit.set_mode(Mode.NORMAL))

    def _lie(self) -> None:
        """A cloud that lies: with its own good signature it offers what the owner never said."""
        if not self.cloud.is_up or not self.unit.online:
            return
        kind = self._random.choice(["forged", "older", "forked", "undone"])
        generation = self.ledger.generation
        living = tuple(
            Documents(one.offer, one.token, tuple(one.entries[1:])) for one in self.agreed.values() if not one.ended
        )
        if kind == "older":
            generation = max(0, generation - self._random.randrange(1, 4))
        if kind == "forged":
            generation += 1
            name = format_id("rec_", self._random.randbytes(10))
            lie = kit.token(OFFERS[MAP], key=kit.OTHER_KEY, optional=(), id=name)
            living = (*living, Documents(OFFERS[MAP], lie))
        if kind == "undone":
            generation += 1
            living = tuple(Documents(one.offer, one.token) for one in self.agreed.values())
        data = encode_grant_set(GrantSet(kit.VEHICLE, 1, generation, records=living))
        self.clockwork.note(f"lie_{kind}")
        self._down(seal_down(GrantSetMessage(data), DEVICE, KEYS.sign, RECEIVE.public, self._random.randbytes(32)))
        if kind in {"forged", "undone"}:
            # the unit has seen a generation that the honest cloud has not: it is silent until the owner confirms
            self.clockwork.at(9_000, "make up", self.owner.make_up)

    # the run

    def _plan(self) -> None:
        """What will happen when."""
        random, at = self._random, self.clockwork.at

        def some(count: int, name: str, do: Callable[[], None]) -> None:
            for _ in range(count):
                at(random.randrange(FAULTS_FROM_MS, DRIVE_MS), name, do)

        for recipient in (INSURER, GARAGE, MAP):
            at(random.randrange(500, 8_000), "give", lambda to=recipient: self.owner.give(to))  # type: ignore[misc]
        if self.clockwork.chance(0.2):
            at(9_000, "give for a while", self._give_short)
        withdraw_ms = random.randrange(30_000, 150_000)
        withdraw = random.choice([self._withdraw, self._withdraw, self._withdraw_in_a_send])
        some(random.choice([0, 1, 2]), "pause", self._pause)
        some(random.choice([1, 1, 2, 3]), "unit crash", self._unit_crash)
        some(random.choice([0, 1, 2]), "cloud crash", self._cloud_crash)
        some(random.choice([0, 1, 2]), "outage", self._outage)
        some(random.choice([0, 0, 1]), "clock", self._clock_jump)
        some(random.choice([0, 0, 1]), "mode", self._mode)
        some(random.choice([0, 0, 1]), "lie", self._lie)
        some(random.choice([0, 0, 0, 1]), "house", self.cloud.keep_house)
        at(DRIVE_MS - 6_000, "crash at the latest", self._crash_at_the_latest)
        backwards = random.choice(["", "", "", "", "disk", "backup"])
        if backwards == "disk":
            at(random.randrange(60_000, 170_000), "disk lied", self._disk_lied)
        if backwards == "backup":
            if self.clockwork.chance(0.5):
                # the worst moment: what the recipient has not taken lies in the backup, and then comes the withdrawal
                withdraw = self._withdraw_after_a_backup
                at(withdraw_ms - 15_000, "deaf", self._deafen)
            else:
                at(random.randrange(60_000, 170_000), "restored", self._cloud_restored)
        at(withdraw_ms, "withdraw", withdraw)

    def _crash_at_the_latest(self) -> None:
        """No seed without a crash of the unit."""
        if not self.clockwork.happened["agent_crash"]:
            self.clockwork.note("agent_kill")
            self._unit_down(power=False)

    def _outage(self) -> None:
        self.disconnect()
        self.clockwork.at(self._random.randrange(1_000, 90_000), "connect", self.connect)

    def _give_short(self) -> None:
        self.clockwork.note("given_for_a_while")
        self.owner.give_for(self._random.randrange(60_000, 140_000))

    def _of(self, recipient: str) -> list[Agreed]:
        return [
            one
            for one in self.agreed.values()
            if one.recipient == recipient and not one.ended and one.offer in OFFERS.values()
        ]

    def _withdraw(self) -> None:
        for agreed in self._of(GARAGE):
            self.owner.withdraw(agreed)
        if self.clockwork.chance(0.5):
            self.clockwork.note("given_again")
            self.clockwork.at(self._random.randrange(50, 20_000), "give again", lambda: self.owner.give(GARAGE))

    def _withdraw_in_a_send(self) -> None:
        """While the recipient is being written to; in a minute at the latest."""

        def once() -> None:
            if self.listeners[GARAGE].interrupt is not None:
                self.listeners[GARAGE].interrupt = None
                self._withdraw()

        def now() -> None:
            self.clockwork.note("withdraw_in_a_send")
            self._withdraw()

        self.listeners[GARAGE].interrupt = now
        self.clockwork.at(60_000, "withdraw at the latest", once)

    def _deafen(self) -> None:
        self.listeners[GARAGE].temper = {"deaf": 1.0}

    def _withdraw_after_a_backup(self) -> None:
        if self.cloud.is_up and not self.cloud.busy:
            self.cloud.disk.keep(self.clockwork.now_ms)
        self._withdraw()
        self.listeners[GARAGE].temper = {}
        self.clockwork.at(2_500, "restored", lambda: self._cloud_restored(-1))

    def _pause(self) -> None:
        for agreed in self._of(MAP):
            if not agreed.silent:
                self.owner.pause(agreed)
                later_ms = self._random.randrange(200, 25_000)
                self.clockwork.at(later_ms, "resume", lambda one=agreed: self.owner.resume(one))  # type: ignore[misc]

    def run(self) -> Counter[str]:
        """Drive, heal, and see that everything adds up; how often what happened."""
        clockwork = self.clockwork
        self.cloud.start()
        self.unit.start()
        clockwork.at(self._random.randrange(100, 5_000), "connect", self.connect)
        self._plan()
        clockwork.every(DRAIN_MS, "drive", self.unit.drive)
        clockwork.every(250, "receive", self.cloud.receive)
        for name in self.listeners:
            clockwork.every(1_000, "forward", lambda to=name: self.cloud.forward(to))  # type: ignore[misc]
        clockwork.every(10_000, "images", self._images)
        clockwork.run(START_MS + DRIVE_MS)
        self._heal()
        self._check()
        return clockwork.happened

    def _images(self) -> None:
        if self.unit.agent is not None:
            self.unit.disk.keep(self.clockwork.now_ms)
        if self.cloud.is_up and not self.cloud.busy:
            self.cloud.disk.keep(self.clockwork.now_ms)
            self.cloud.look()

    def _heal(self) -> None:
        """No faults any more; but nobody reconnects a connection that stands."""
        self.healed = True
        self.unit.disk.cut_at_commit(1 << 30, after=False)
        self.cloud.disk.cut_at_commit(1 << 30, after=False)
        self.unit.no_more_cuts()
        self.cloud.no_more_cuts()
        for listener in self.listeners.values():
            listener.temper = {}
        self.unit.set_mode(Mode.NORMAL)
        self._clock_right()
        if not self.cloud.is_up:
            self._cloud_up()
        if self.unit.agent is None:
            self._unit_up()
        elif not self.unit.online:
            self.connect()
        elif self.clockwork.chance(0.3):
            self.disconnect()
            self.connect()
        else:
            self.clockwork.note("healed_without_reconnect")
        self.clockwork.run(self.clockwork.now_ms + 15_000)
        self.connect()
        self.unit.park()
        until_ms = self.clockwork.now_ms + HEAL_MS
        while self.clockwork.now_ms < until_ms and not self._is_quiet():
            self.clockwork.run(self.clockwork.now_ms + 5_000)

    def _is_quiet(self) -> bool:
        """Nothing is on its way any more."""
        agent = self.unit.agent
        assert agent is not None
        if agent.counters()["rows_waiting"] or not self.cloud.is_up:
            return False
        with self.cloud.store.transaction() as t:
            depth = t.outbox.depth()
        return not depth.get("queued") and not depth.get("leased")

    # what must hold in the end

    def _check(self) -> None:
        happened = self.clockwork.happened
        law(self.unit.frames >= FRAMES_MIN, f"the unit heard only {self.unit.frames} frames")
        law(happened["withdraw_returned"], "no withdrawal")
        law(happened["agent_crash"], "no crash")
        for data in self.unit.disk.images().values():
            self.ledger.hidden(data, "the unit's disk")
        self.cloud.look()
        self._check_sums()
        self._check_statement()
        self._note_counters()

    def _note_counters(self) -> None:
        """What only the counters of both sides tell to have happened."""
        unit, cloud = self.unit.counted, self.cloud.counters()
        for name, kind in UNIT_COUNTERS.items():
            self.clockwork.note(kind, unit[name])
        for name, kind in CLOUD_COUNTERS.items():
            self.clockwork.note(kind, sum(count for key, count in cloud.items() if key.startswith(name)))

    def _check_sums(self) -> None:
        """Every sample that was kept was forwarded, or it is known where it went."""
        counters = self.cloud.counters()
        lost = sum(count for name, count in counters.items() if name.startswith("lost_"))
        agent = self.unit.agent
        assert agent is not None
        full = self.unit.counted["samples_lost_full"]
        with self.cloud.store.transaction() as t:
            blocks = t.blocks.of(VEHICLE)
        waiting = self.cloud.held()
        for agreed in self.agreed.values():
            missing = [
                (path, sample)
                for (record, path, _), column in self.ledger.kept.items()
                if record == agreed.record
                for sample in column.values()
                if not sample.event and sample.sealed not in waiting and not self._excused(agreed, sample)
            ]
            if not missing:
                continue
            blocked = sum(block.samples for block in blocks if block.record in {agreed.record, ""})
            law(
                len(missing) <= lost + full + blocked,
                f"law 5: {len(missing)} samples of {agreed.record} are gone, only {lost} named in gaps, {full} lost to"
                " a full"
                f" disk and {blocked} blocked; the first is {missing[0]}",
            )

    def _check_statement(self) -> None:
        """Law 6: what the owner is told adds up to what recipients heard. A backup has forgotten a part of it."""
        if self.ledger.fallen_back:
            return
        with self.cloud.store.transaction() as t:
            told = {each.event_id.hex(): each for record in self.agreed for each in t.outbox.deliveries(record)}
        for event_id, heard in self.ledger.received.items():
            law(event_id in told, "law 6: a recipient heard an event that no statement names")
            each = told[event_id]
            law(each.record == heard.record and each.samples == len(heard.samples), "law 6: the statement miscounts")
            law(each.outcome in {"confirmed", "refused", "unknown"}, f"law 6: heard, but told as {each.outcome}")
        for event_id, each in told.items():
            law(each.outcome != "queued", "law 5: an event still waits, long after everything healed")
            law(each.outcome != "confirmed" or event_id in self.ledger.received, "law 6: confirmed by nobody")

    def _excused(self, agreed: Agreed, sample: Sample) -> bool:
        """Whether it may be gone without a count: it ended or was paused, or a crash took the open window."""
        is_over = agreed.ended or agreed.silent or agreed.expires_ms <= self.clockwork.now_ms
        # a restored cloud that does not know a record has ended it on the car
        forgotten = self.ledger.fallen_back and agreed.record in self.unit.ended
        if is_over or forgotten or sample.true_ms < agreed.covers_from_ms:
            return True
        return any(one.boot == sample.boot and one.from_ms <= sample.boot_ms <= one.to_ms for one in self.unit.outages)
