"""Who serves which shards: every receiver comes to the same answer from the same facts.

Law: a shard is taken only if nobody serves it, and everybody's shares together are all shards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

SHARDS = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """What a receiver does now."""

    take: tuple[int, ...] = ()
    give_back: tuple[int, ...] = ()


def plan(me: bytes, members: Collection[bytes], owners: Mapping[int, bytes]) -> Plan:
    """``members``: the receivers that live, this one among them; ``owners``: shard -> who serves it.

    What a receiver has beyond its share goes back, so that others can take it; what it lacks it takes from what is
    free. No shard changes hands while everybody has a share.
    """
    mine = sorted(shard for shard, owner in owners.items() if owner == me)
    share = share_of(me, members)
    if len(mine) > share:
        return Plan(give_back=tuple(mine[share:]))
    free = [shard for shard in range(SHARDS) if shard not in owners]
    return Plan(take=tuple(free[: share - len(mine)]))


def share_of(me: bytes, members: Collection[bytes]) -> int:
    """How many shards are this receiver's: all of them together have every one."""
    order = sorted(members)
    whole, rest = divmod(SHARDS, len(order))
    return whole + (order.index(me) < rest)
