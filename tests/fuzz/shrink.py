"""Makes an input that breaks its law as small as it gets: pieces are left out as long as the same is raised."""

from __future__ import annotations

from collections.abc import Callable


def raised(check: Callable[[bytes], None], data: bytes) -> str:
    """The kind of what the check raises and the line that did it; empty if nothing is raised."""
    try:
        check(data)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what was found
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return f"{type(error).__name__} {trace.tb_frame.f_code.co_name if trace else ''}"
    return ""


def shrink(check: Callable[[bytes], None], data: bytes) -> bytes:
    """The smallest input found that raises the same."""
    wanted = raised(check, data)
    size = len(data)
    while wanted and size:
        size, at = (size + 1) // 2 if size > 1 else 0, 0
        while size and at < len(data):
            shorter = data[:at] + data[at + size :]
            if raised(check, shorter) == wanted:
                data = shorter
            else:
                at += size
    return data
