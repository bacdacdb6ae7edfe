"""Three hundred worlds in which everything goes wrong that can, and the laws hold in each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from tests.conftest import CHECKOUT
from tests.world.bugs import BUGS, WORLDS, Bug
from tests.world.liar import LyingUnit
from tests.world.world import World

AT_ONCE = 10
SCENARIO_PLUGINS = ("tests.world.bugplugin", "pytest_asyncio.plugin", "pytest_timeout", "xdist.plugin")
"""The bug, and what `pyproject.toml` and the conftest speak of; all that are installed take twice as long to start."""
MUST_HAPPEN = {
    *("given", "given_again", "given_for_a_while", "given_twice", "withdraw_returned", "pause_returned", "resume"),
    *("up_lost", "down_lost", "up_doubled", "down_doubled", "outage", "healed_without_reconnect"),
    *("agent_cut_at_commit", "agent_cut_at_effect", "agent_power", "agent_kill", "disk_lied", "clock_jump"),
    *("cloud_cut_at_commit", "cloud_cut_at_answer", "cloud_crash", "cloud_restored"),
    *("mode_no_location", "mode_guest", "mode_off"),
    *("lie_forged", "lie_older", "lie_forked", "lie_undone"),
    *("recipient_deaf", "recipient_forgetful", "recipient_slow", "recipient_refusing", "send_cut", "event_again"),
    *("sent_in_a_group", "cloud_send_unsent", "one_of_two_withdrawn"),
    *("unit_evicted", "unit_promoted", "unit_reopened", "unit_destroyed", "unit_rolled_back"),
    *("unit_full", "withdraw_in_a_send", "sealed_to_recipient"),
    *("cloud_duplicates", "cloud_held", "cloud_schema_missing", "cloud_blocked_time", "cloud_blocked_expired"),
    *("logged", "log_hung"),
    *("lie_foreign", "lie_epoch", "second_log"),
    *("recipient_hanging", "recipient_breaking", "recipient_writing", "recipient_unsaid", "hang_cut"),
    *("broker_replayed_up", "broker_replayed_down", "broker_other_unit", "broker_wrong_side", "broker_flipped"),
    *("broker_held_back", "night", "refused_store_unavailable"),
    *(f"unit_lied_{kind}" for kind in LyingUnit.KINDS),
    *("sale_wiped", "sale_cut_short", "sale_returned", "cloud_refused_device_ended"),
    *("node_frozen", "node_killed", "cloud_shard_of_another", "cloned", "cloud_quarantined", "number_twice"),
    *("keys_changing", "keys_changed", "unit_salvaged"),
    *("cloud_gap", "cloud_behind_floor", "cloud_journal_applied"),
}
"""Every kind of event, over all worlds together."""


@cache
def happened_in(seed: int) -> Counter[str]:
    """Run one world; how often what happened in it."""
    world = World(seed)
    try:
        return world.run()
    except Exception as error:  # noqa: BLE001 - whatever breaks a world is what we look for
        command = f"PYTHONHASHSEED=0 .venv/bin/python -m tests.world {seed}"
        pytest.fail(f"{type(error).__name__}: {error}\nagain: {command}")
    finally:
        world.close()


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_the_laws_hold_whatever_fails(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        happened_in(seed)


@pytest.mark.timeout(400)
def test_every_kind_of_event_has_happened() -> None:
    happened: Counter[str] = Counter()
    for seed in range(WORLDS):
        happened += happened_in(seed)
    assert {kind for kind in MUST_HAPPEN if not happened[kind]} == set()


def test_a_seed_is_a_run_in_any_process() -> None:
    """The same digest twice, also where sets and dictionaries of text hash differently."""
    runs = [
        subprocess.run(
            [sys.executable, "-m", "tests.world", "3"],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.splitlines()[0]
        for hash_seed in ("0", "0", "17")
    ]
    assert runs[0].startswith("digest ")
    assert len(set(runs)) == 1


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.scenario], ids=lambda bug: bug.name)
def test_a_bug_put_in_on_purpose_fails_its_scenario(bug: Bug) -> None:
    """In a process of its own; 1 says that a test failed, and not that there was none or that it could not be run."""
    plugins = [word for name in SCENARIO_PLUGINS for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, bug.scenario]
    environment = {**os.environ, "CARNET_BUG": bug.name, "CI": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("bug", [bug for bug in BUGS if not bug.scenario], ids=lambda bug: bug.name)
def test_a_bug_put_in_on_purpose_is_found_by_a_seed(bug: Bug) -> None:
    assert bug.found(), bug.what
