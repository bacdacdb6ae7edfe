"""What goes wrong in a world, and when: crashes, lies, outages, wrong clocks, and owners who change their minds.

Law: all of it is drawn from the world's one source of randomness, and noted, so that it can be shown to have happened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from carnet.consent import Documents, GrantSet, Mode, encode_grant_set
from carnet.down import GrantSetMessage, seal_down
from carnet.ids import format_id
from tests import consentkit as kit
from tests.world.owner import GARAGE, INSURER, MAP, OFFERS
from tests.world.plan import DRIVE_MS
from tests.world.rarities import Rarities
from tests.world.truth import Agreed

if TYPE_CHECKING:
    from tests.world.world import World

FAULTS_FROM_MS = 12_000
TEMPERS: dict[str, list[float]] = {
    "deaf": [0, 0, 0.1, 0.3],
    "forgetful": [0, 0, 0.1, 0.3],
    "slow": [0, 0, 0.1, 0.3],
    "refusing": [0, 0, 0.05],
    "hanging": [0, 0, 0, 0.05],
    "breaking": [0, 0, 0.1],
    "writing": [0, 0, 0.3],
}
"""Kind of answer -> how often a recipient may give it."""


class Mischief:
    """Plans for one world."""

    def __init__(self, world: World) -> None:
        self._world, self._clockwork, self._random = world, world.clockwork, world.clockwork.random

    def plan(self) -> None:
        """What will happen when."""
        random, world = self._random, self._world
        self._plan_air()
        for recipient in (INSURER, GARAGE, MAP):
            self._at(random.randrange(500, 8_000), "give", partial(world.owner.give, recipient))
        if self._clockwork.chance(0.2):
            self._at(9_000, "give for a while", self._give_short)
        if self._clockwork.chance(0.3):
            self._at(random.randrange(8_000, 30_000), "give twice", self._give_twice)
        self._some([0, 1, 2], "pause", self._pause)
        self._some([1, 1, 2, 3], "unit crash", self._unit_crash)
        self._some([0, 1, 2], "cloud crash", self._cloud_crash)
        self._some([0, 1, 2], "outage", self._outage)
        self._some([0, 0, 1], "clock", self._clock_jump)
        self._some([0, 0, 1], "mode", self._mode)
        self._some([0, 0, 1], "lie", self._lie)
        self._some([0, 0, 0, 1], "house", world.cloud.keep_house)
        self._some([0, 0, 1], "log hangs", self._log_hangs)
        self._at(DRIVE_MS - 6_000, "crash at the latest", self._crash_at_the_latest)
        self._plan_withdrawal(random.randrange(30_000, 150_000))
        Rarities(world).plan()

    def _plan_air(self) -> None:
        """What the line and the recipients are like, from the beginning on."""
        world, random = self._world, self._random
        for name, probability in (("loss", random.choice([0, 0.02, 0.15, 0.4])), ("doubling", random.choice([0, 0.1]))):
            self._at(0, f"{name} {probability}", partial(setattr, world.broker, name, probability))
        delay_ms = random.choice([20, 300, 4000])
        self._at(0, f"delay {delay_ms} ms", partial(setattr, world.broker, "delay_ms", delay_ms))
        for name, listener in world.listeners.items():
            temper = {kind: random.choice(often) for kind, often in TEMPERS.items()}
            self._at(0, f"temper of {name}", partial(setattr, listener, "temper", temper))

    def _plan_withdrawal(self, withdraw_ms: int) -> None:
        """The withdrawal that every world has; one in three has a disk or a backup of before, too."""
        random = self._random
        withdraw = random.choice([self._withdraw, self._withdraw, self._withdraw_in_a_send])
        backwards = random.choice(["", "", "", "", "disk", "backup"])
        if backwards == "disk":
            self._at(random.randrange(60_000, 170_000), "disk lied", self._disk_lied)
        if backwards == "backup":
            if self._clockwork.chance(0.5):
                # the worst moment: what the recipient has not taken lies in the backup, and then comes the withdrawal
                withdraw = self._withdraw_after_a_backup
                self._at(withdraw_ms - 15_000, "deaf", self._deafen)
            else:
                self._at(random.randrange(60_000, 170_000), "restored", self._cloud_restored)
        self._at(withdraw_ms, "withdraw", withdraw)

    def _at(self, at_ms: int, name: str, do: Callable[[], None]) -> None:
        self._world.plan.add(at_ms, name, do)

    def _some(self, counts: list[int], name: str, do: Callable[[], None]) -> None:
        """One of so many times, whenever."""
        for _ in range(self._random.choice(counts)):
            self._at(self._random.randrange(FAULTS_FROM_MS, DRIVE_MS), name, do)

    # crashes

    def _crash_at_the_latest(self) -> None:
        """No seed without a crash of the unit."""
        if not self._clockwork.happened["agent_crash"]:
            self._clockwork.note("agent_kill")
            self._world.unit_down(power=False)

    def _cloud_restored(self, backup: int | None = None) -> None:
        """An operator puts a backup in the place of the store."""
        if not self._world.cloud.is_up:
            return
        if self._world.cloud.busy:
            self._clockwork.at(700, "restore later", lambda: self._cloud_restored(backup))
            return
        self._clockwork.note("cloud_restored")
        self._world.ledger.fallen_back = True
        self._world.cloud.crash(self._random.randrange(8) if backup is None else backup)
        self._clockwork.at(2_000, "cloud up", self._world.cloud_up)
        self._clockwork.at(8_000, "make up", self._world.owner.make_up)

    def _unit_crash(self) -> None:
        """One of the ways in which a unit stops."""
        way = self._random.choice(["commit", "commit", "effect", "power", "kill"])
        if self._world.unit.agent is None:
            return
        if way == "commit":
            self._world.unit.disk.cut_at_commit(self._random.randrange(4), after=self._clockwork.chance(0.5))
        elif way == "effect":
            self._world.unit.cut_at_effect(self._random.randrange(4))
        else:
            self._clockwork.note(f"agent_{way}")
            self._world.unit_down(power=way == "power")

    def _disk_lied(self) -> None:
        if self._world.unit.agent is not None:
            self._clockwork.note("disk_lied")
            self._world.unit_down(power=True, back_to=self._random.randrange(8))

    def _cloud_crash(self) -> None:
        if self._clockwork.chance(0.3):
            self._world.cloud.cut_at_answer(self._random.randrange(3))
        elif self._clockwork.chance(0.4):
            self._world.cloud.cut_at_group(after=self._clockwork.chance(0.5))
        elif self._clockwork.chance(0.7):
            self._world.cloud.disk.cut_at_commit(self._random.randrange(6), after=self._clockwork.chance(0.5))
        else:
            self._world.cloud_stops()

    def _log_hangs(self) -> None:
        """What was given before goes on; what is given meanwhile waits."""
        self._clockwork.note("log_hung")
        self._world.cloud.logs_again_ms = self._clockwork.now_ms + self._random.randrange(2_000, 20_000)

    # the line, the clock, the driver

    def _outage(self) -> None:
        self._world.disconnect()
        self._clockwork.at(self._random.randrange(1_000, 90_000), "connect", self._world.connect)

    def _clock_jump(self) -> None:
        self._clockwork.note("clock_jump")
        self._world.unit.wall_offset_ms = self._random.choice([-30, -1, 1, 400]) * self._random.randrange(1, kit.DAY_MS)
        self._clockwork.at(self._random.randrange(2_000, 60_000), "clock right", self._world.clock_right)

    def _mode(self) -> None:
        mode = self._random.choice([Mode.NO_LOCATION, Mode.GUEST, Mode.OFF])
        self._clockwork.note(f"mode_{mode.value}")
        self._world.unit.set_mode(mode)
        self._clockwork.at(
            self._random.randrange(3_000, 30_000), "mode normal", lambda: self._world.unit.set_mode(Mode.NORMAL)
        )

    # parties

    def _lie(self) -> None:
        """A cloud that lies: with its own good signature it offers what the owner never said."""
        if not self._world.cloud.is_up or not self._world.unit.online:
            return
        kind = self._random.choice(["forged", "older", "forked", "undone", "foreign", "epoch"])
        who = self._world.unit.identity
        generation = self._world.ledger.generations[who.epoch]
        living = tuple(
            Documents(one.offer, one.token, tuple(one.entries[1:]))
            for one in self._world.agreed.values()
            if not one.ended
        )
        if kind == "older":
            generation = max(0, generation - self._random.randrange(1, 4))
        if kind == "forged":
            generation += 1
            name = format_id("rec_", self._random.randbytes(10))
            lie = kit.token(OFFERS[MAP], key=kit.OTHER_KEY, optional=(), id=name, epoch=who.epoch)
            living = (*living, Documents(OFFERS[MAP], lie))
        if kind == "foreign":
            generation += 1
            # the owner's own word, for another car of his
            name = format_id("rec_", self._random.randbytes(10))
            lie = kit.token(
                OFFERS[MAP], key=who.owner_key, optional=(), id=name, epoch=who.epoch, vehicle=kit.OTHER_VEHICLE
            )
            living = (*living, Documents(OFFERS[MAP], lie))
        if kind == "undone":
            generation += 1
            living = tuple(Documents(one.offer, one.token) for one in self._world.agreed.values())
        data = encode_grant_set(GrantSet(kit.VEHICLE, who.epoch + (kind == "epoch"), generation, records=living))
        self._clockwork.note(f"lie_{kind}")
        self._world.down(
            seal_down(
                GrantSetMessage(data),
                who.device,
                self._world.cloud.keys.sign,
                who.receive.public,
                self._random.randbytes(32),
            )
        )
        if kind in {"forged", "undone", "foreign"}:
            # the unit has seen a generation that the honest cloud has not: it is silent until the owner confirms
            self._clockwork.at(9_000, "make up", self._world.owner.make_up)

    def _give_short(self) -> None:
        self._clockwork.note("given_for_a_while")
        self._world.owner.give_for(self._random.randrange(60_000, 140_000))

    def _of(self, recipient: str) -> list[Agreed]:
        return [
            one
            for one in self._world.agreed.values()
            if one.recipient == recipient and not one.ended and one.offer in OFFERS.values()
        ]

    def _give_twice(self) -> None:
        """Two records of one recipient go in one group, and end one by one."""
        self._clockwork.note("given_twice")
        self._world.owner.give(GARAGE)

    def _withdraw(self) -> None:
        mine = self._of(GARAGE)
        if len(mine) > 1 and self._clockwork.chance(0.6):
            self._clockwork.note("one_of_two_withdrawn")
            mine = mine[:1]
        for agreed in mine:
            self._world.owner.withdraw(agreed)
        if self._clockwork.chance(0.5):
            self._clockwork.note("given_again")
            self._clockwork.at(self._random.randrange(50, 20_000), "give again", lambda: self._world.owner.give(GARAGE))

    def _withdraw_in_a_send(self) -> None:
        """While the recipient is being written to; in half a minute at the latest."""

        def once() -> None:
            if self._world.listeners[GARAGE].interrupt is not None:
                self._world.listeners[GARAGE].interrupt = None
                self._withdraw()

        def now() -> None:
            self._clockwork.note("withdraw_in_a_send")
            self._withdraw()

        self._world.listeners[GARAGE].interrupt = now
        self._clockwork.at(30_000, "withdraw at the latest", once)

    def _deafen(self) -> None:
        self._world.listeners[GARAGE].temper = {"deaf": 1.0}

    def _withdraw_after_a_backup(self) -> None:
        if self._world.cloud.is_up and not self._world.cloud.busy:
            self._world.cloud.disk.keep(self._clockwork.now_ms)
        self._withdraw()
        self._world.listeners[GARAGE].temper = {}
        self._clockwork.at(2_500, "restored", lambda: self._cloud_restored(-1))

    def _pause(self) -> None:
        for agreed in self._of(MAP):
            if not agreed.silent:
                self._world.owner.pause(agreed)
                later_ms = self._random.randrange(200, 25_000)
                self._clockwork.at(later_ms, "resume", lambda one=agreed: self._world.owner.resume(one))  # type: ignore[misc]
