"""What a receiver would refuse is never sent: the sender parses its own bytes first."""

from __future__ import annotations

from collections.abc import Callable

from carnet.errors import FormatError, LocalProtocolError


def checked(data: bytes, parse: Callable[[bytes], object]) -> bytes:
    """``data`` itself, if ``parse`` accepts it; otherwise the parser's reason as LocalProtocolError:
    our caller is wrong.
    """
    try:
        parse(data)
    except FormatError as error:
        raise LocalProtocolError(error.reason, str(error)) from None
    return data
