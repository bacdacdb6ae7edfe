"""The consent API seen from the owner's side: requests signed by the owner's key, answers as JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from carnet import jws
from carnet.errors import ConfigError, FormatError, RemoteError, UnavailableError
from carnet.keys import SigningKey

TIMEOUT_S = 15
ANSWER_BYTES_MAX = 1 << 24


class Cloud:
    """``url`` of the API, ``vehicle`` as 26 characters. Plain http only to this machine."""

    def __init__(self, url: str, vehicle: str, key: SigningKey | None, now_ms: Callable[[], int]) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("cloud_url", "the cloud's address looks like https://carnet.example")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError("cloud_plain", "outside this machine the cloud's address must begin with https://")
        self._url = url.rstrip("/")
        self._vehicle = vehicle
        self._key = key
        self._now_ms = now_ms

    def offers(self) -> list[bytes]:
        """The offers that are open to this vehicle, as their bytes."""
        answer = self._call("GET", f"/v1/offers?vehicle={self._vehicle}", None)
        return [jws.base64url_bytes(each) for each in answer["offers"]]

    def give(self, record: str) -> dict[str, Any]:
        return self._call("POST", "/v1/records", {"vehicle": self._vehicle, "record": record})

    def happen(self, record: str, event: str) -> dict[str, Any]:
        return self._call("POST", "/v1/events", {"record": record, "event": event})

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._owned("GET", "records")["records"]
        return found

    def statement(self) -> dict[str, Any]:
        return self._owned("GET", "statement")

    def confirm(self, record: str) -> dict[str, Any]:
        return self._owned("POST", f"confirm/{record}")

    def _owned(self, method: str, what: str) -> dict[str, Any]:
        """A request that only the owner may make; his signature covers the whole path."""
        if self._key is None:
            raise ConfigError("key_missing", "this needs the owner's key: --key FILE")
        path = f"/v1/vehicles/{self._vehicle}/{what}"
        document = {"method": method, "path": path, "time_ms": self._now_ms(), "vehicle": self._vehicle}
        token = jws.sign(jws.REQUEST, document, self._key.secret)
        return self._call(method, path, None, {"Authorization": f"Carnet {token}"})

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json", **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                found: dict[str, Any] = json.loads(answer.read(ANSWER_BYTES_MAX))
                return found
        except urllib.error.HTTPError as e:
            raise _refused(e) from e
        except OSError as e:
            raise UnavailableError("cloud_unreachable", f"{self._url} does not answer: try again later") from e
        except ValueError as e:
            raise FormatError("cloud_answer", f"{self._url} does not speak the consent API") from e


def _refused(error: urllib.error.HTTPError) -> RemoteError:
    try:
        document = json.loads(error.read(ANSWER_BYTES_MAX))
        return RemoteError(str(document["reason"]), str(document["message"]))
    except (ValueError, KeyError, TypeError):
        return RemoteError("refused", f"the cloud answered {error.code}")
