"""Shell: tell systemd that we are ready, alive or stopping (sd_notify(3)). Does nothing where systemd did not ask.

Law: alive is said because work made progress, never because a timer ran.
"""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send e.g. ``READY=1``, ``WATCHDOG=1``, ``STATUS=…`` or ``STOPPING=1`` to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return  # the manager is gone or full: nobody to tell


def watchdog_interval_s() -> float:
    """Half of what systemd allows between two signs of life; 0 if it does not watch."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
