"""The drill that an operator runs, as he runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT


@pytest.mark.timeout(180)
def test_a_backup_that_is_put_back_brings_no_withdrawn_consent_to_life() -> None:
    command = [sys.executable, "-m", "tests.system.drill"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert [line.split("  ", 1)[1].split(" ")[0] for line in said[:-1]] == [
        "readings", "a", "the", "the", "the", "the",
    ]  # fmt: skip
    assert said[-1] == "the drill held"
