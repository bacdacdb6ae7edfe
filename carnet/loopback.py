"""Whether a host is this very machine: the only one that a link without TLS may go to.

Law: what is not surely this machine is another one. Names are not looked up, so nobody's answer decides; ``localhost``
is believed, because whoever writes this machine's hosts file has this machine.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """``localhost`` or an address of the loopback interface, in its usual spelling."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
