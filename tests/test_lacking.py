"""What a machine lacks is said, and where CI=true nothing may be lacking."""

from __future__ import annotations

import pytest

from tests.lacking import lacking


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)], ids=["ci", "elsewhere"]
)
def test_what_is_lacking_is_skipped_and_in_ci_fails(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no mill: build one"):
        lacking("no mill: build one")
