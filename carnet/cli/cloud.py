"""The consent API seen from the owner's side: requests signed by the owner's key, answers as JSON."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from carnet import jws
from carnet.errors import ConfigError, FormatError
from carnet.jsonapi import Service, ask
from carnet.keys import SigningKey
from carnet.shapes import Every, Kind, Shape, fits

TIMEOUT_S = 15
RECORD: Final[Shape] = {
    "record": Kind.TEXT, "state": Kind.TEXT, "expires_ms": Kind.TIME, "event_seq": Kind.NUMBER, "head": Kind.TEXT,
    "recipient_name": Kind.TEXT, "silent_until_confirmed": Kind.FLAG,
}  # fmt: skip
OUTCOME: Final[Shape] = {"events": Kind.NUMBER, "samples": Kind.NUMBER, "paths": Every(Kind.NUMBER)}
STATEMENT: Final[Shape] = {
    "records": [
        {"record": Kind.TEXT, "state": Kind.TEXT, "recipient_name": Kind.TEXT, "outcomes": Every(OUTCOME)},
    ],
    "blocked": [{"record": Kind.TEXT, "path": Kind.TEXT, "reason": Kind.TEXT, "samples": Kind.NUMBER}],
}
STANDS: Final[dict[str, Shape]] = {"record": Kind.TEXT, "state": Kind.TEXT}
GOES_ON: Final[Shape] = {**STANDS, "expires_ms": Kind.TIME}
ENDED: Final[Shape] = {
    **STANDS, "silent_after_ms": Kind.NUMBER, "destroyed": Kind.NUMBER, "unknown": Kind.NUMBER
}  # fmt: skip
"""What the answers hold at least (``docs/api.md``)."""


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
        answer = self._call("GET", f"/v1/offers?vehicle={self._vehicle}", None, {"offers": [Kind.TEXT]})
        return [jws.base64url_bytes(each) for each in answer["offers"]]

    def give(self, record: str) -> dict[str, Any]:
        return self._call("POST", "/v1/records", {"vehicle": self._vehicle, "record": record}, STANDS)

    def happen(self, record: str, event: str) -> dict[str, Any]:
        """The record as it stands after the event, or, with ``silent_after_ms``, how it became silent."""
        answer = self._call("POST", "/v1/events", {"record": record, "event": event}, STANDS)
        if not fits(answer, ENDED if "silent_after_ms" in answer else GOES_ON):
            raise FormatError("cloud_answer", f"{self._url} does not say how the record stands")
        return answer

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._owned("GET", "records", {"records": [RECORD]})["records"]
        return found

    def statement(self) -> dict[str, Any]:
        return self._owned("GET", "statement", STATEMENT)

    def confirm(self, record: str) -> dict[str, Any]:
        return self._owned("POST", f"confirm/{record}", {"record": Kind.TEXT})

    def _owned(self, method: str, what: str, shape: Shape) -> dict[str, Any]:
        """A request that only the owner may make; his signature covers the whole path."""
        if self._key is None:
            raise ConfigError("key_missing", "this needs the owner's key: --key FILE")
        path = f"/v1/vehicles/{self._vehicle}/{what}"
        document = {"method": method, "path": path, "time_ms": self._now_ms(), "vehicle": self._vehicle}
        token = jws.sign(jws.REQUEST, document, self._key.secret)
        return self._call(method, path, None, shape, {"Authorization": f"Carnet {token}"})

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        shape: Shape,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json", **(headers or {})}
        )
        service = Service(self._url, f"{self._url} does not answer: try again later", TIMEOUT_S)
        return ask(service, request, shape)
