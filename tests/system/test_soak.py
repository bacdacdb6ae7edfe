"""Half a minute of what `make nightly` does for two hours: the whole line under quick faults, and every law at the end.

What leaks cannot be told in so short a time; that is judged by night, and `tests.soak.test_soak` tests the judge.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.soak.__main__ import Soak
from tests.soak.judge import Verdict
from tests.soak.line import Line
from tests.soak.webhook import Webhook
from tests.system.postgres import Postgres

SECONDS = 30.0
SEED = 8
NEVER_LONG = "programs that never lived"


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[tuple[Line, list[Verdict]]]:
    """The line after it, and what was found."""
    with ExitStack() as ends:
        hook = ends.enter_context(Webhook())
        line = Line(tmp_path_factory.mktemp("soak"), postgres, hook)
        ends.callback(line.close)
        run = Soak(line, SEED, SECONDS, io.StringIO())
        run.run()
        yield line, run.verdicts


@pytest.mark.timeout(300)
def test_the_line_keeps_its_laws_under_quick_faults(soaked: tuple[Line, list[Verdict]]) -> None:
    _, verdicts = soaked
    assert [each for each in verdicts if not each.holds and not each.what.startswith(NEVER_LONG)] == []
    assert len(verdicts) > 30


def test_everybody_was_killed_and_the_owner_changed_his_mind(soaked: tuple[Line, list[Verdict]]) -> None:
    deeds = soaked[0].deeds
    assert min(deeds.done[kind] for kind in ("agent killed", "receiver killed", "owner")) >= 2
    assert deeds.done.total() >= 8
