"""Shell: ask the running service as its operator, for commands that find the store in use."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from carnet.errors import ConfigError, RemoteError, UnavailableError
from carnet_cloud.config import CloudConfig
from carnet_cloud.keyfolder import read_secret

TIMEOUT_S = 10
ANSWER_BYTES_MAX = 1 << 24


def get(config: CloudConfig, path: str) -> dict[str, Any]:
    """The JSON object at ``path``."""
    return _call(config, urllib.request.Request(_url(config, path)))


def post(config: CloudConfig, path: str, body: bytes) -> dict[str, Any]:
    """The JSON object that answers ``body``."""
    return _call(config, urllib.request.Request(_url(config, path), data=body, method="POST"))


def _url(config: CloudConfig, path: str) -> str:
    return f"http://{config.api.listen}{path}"


def _call(config: CloudConfig, request: urllib.request.Request) -> dict[str, Any]:
    if config.api.operator_token_file is None:
        raise ConfigError("operator_token", "set api.operator_token_file, so that the running service can be asked")
    token = read_secret(config.api.operator_token_file).decode().strip()
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: dict[str, Any] = json.loads(answer.read(ANSWER_BYTES_MAX))
            return found
    except urllib.error.HTTPError as e:
        document = json.loads(e.read(ANSWER_BYTES_MAX) or b"{}")
        raise RemoteError(
            document.get("reason", "refused"), document.get("message", f"the service answers {e.code}")
        ) from e
    except OSError as e:
        raise UnavailableError(
            "service_unreachable", f"nothing answers at {config.api.listen}: start it with  carnet-cloud run"
        ) from e
