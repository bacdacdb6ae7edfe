"""What happens in one world of twenty: full disks, a night, liars of every kind. A seed says which.

Law: a kind has seeds of its own, so that every kind happens in each twentieth of all worlds, however many are run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from carnet.ack import Ack
from carnet.down import sign_ack
from tests.world.cloudkeys import CHANGED, CHANGING
from tests.world.liar import LyingUnit
from tests.world.owner import GARAGE, INSURER, MAP

if TYPE_CHECKING:
    from tests.world.world import World

KINDS = 20
FULL_MS = 25_000
HEADER_BYTES = 90
KIND_OF = {
    19: "unit_full",
    0: "store_full",
    1: "lying_unit",
    2: "lying_broker",
    3: "night",
    4: "second_log",
    5: "sale",
    6: "sale",
    7: "several",
    8: "several",
    9: "several",
    10: "keys",
    11: "clone",
    12: "clone",
    13: "corrupt",
    14: "corrupt",
}
"""Seed modulo KINDS -> what happens."""


def node_count(seed: int) -> int:
    """How many receivers there are."""
    return 2 if KIND_OF.get(seed % KINDS) == "several" else 1


class Rarities:
    """Plans for one world."""

    def __init__(self, world: World) -> None:
        self._world, self._clockwork, self._random = world, world.clockwork, world.clockwork.random

    def plan(self) -> None:
        kind = KIND_OF.get(self._world.seed % KINDS)
        if kind is not None:
            getattr(self, f"_plan_{kind}")()

    def _plan_unit_full(self) -> None:
        self._world.plan.add(60_000, "unit's disk full", partial(self._world.unit.fill, FULL_MS))

    def _plan_store_full(self) -> None:
        for _ in range(3):
            length_ms = self._random.randrange(2_000, FULL_MS)
            at_ms = self._random.randrange(15_000, 170_000)
            self._world.plan.add(at_ms, "store's disk full", partial(self._world.cloud.fill, length_ms))

    def _plan_lying_unit(self) -> None:
        liar = LyingUnit(self._world)
        for kind in liar.KINDS:
            for _ in range(2):
                at_ms = self._random.randrange(20_000, 170_000)
                self._world.plan.add(at_ms, f"unit lies: {kind}", partial(liar.lie, kind))

    def _plan_lying_broker(self) -> None:
        for _ in range(12):
            at_ms = self._random.randrange(30_000, 175_000)
            self._world.plan.add(at_ms, "broker repeats", partial(self._world.broker.replay, 4))
            at_ms = self._random.randrange(20_000, 175_000)
            self._world.plan.add(at_ms, "broker misdelivers", self._misdeliver)

    def _misdeliver(self) -> None:
        """Under another unit's name, to the wrong side, or with a byte that is another one."""
        way = self._random.choice(["other_unit", "wrong_side", "flipped", "flipped"])
        payload = self._world.broker.some(self._random.choice(["up", "down"]))
        if payload is None:
            return
        self._clockwork.note(f"broker_{way}")
        if way == "other_unit":
            self._world.cloud.arrive(payload, self._random.randbytes(16))
            return
        if way == "flipped":
            # what stands before the boxes is vouched for by the signature alone
            at = self._random.randrange(self._random.choice([HEADER_BYTES, len(payload)]))
            payload = payload[:at] + bytes([payload[at] ^ 1 << self._random.randrange(8)]) + payload[at + 1 :]
        self._world.cloud.arrive(payload)
        self._world.arrive_down(payload)

    def _plan_night(self) -> None:
        at_ms = self._random.randrange(60_000, 150_000)
        self._world.plan.add(
            at_ms - 20_000, "broker holds back", partial(setattr, self._world.broker, "holds_back", True)
        )
        listener = self._world.listeners[INSURER]
        # something has to wait for the morning
        self._world.plan.add(at_ms - 45_000, "deaf", partial(setattr, listener, "temper", {"deaf": 1.0}))
        self._world.plan.add(at_ms + 2_000, "hears", partial(setattr, listener, "temper", {}))
        self._world.plan.add(at_ms, "night", partial(self._night, self._random.randrange(2, 9)))
        self._world.plan.add(at_ms + 6_000, "broker lets go", self._world.broker.let_go)

    def _night(self, hours: int) -> None:
        if self._world.cloud.busy:
            self._clockwork.at(700, "night later", partial(self._night, hours))
            return
        self._clockwork.note("night")
        self._world.night(hours)

    def _plan_several(self) -> None:
        """Two receivers on one store; now and then one of them stands still in the middle of a send, or dies of it."""
        for _ in range(4):
            listener = self._world.listeners[self._random.choice([INSURER, GARAGE, MAP])]
            freeze = self._random.randrange(300, 9_000), self._clockwork.chance(0.4)
            at_ms = self._random.randrange(20_000, 170_000)
            self._world.plan.add(at_ms, "a receiver stands still", partial(listener.freezes.append, freeze))

    def _plan_keys(self) -> None:
        at_ms = self._random.randrange(30_000, 90_000)
        self._world.plan.add(at_ms, "the cloud changes its keys", self._change_keys)

    def _change_keys(self) -> None:
        self._clockwork.note("keys_changing")
        self._world.cloud.keys = CHANGING
        self._world.cloud_stops()
        self._clockwork.at(20_000, "the old keys go", self._drop_keys)

    def _drop_keys(self) -> None:
        """Not before the unit has the new ones; whoever puts an older card into it has to pair it anew."""
        agent = self._world.unit.agent
        if agent is None or agent._out.cloud.version != CHANGING.public.version:
            if not self._world.healed:
                self._clockwork.at(5_000, "the old keys go later", self._drop_keys)
            return
        self._clockwork.note("keys_changed")
        self._world.unit.disk.forget_kept()
        self._world.cloud.keys = CHANGED
        self._world.cloud_stops()

    def _plan_clone(self) -> None:
        self._world.plan.add(self._random.randrange(50_000, 130_000), "clone", self._clone)

    def _clone(self) -> None:
        if self._world.unit.agent is None:
            self._clockwork.at(700, "clone later", self._clone)
            return
        self._clockwork.note("cloned")
        self._world.begin_clone()

    def _plan_corrupt(self) -> None:
        self._world.plan.add(self._random.randrange(40_000, 150_000), "bytes of the buffer change", self._damage)

    def _damage(self) -> None:
        if self._world.unit.agent is None:
            self._clockwork.at(9_000, "bytes change later", self._damage)
            return
        self._world.damage()

    def _plan_sale(self) -> None:
        at_ms = self._random.randrange(60_000, 120_000)
        self._world.plan.add(at_ms, "sale", partial(self._sale, wiped=self._clockwork.chance(0.5)))
        for recipient in (INSURER, GARAGE, MAP):
            later_ms = at_ms + self._random.randrange(1_000, 9_000)
            self._world.plan.add(later_ms, "buyer gives", partial(self._world.owner.give, recipient))
        for _ in range(3):
            later_ms = at_ms + self._random.randrange(1_000, 30_000)
            self._world.plan.add(later_ms, "seller's messages come late", partial(self._world.broker.replay, 15))

    def _sale(self, *, wiped: bool) -> None:
        if self._world.cloud.busy:
            # the very seller may be in the middle of a call
            self._clockwork.at(700, "sale later", partial(self._sale, wiped=wiped))
            return
        self._clockwork.note("sale_wiped" if wiped else "sale_cut_short")
        self._world.sell(wiped=wiped)

    def _plan_second_log(self) -> None:
        for _ in range(4):
            self._world.plan.add(self._random.randrange(30_000, 170_000), "cloud shows a second log", self._show_log)

    def _show_log(self) -> None:
        """A head of the size that the unit knows, with another root."""
        agent = self._world.unit.agent
        if agent is None or not agent._log.size or not self._world.unit.online:
            return
        if agent._out.cloud.version != self._world.cloud.keys.public.version:
            # what is signed by a key that the unit has not heard of shows it nothing
            return
        ack = Ack(
            agent._buffer.stream, 0, bytes(32), self._clockwork.now_ms, log_size=agent._log.size,
            log_root=self._random.randbytes(32),
        )  # fmt: skip
        self._clockwork.note("second_log")
        self._world.arrive_down(sign_ack(ack, self._world.unit.identity.device, self._world.cloud.keys.sign))
