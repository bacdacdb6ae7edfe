"""The consent API seen from the owner's side: requests signed by the owner's key, answers as JSON."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, Final

from carnet import jws
from carnet.cli import hints
from carnet.cli.follower import Follower
from carnet.cli.kept import Kept
from carnet.cli.ownerkey import MISSING
from carnet.errors import ConfigError, FormatError, RemoteError, UnavailableError
from carnet.grantsets import GENERATION_MAX
from carnet.jsonapi import Service, ask
from carnet.keys import SigningKey
from carnet.ledger.signednote import NoteKey
from carnet.ownerkeys import EPOCH_MAX
from carnet.seen import HEADER, Seen, sign_seen
from carnet.shapes import Every, Kind, Shape, fits
from carnet.signals import check_path

TIMEOUT_S = 15
GENERATION: Final[dict[str, Shape]] = {"epoch": Kind.NUMBER, "generation": Kind.NUMBER}
STANDS: Final[dict[str, Shape]] = {"record": Kind.TEXT, "state": Kind.TEXT, **GENERATION}
RECORD: Final[Shape] = {
    **STANDS, "expires_ms": Kind.TIME, "event_seq": Kind.NUMBER, "head": Kind.TEXT,
    "recipient_name": Kind.TEXT, "silent_until_confirmed": Kind.FLAG,
}  # fmt: skip
ENTRIES: Final[Shape] = {**STANDS, "jws": Kind.TEXT, "events": [Kind.TEXT]}
COUNT: Final[Shape] = {"events": Kind.NUMBER, "samples": Kind.NUMBER}
RECEIPTS: Final[Shape] = {
    "origin": Kind.TEXT, "receipts": [{"step": Kind.NUMBER, "receipt": Kind.TEXT}], "more": Kind.FLAG,
    "waiting": Kind.FLAG,
}  # fmt: skip
LOG: Final[Shape] = {"key": Kind.TEXT, "checkpoint": Kind.LINES, "proof": Kind.TEXT}
OUTCOME: Final[Shape] = {
    "events": Kind.NUMBER, "samples": Kind.NUMBER, "paths": Every(Kind.NUMBER),
    "captured": Every({"first_ms": Kind.TIME, "last_ms": Kind.TIME}),
}  # fmt: skip
REPLAYED: Final[Shape] = {"events": Kind.NUMBER, "samples": Kind.NUMBER}
STATEMENT: Final[Shape] = {
    "records": [
        {
            **STANDS,
            "recipient_name": Kind.TEXT,
            "outcomes": Every(OUTCOME),
            "replayed": REPLAYED,
            "given_ms": Kind.TIME_OR_NONE,
            "expires_ms": Kind.TIME,
            "ended_ms": Kind.TIME_OR_NONE,
            "account": {"confirmed": COUNT, "unknown": COUNT},
            "on_car": {"receipts": Kind.NUMBER, "samples": Kind.NUMBER, "last_ms": Kind.TIME_OR_NONE},
        },
    ],
    "units": [{"device": Kind.TEXT, "state": Kind.TEXT, "ended_ms": Kind.TIME_OR_NONE}],
    "blocked": [{"record": Kind.TEXT, "path": Kind.TEXT, "reason": Kind.TEXT, "samples": Kind.NUMBER}],
}
KEY: Final[Shape] = {"epoch": Kind.NUMBER, "thumbprint": Kind.TEXT, "key": Kind.TEXT, "standing": Kind.TEXT}
GOES_ON: Final[Shape] = {**STANDS, "expires_ms": Kind.TIME}
ENDED: Final[Shape] = {
    **STANDS, "silent_after_ms": Kind.NUMBER, "destroyed": Kind.NUMBER, "unknown": Kind.NUMBER
}  # fmt: skip
"""What the answers hold at least (``docs/api.md``)."""


def _parts(url: str) -> urllib.parse.SplitResult:
    """What the address is made of; ConfigError ``cloud_url`` if it is none."""
    words = "the cloud's address (--cloud or CARNET_CLOUD) looks like https://carnet.example"
    try:
        parts = urllib.parse.urlsplit(url)
        # a port that is no number shows only when it is asked for
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as e:
        raise ConfigError("cloud_url", words) from e
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("cloud_url", words)
    return parts


class Cloud:
    """``url`` of the API, ``vehicle`` as 26 characters. Plain http only to this machine.

    ``owner``: the key, and what was kept of this cloud and vehicle. Every request tells the highest generation that the
    owner was shown, every answer is held against it; ``warn`` gets a sentence for him.
    """

    def __init__(
        self,
        url: str,
        vehicle: str,
        owner: tuple[SigningKey, Kept] | None,
        now_ms: Callable[[], int],
        warn: Callable[[str], None],
    ) -> None:
        parts = _parts(url)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError("cloud_plain", "outside this machine the cloud's address must begin with https://")
        self._url = url.rstrip("/")
        self._vehicle = vehicle
        self._key: SigningKey | None = owner[0] if owner else None
        self._kept: Kept | None = owner[1] if owner else None
        self._now_ms = now_ms
        self._warn = warn

    def offers(self) -> list[bytes]:
        """The offers that are open to this vehicle, as their bytes."""
        answer = self._call("GET", f"/v1/offers?vehicle={self._vehicle}", None, {"offers": [Kind.TEXT]})
        return [jws.base64url_bytes(each) for each in answer["offers"]]

    def paths_of(self, category: str) -> list[str] | None:
        """What the cloud counts to a category today; None if it does not tell, as earlier ones do not."""
        try:
            answer = self._call("GET", f"/v1/categories/{category}", None, {"paths": [Kind.TEXT]})
            return [check_path(path) for path in answer["paths"]]
        except RemoteError:
            return None

    def give(self, record: str) -> dict[str, Any]:
        """Send a signed record; how it stands."""
        self._keep(record, widens=True)
        answer = self._call("POST", "/v1/records", {"vehicle": self._vehicle, "record": record}, STANDS)
        self._hold_to(answer)
        return answer

    def happen(self, record: str, event: str, *, widens: bool) -> dict[str, Any]:
        """Send a signed event; the record as it stands after it, or, with ``silent_after_ms``, how it became silent."""
        self._keep(event, widens=widens)
        answer = self._call("POST", "/v1/events", {"record": record, "event": event}, STANDS)
        if not fits(answer, ENDED if "silent_after_ms" in answer else GOES_ON):
            raise FormatError("cloud_answer", f"{self._url} does not say how the record stands")
        self._hold_to(answer)
        return answer

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._owned("GET", "records", {"records": [RECORD]})["records"]
        self._hold_to(*found)
        return found

    def statement(self) -> dict[str, Any]:
        found = self._owned("GET", "statement", STATEMENT)
        self._hold_to(*found["records"])
        return found

    def entries(self) -> dict[str, list[str]]:
        """Every record's id -> its token and its events, as the cloud has them now."""
        found = self._owned("GET", "records", {"records": [ENTRIES]})["records"]
        self._hold_to(*found)
        return {each["record"]: [each["jws"], *each["events"]] for each in found}

    def receipts(self, record: str, after: int) -> dict[str, Any]:
        """Receipts of a record's leaves behind a step."""
        return self._owned("GET", f"receipts/{record}", RECEIPTS, f"?after={after}")

    def follower(self, given: Iterable[NoteKey]) -> Follower:
        """Who follows this cloud's logs by what was kept. ConfigError ``key_missing``."""
        if self._kept is None:
            raise ConfigError("key_missing", MISSING)
        return Follower(self._log, self._kept, given, self._warn)

    def _log(self, origin: str, first: int, second: int | None) -> dict[str, Any]:
        sizes = {"first": first} if second is None else {"first": first, "second": second}
        return self._call("GET", "/v1/log?" + urllib.parse.urlencode({"origin": origin, **sizes}), None, LOG)

    def first_leaf(self, origin: str) -> str:
        """The receipt of a log's first leaf."""
        query = urllib.parse.urlencode({"origin": origin})
        return str(self._call("GET", f"/v1/log/first?{query}", None, {"receipt": Kind.TEXT})["receipt"])

    def now_ms(self) -> int:
        """By this machine's clock."""
        return self._now_ms()

    def own_keys(self) -> list[bytes]:
        """Whose signatures can be checked here: those of the key in use."""
        return [self._key.public] if self._key else []

    def confirm(self, record: str) -> dict[str, Any]:
        return self._owned("POST", f"confirm/{record}", {"record": Kind.TEXT})

    def keys(self) -> list[dict[str, Any]]:
        """Every key that may sign for the vehicle, or might once."""
        found: list[dict[str, Any]] = self._owned("GET", "keys", {"keys": [KEY]})["keys"]
        return found

    def change_key(self, token: str, *, widens: bool) -> dict[str, Any]:
        """Send a token that adds or removes a key; which records ended with it."""
        self._keep(token, widens=widens)
        return self._call("POST", "/v1/keys", {"vehicle": self._vehicle, "key": token}, {"ended": [Kind.TEXT]})

    def _keep(self, token: str, *, widens: bool) -> None:
        """Keep what is signed before it leaves. What cannot be kept widens nothing; a narrowing waits for no disk."""
        try:
            if self._kept is not None:
                self._kept.signed(token)
        except ConfigError as error:
            if widens:
                raise
            self._warn(f"{error}; the consent is narrowed all the same")

    def _hold_to(self, *stands: dict[str, Any]) -> None:
        """Keep the generation of an answer about records, and say so if it is behind what this cloud has shown."""
        if self._kept is None or not stands:
            return
        epoch, generation = max((each["epoch"], each["generation"]) for each in stands)
        if not 1 <= epoch <= EPOCH_MAX or generation > GENERATION_MAX:
            self._warn("the cloud shows an epoch or generation that no vehicle has; it is not kept")
            return
        try:
            behind = self._kept.saw(epoch, generation)
        except ConfigError as error:
            self._warn(f"{error}; what the cloud shows later cannot be held against this")
            return
        if behind:
            self._warn("the cloud shows less than it has shown before: it lost something or does not tell the truth")

    def _seen(self) -> dict[str, str]:
        """The header that tells what the owner was shown; none without a key or before the first time."""
        if self._key is None or self._kept is None or not self._kept.seen[1]:
            return {}
        seen = Seen(self._vehicle, *self._kept.seen, *self._kept.log_seen())
        return {HEADER: sign_seen(seen, self._key.secret)}

    def _owned(self, method: str, what: str, shape: Shape, query: str = "") -> dict[str, Any]:
        """A request that only the owner may make; his signature covers the whole path."""
        if self._key is None:
            raise ConfigError("key_missing", MISSING)
        path = f"/v1/vehicles/{self._vehicle}/{what}"
        document = {"method": method, "path": path, "time_ms": self._now_ms(), "vehicle": self._vehicle}
        token = jws.sign(jws.REQUEST, document, self._key.secret)
        return self._call(method, path + query, None, shape, {"Authorization": f"Carnet {token}"})

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        shape: Shape,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        every = {"Content-Type": "application/json", **self._seen(), **(headers or {})}
        request = urllib.request.Request(self._url + path, data=data, method=method, headers=every)
        try:
            return ask(Service(self._url, f"{self._url} does not answer", TIMEOUT_S), request, shape)
        except UnavailableError as error:
            raise UnavailableError(error.reason, hints.unreachable(self._url, error.__cause__)) from error
        except RemoteError as error:
            raise hints.refused(error) from error
