"""A lying cloud against the unit: it may withhold, it may not stop the unit or make it collect more."""

from __future__ import annotations

from carnet.bodies import COUNTERS_MAX, Health
from carnet.down import SchemaRequest
from carnet.envelopetype import EnvelopeType
from carnet.limits import NUMBER_MAX
from carnet_agent.core import HEALTH_MS
from tests.agent.agentkit import Rig, answer, bodies, grants
from tests.agent.test_core import contact, rig

__all__ = ["rig"]  # a fixture


def test_w21_a_storm_of_refusals_with_invented_reasons_leaves_the_unit_alive(rig: Rig) -> None:
    """More counted reasons than a health report holds: it tells the first ones, and the unit goes on."""
    contact(rig)
    rig.agent._counters.update({f"refused_invented_{number}": 1 for number in range(COUNTERS_MAX)})
    rig.pass_time(HEALTH_MS + 60_000, step_ms=60_000, frames=False)
    reports = [Health.parse(body) for body in bodies(rig.envelopes(), EnvelopeType.CHECK_IN_OR_HEALTH)]
    assert any(len(report.counters) == COUNTERS_MAX for report in reports)


def test_an_answer_from_the_end_of_time_collects_nothing_and_brings_nothing_back(rig: Rig) -> None:
    """It ends every grant, on the safe side, also over a start."""
    rig.grant(grants())
    contact(rig)
    rig.reboot()
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=NUMBER_MAX))
    rig.pass_time(61_000)
    assert rig.agent.status()["in_force"] == []


def test_schema_requests_for_ever_are_answered_once_for_a_contact(rig: Rig) -> None:
    """Also for schemas that do not exist."""
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    rig.take()
    rows = rig.agent.status()["last_seq"]
    for number in range(200):
        rig.tell(SchemaRequest((number.to_bytes(16, "big"),)))
    assert rig.agent.status()["last_seq"] == rows
