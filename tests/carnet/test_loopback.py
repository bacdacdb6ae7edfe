"""What counts as this very machine, where a link may do without TLS."""

from __future__ import annotations

import pytest

from carnet.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1"])
def test_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "127.1",
        "127.0.0.1.example",
        "localhost.example",
        "broker.example",
        "127.0.0.1 ",
        "2130706433",
        "::ffff:10.0.0.1",
    ],
)
def test_every_other_name_is_another_machine(host: str) -> None:
    """Also the odd spellings that a resolver would take for this one: what is not surely here is elsewhere."""
    assert not is_loopback(host)
