"""Shell: ask the running service as its operator, for commands that find the store in use."""

from __future__ import annotations

import urllib.request
from typing import Any

from carnet.errors import ConfigError
from carnet.jsonapi import Service, ask
from carnet.shapes import Shape
from carnet_cloud.config import CloudConfig
from carnet_cloud.running.keyfolder import read_secret

TIMEOUT_S = 10


def get(config: CloudConfig, path: str, shape: Shape) -> dict[str, Any]:
    """The answer of at least this shape at ``path``; errors as `carnet.jsonapi.ask`."""
    return _call(config, urllib.request.Request(_url(config, path)), shape)


def post(config: CloudConfig, path: str, body: bytes, shape: Shape, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What answers ``body``; otherwise as `get`."""
    return _call(config, urllib.request.Request(_url(config, path), data=body, method="POST"), shape, timeout_s)


def _url(config: CloudConfig, path: str) -> str:
    return f"http://{config.api.listen}{path}"


def _call(
    config: CloudConfig, request: urllib.request.Request, shape: Shape, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    if config.api.operator_token_file is None:
        raise ConfigError("operator_token", "set api.operator_token_file, so that the running service can be asked")
    token = read_secret(config.api.operator_token_file, "api.operator_token_file").decode().strip()
    request.add_header("Authorization", f"Bearer {token}")
    where = f"what listens at {config.api.listen}"
    absent = f"nothing answers at {config.api.listen}: start it with  carnet-cloud run"
    return ask(Service(where, absent, timeout_s), request, shape)
