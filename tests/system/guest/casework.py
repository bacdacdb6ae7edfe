"""Run cases of ``guest/cases`` in one boot, with the disks that some of them need."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.system.guest import uml

CASES = Path(__file__).with_name("cases")
CHECKOUT = Path(__file__).parents[3]
DISKS_MB = (12, 128)
"""A disk for a file system, and one for what dm-log-writes writes down of it."""
SETTINGS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run_cases(what: Path, report: Path, timeout_s: float, environment: Mapping[str, str]) -> uml.Outcome:
    """``what``: a file of cases, or their folder. ``report``: what pytest writes in JUnit's form.

    The programs are those of this process, also where a PYTHONPATH puts others before the installed ones.
    """
    return uml.run(
        [sys.executable, "-m", "pytest", "-c", str(CASES / "pytest.ini"), f"--junitxml={report}", "-rP", str(what)],
        timeout_s=timeout_s,
        directory=CHECKOUT,
        writable=[report.parent],
        environment={**SETTINGS, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
        disks_mb=DISKS_MB,
    )
