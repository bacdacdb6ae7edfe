"""paho's client without the memory of its proxies: the one place that imports ``paho.mqtt.client``.

paho imports ``urllib.request``, and with it the modules of HTTP and mail, 2 MB in all, to find a proxy if PySocks is
installed. It is not: so they are read if it ever is.
"""

from __future__ import annotations

from carnet_agent.lazily import lazily

lazily("urllib.request")

import paho.mqtt.client as paho  # noqa: E402 - after the line above, which is the point

__all__ = ["paho"]
