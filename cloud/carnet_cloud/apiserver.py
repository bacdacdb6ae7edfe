"""The consent API as a server that says that it lives: owners who cannot withdraw need a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from carnet_cloud.running.ending import SERVED_S_MAX


class ApiServer(uvicorn.Server):
    """``alive`` is called again and again while it serves."""

    def __init__(self, api: FastAPI, alive: Callable[[], None]) -> None:
        patience_s = int(SERVED_S_MAX)
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
        super().__init__(uvicorn.Config(api, timeout_graceful_shutdown=patience_s, **quiet))
        self._alive = alive

    def stop(self) -> None:
        """Answer what was asked, and nothing more."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        self._alive()
        return await super().on_tick(counter)
