"""Run worlds by seed: ``PYTHONHASHSEED=0 .venv/bin/python -m tests.world 17``, or ``--seeds 1000 --from 0`` of them."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.world.plan import DRIVE_MS
from tests.world.shrink import Life, Shrinker, live
from tests.world.world import World

TOLD_EVERY = 100
"""Worlds: a minute or two."""


def main(words: list[str] | None = None) -> int:
    """0 if every law held in every world; otherwise the first broken one is told, with its command."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="one world")
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--without", type=_numbers, default=frozenset(), help="numbers of the plan to leave out: 3,17")
    parser.add_argument("--drive-ms", type=int, default=DRIVE_MS, help="how long the car drives")
    parser.add_argument("--go-on", action="store_true", help="tell every broken world, not only the first")
    arguments = parser.parse_args(words)
    first = arguments.first if arguments.seed is None else arguments.seed
    seeds = range(first, first + (arguments.seeds if arguments.seed is None else 1))
    started = time.perf_counter()
    happened: Counter[str] = Counter()
    broken = 0
    for done, seed in enumerate(seeds):
        if done and done % TOLD_EVERY == 0:
            told = f"{done} of {len(seeds)} worlds, {broken} broken, {time.perf_counter() - started:.0f} s"
            print(told, file=sys.stderr, flush=True)
        world = World(seed, arguments.without, arguments.drive_ms)
        try:
            happened += world.run()
        except Exception:  # noqa: BLE001 - whatever breaks a world is what we look for
            broken += 1
            traceback.print_exc()
            _tell_broken(live(seed, arguments.without, arguments.drive_ms))
            if not arguments.go_on:
                return 1
        finally:
            world.close()
        if arguments.seed is not None:
            print(f"digest {world.clockwork.digest}")
    took = time.perf_counter() - started
    for kind, count in sorted(happened.items()):
        print(f"{count:8d} {kind}")
    print(f"{len(seeds)} worlds in {took:.1f} s, {broken} broken")
    return 1 if broken else 0


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(","))


def _tell_broken(life: Life) -> None:
    """The command that has it again, and a smaller world that breaks the same law."""
    print(f"seed {life.seed} FAILED: {life.command}", flush=True)
    if not life.without:
        shrinker = Shrinker(life)
        smallest = shrinker.shrink()
        print(f"smaller, found in {shrinker.tries} tries: {smallest}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
