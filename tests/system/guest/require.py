"""What a test says that needs the guest on a machine without it."""

from __future__ import annotations

from tests.lacking import lacking
from tests.system.guest import uml


def require_guest() -> None:
    """Skip, saying what to install; where CI=true fail, because there the guest is promised."""
    reason = uml.missing()
    if reason is not None:
        lacking(reason)
