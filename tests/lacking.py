"""What a test says that needs what this machine does not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(sentence: str) -> NoReturn:
    """Skip the test and say what is missing, with the command that brings it.

    Where CI=true fail: a check that never ran must not look like one that passed.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)
