"""What a test says that needs the guest on a machine without it."""

from __future__ import annotations

import os

import pytest

from tests.system.guest import uml


def require_guest() -> None:
    """Skip, saying what to install; where CI=true fail, because there the guest is promised."""
    reason = uml.missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
