"""What every test may use: the place of the captures, DBCs and signal catalogue that stand beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """The folder of the shared vehicle data, read where it is and never copied.

    ``CARNET_DATA`` overrides the place ``../shared/data`` beside the checkout. Missing: the test is skipped and says
    so, but with CI=true it fails, because a check that never ran must not look like one that passed.
    """
    folder = Path(os.environ.get("CARNET_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        sentence = "the shared vehicle data is missing: set CARNET_DATA to its folder"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder
