"""Shell: the consent API over HTTP. Documents carry their own signatures; the API believes nothing else.

Reading is authorised by a short request that the owner's key signed: ``Authorization: Carnet <token>`` with the
document {"method","path","time_ms","vehicle"}; publishing an offer by the operator's token.

No postponed annotations here: FastAPI reads them, and some name what only a function knows.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from carnet import fields, jws
from carnet.enrolment import parse_enrolment
from carnet.errors import Error, FormatError, RemoteError, SignatureError, UnavailableError
from carnet.grants import Grant
from carnet.ids import RECORD, device_bytes, device_text, parse_id
from carnet.limits import NUMBER_MAX
from carnet.signals import Category, check_path
from carnet_cloud.consents import Consents, Ended
from carnet_cloud.enrol import admit, end_unit
from carnet_cloud.furtherkeys import change_keys, keys_of
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.ledger.receipts import Receipts
from carnet_cloud.offers import Offers
from carnet_cloud.statement import generation_of, records_of, statement_of
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.consents import StoredRecord
from carnet_cloud.why import Answer, vehicles_of

REQUEST_AGE_MS_MAX = 300_000
BODY_BYTES_MAX = 262_144
STEP_MAX = 2**31 - 1
EVENTS = "/v1/events"
ERRORS_TOLD = 3
LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)
DOCUMENT: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}
"""What FastAPI cannot know of a body that is read as bytes, because its signature or hash is of these bytes."""


class Refused(BaseModel):
    """What every refusal is answered with."""

    reason: str = Field(description="a snake_case word, see docs/consent.md")
    message: str = Field(description="a sentence for people")


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Refused, "description": "refused"},
    503: {"model": Refused, "description": "not now: ask again"},
}


class RecordBody(BaseModel):
    """A record on its way in."""

    model_config = ConfigDict(extra="forbid", strict=True)
    vehicle: str = Field(max_length=26)
    record: str = Field(max_length=16_384)


class EventBody(BaseModel):
    """An event of a record, signed by the owner."""

    model_config = ConfigDict(extra="forbid", strict=True)
    record: str = Field(max_length=20)
    event: str = Field(max_length=16_384)


class KeyBody(BaseModel):
    """A token by which a pinned key of the owner adds or removes another."""

    model_config = ConfigDict(extra="forbid", strict=True)
    vehicle: str = Field(max_length=26)
    key: str = Field(max_length=16_384)


@dataclass(frozen=True, slots=True)
class Visitor:
    """An owner of ``vehicle``: what was of another owner's epoch is none of his business."""

    vehicle: bytes
    epochs: frozenset[int]


class Door:
    """Who may come in: the operator with a token, an owner with a signed request."""

    def __init__(self, store: Store, consents: Consents, operator_token: str, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._consents = consents
        self._operator_token = operator_token
        self._now_ms = now_ms

    def seen(self, request: Request, carnet_seen: Annotated[str, Header()] = "") -> None:
        """Before anything else: the store is not behind what an owner's tool has seen, or is silent from here on.

        What is not an owner's word is refused, but never in the way of a withdrawal.
        """
        try:
            if carnet_seen:
                self._consents.seen(carnet_seen)
        except RemoteError:
            if request.url.path != EVENTS:
                raise

    def operator(self, authorization: Annotated[str, Header()] = "") -> None:
        """Return if the request carries the operator's token."""
        expected = f"Bearer {self._operator_token}".encode()
        if not self._operator_token or not hmac.compare_digest(authorization.encode(), expected):
            raise SignatureError("operator_token", "this needs the operator's token")

    def owner(self, request: Request, vehicle: str, authorization: Annotated[str, Header()] = "") -> Visitor:
        """Who signed this very request a short while ago: an owner of the vehicle, in the epochs that are his."""
        scheme, _, token = authorization.partition(" ")
        name = device_bytes(vehicle)
        if scheme != "Carnet" or not token:
            raise SignatureError("request_unsigned", "this needs a request that the owner's key signed")
        with self._store.transaction() as t:
            epochs = sorted({device.epoch for device in t.devices.of_vehicle(name)})
            keys = {epoch: owner_keys(t, name, epoch).keys for epoch in epochs}
        document = jws.verify(token, jws.REQUEST, [key for epoch in epochs for key in keys[epoch]])
        method, path, time_ms, signed_vehicle = fields.members(document, "method", "path", "time_ms", "vehicle")
        if (method, path, signed_vehicle) != (request.method, request.url.path, vehicle):
            raise SignatureError("request_other", "the signature is for another request")
        if abs(self._now_ms() - fields.number(time_ms)) > REQUEST_AGE_MS_MAX:
            raise SignatureError("request_old", "the signed request is too old, or a clock is wrong")
        return Visitor(name, frozenset(epoch for epoch in epochs if _signed(token, keys[epoch])))


def _signed(token: str, keys: Sequence[bytes]) -> bool:
    try:
        jws.verify(token, jws.REQUEST, keys)
    except RemoteError:
        return False
    return True


def make_api(
    store: Store,
    consents: Consents,
    offers: Offers,
    operator_token: str,
    now_ms: Callable[[], int],
    facts: Callable[[], dict[str, Any]],
    explain: Callable[[Transaction, bytes, str, int], list[Answer]],
    receipts: Receipts,
) -> FastAPI:
    """The application; ``facts`` are what ``/v1/health`` shows, ``explain`` is `carnet_cloud.why.why` of this cloud."""
    door = Door(store, consents, operator_token, now_ms)
    told = [Depends(door.seen)]
    api = FastAPI(
        title="Carnet consent API", version="1", docs_url=None, redoc_url=None, dependencies=told, responses=REFUSALS
    )
    # how much waits for whom is nobody else's business, and counting it costs the store
    api.get("/v1/health", dependencies=[Depends(door.operator)])(facts)
    _refusals(api)
    _for_operators(api, door, store, consents, now_ms)
    _offers(api, door, offers)
    _why(api, door, store, now_ms, explain)
    _for_everybody(api, store, consents)
    _keys(api, door, store, consents, now_ms)
    _for_owners(api, door, store, consents, now_ms)
    _log(api, door, store, receipts)
    return api


def _refusals(api: FastAPI) -> None:
    """Every error of ours is one JSON answer with its reason; no body is read that is too large."""

    @api.exception_handler(Error)
    def refused(_request: Request, error: Error) -> JSONResponse:
        status = 503 if isinstance(error, UnavailableError) else 401 if isinstance(error, SignatureError) else 400
        return JSONResponse({"reason": error.reason, "message": str(error)}, status_code=status)

    @api.exception_handler(RequestValidationError)
    def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        # where and what, never what was sent
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:ERRORS_TOLD])
        return JSONResponse({"reason": "request_malformed", "message": wrong}, status_code=422)

    # what the framework itself refuses: a body that is no text, a path or a method that is not there
    for status, reason in ((400, "request_malformed"), (404, "path_unknown"), (405, "method_unknown")):

        @api.exception_handler(status)
        def refused_before(_request: Request, error: HTTPException, reason: str = reason) -> JSONResponse:
            refusal = {"reason": reason, "message": str(error.detail)}
            return JSONResponse(refusal, status_code=error.status_code, headers=error.headers)

    @api.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Any]) -> Any:
        length = LENGTH.fullmatch(request.headers.get("content-length", ""))
        if request.method == "POST" and (length is None or int(length[0]) > BODY_BYTES_MAX):
            return JSONResponse({"reason": "body_size", "message": "the request is too large"}, status_code=413)
        return await call_next(request)


def _for_operators(api: FastAPI, door: Door, store: Store, consents: Consents, now_ms: Callable[[], int]) -> None:
    """Enrol a unit, end one."""
    guarded = [Depends(door.operator)]

    @api.post("/v1/enrolments", status_code=201, dependencies=guarded, openapi_extra=DOCUMENT)
    async def take_enrolment(request: Request, tenant: str, recover: bool = False) -> dict[str, str]:
        """Of a later epoch: the consents of the owner before end with it, and it returns when they are silent."""
        enrolment = parse_enrolment(await request.body())
        consents.end_tenures(enrolment.vehicle, lambda t: admit(t, enrolment, tenant, now_ms(), recover))
        return {"device": device_text(enrolment.device)}

    @api.post("/v1/devices/{device}/end", dependencies=guarded)
    def end_device(device: str) -> dict[str, Any]:
        """From now on nothing that this unit signs is taken; the consents of its car stay as they are."""
        return asdict(end_unit(store, device, now_ms()))


def _offers(api: FastAPI, door: Door, offers: Offers) -> None:
    """Offers are published and ended by the operator and read by everybody."""
    guarded = [Depends(door.operator)]

    @api.post("/v1/offers", status_code=201, dependencies=guarded, openapi_extra=DOCUMENT)
    async def publish_offer(request: Request) -> dict[str, str]:
        return {"id": offers.publish(await request.body())}

    @api.post("/v1/offers/{offer}/end", dependencies=guarded)
    def end_offer(offer: str) -> dict[str, Any]:
        """From now on nobody sees it or can agree to it; records from before stay as they are."""
        return asdict(offers.end(offer))

    @api.get("/v1/offers")
    def open_offers(vehicle: str) -> dict[str, list[str]]:
        """Offers of the vehicle's tenant, each as base64url of its bytes: what the owner signs is these bytes."""
        return {"offers": [jws.base64url(each) for each in offers.open_to(device_bytes(vehicle))]}

    @api.get("/v1/categories/{category}")
    def paths_of_category(category: Category) -> dict[str, list[str]]:
        """What an item that names this category means today, as far as this cloud's catalogue knows."""
        return {"paths": offers.paths_of(category)}


def _why(
    api: FastAPI,
    door: Door,
    store: Store,
    now_ms: Callable[[], int],
    explain: Callable[[Transaction, bytes, str, int], list[Answer]],
) -> None:
    """Which of all that has to agree stands between a path and its recipients."""

    @api.get("/v1/why", dependencies=[Depends(door.operator)])
    def why(path: str, vehicle: str = "") -> dict[str, Any]:
        with store.transaction() as t:
            found = [
                (name, answer)
                for name in vehicles_of(t, vehicle)
                for answer in explain(t, name, check_path(path), now_ms())
            ]
        return {"answers": [{**asdict(answer), "vehicle": device_text(name)} for name, answer in found]}


def _for_everybody(api: FastAPI, store: Store, consents: Consents) -> None:
    """What carries its own signature."""

    @api.post("/v1/records", status_code=201)
    def give(body: RecordBody) -> dict[str, Any]:
        return _answer(store, _grant(consents.give(body.record, body.vehicle)))

    @api.post(EVENTS)
    def happen(body: EventBody) -> dict[str, Any]:
        """Return for a withdrawal only when nothing more goes out under the record."""
        parse_id(body.record, RECORD)
        if body.event.startswith("{"):
            raise SignatureError("event_unsigned", "an event here needs the owner's signature")
        result = consents.event(body.event, body.record)
        return _answer(store, asdict(result) if isinstance(result, Ended) else _grant(result))


def _keys(api: FastAPI, door: Door, store: Store, consents: Consents, now_ms: Callable[[], int]) -> None:
    """Further keys of an owner."""

    @api.post("/v1/keys")
    def change_key(body: KeyBody) -> dict[str, Any]:
        """Return for a removal only when nothing more goes out under what the key has given."""
        return {"ended": change_keys(consents, body.key, body.vehicle, now_ms())}

    @api.get("/v1/vehicles/{vehicle}/keys")
    def keys(visitor: Annotated[Visitor, Depends(door.owner)]) -> dict[str, Any]:
        with store.transaction() as t:
            return {"keys": keys_of(t, visitor.vehicle, visitor.epochs)}


def _for_owners(api: FastAPI, door: Door, store: Store, consents: Consents, now_ms: Callable[[], int]) -> None:
    """What only the owner of the vehicle may read or confirm."""

    @api.get("/v1/vehicles/{vehicle}/records")
    def records(visitor: Annotated[Visitor, Depends(door.owner)]) -> dict[str, Any]:
        with store.transaction() as t:
            return {"records": records_of(t, visitor.vehicle, visitor.epochs, now_ms())}

    @api.get("/v1/vehicles/{vehicle}/statement")
    def statement(visitor: Annotated[Visitor, Depends(door.owner)]) -> dict[str, Any]:
        with store.transaction() as t:
            return statement_of(t, visitor.vehicle, visitor.epochs, now_ms())

    # the record stands in the path, because the path is what the owner signs
    @api.post("/v1/vehicles/{vehicle}/confirm/{record}")
    def confirm(visitor: Annotated[Visitor, Depends(door.owner)], record: str) -> dict[str, str]:
        """After a restored store: the owner has seen the record as it stands, and it may be sent again."""
        with store.transaction() as t:
            _require_own(t, visitor, record)
        consents.confirm(record)
        return {"record": record}


def _log(api: FastAPI, door: Door, store: Store, receipts: Receipts) -> None:
    """What can be checked for ever: receipts for the owner, heads and proofs for everybody."""

    @api.get("/v1/vehicles/{vehicle}/receipts/{record}")
    def receipts_of(
        visitor: Annotated[Visitor, Depends(door.owner)],
        record: str,
        after: Annotated[int, Query(ge=-1, le=STEP_MAX)] = -1,
    ) -> dict[str, Any]:
        """Receipts of the entries and accounts of a record, behind the step ``after``."""
        with store.transaction() as t:
            return receipts.of(t, _require_own(t, visitor, record), after)

    @api.get("/v1/log")
    def head(
        origin: str,
        first: Annotated[int, Query(ge=0, le=NUMBER_MAX)] = 0,
        second: Annotated[int | None, Query(ge=0, le=NUMBER_MAX)] = None,
    ) -> dict[str, Any]:
        """The newest checkpoint of a log, and the proof that ``second`` leaves of it begin with the ``first`` ones."""
        with store.transaction() as t:
            return receipts.head(t, origin, first, second)

    @api.get("/v1/log/first")
    def first_leaf(origin: str) -> dict[str, Any]:
        """The receipt of a log's first leaf."""
        with store.transaction() as t:
            return receipts.first(t, origin)


def _require_own(t: Transaction, visitor: Visitor, record: str) -> StoredRecord:
    """The record, if it is of this owner's vehicle and time. RemoteError ``record_unknown``."""
    known = t.consents.record(record)
    if known is None or known.vehicle != visitor.vehicle or known.epoch not in visitor.epochs:
        raise RemoteError("record_unknown", "this vehicle has no such record")
    return known


def _answer(store: Store, stands: dict[str, Any]) -> dict[str, Any]:
    """How a record stands, with the generation that the owner's tool may hold us to."""
    with store.transaction() as t:
        stored = t.consents.record(stands["record"])
        return {**stands, **(generation_of(t, stored) if stored else {})}


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "record": grant.record_id,
        "state": grant.state.value,
        "expires_ms": grant.expires_ms,
        "event_seq": grant.event_seq,
        "head": grant.head_hash,
    }


def check_token(text: str, reason: str = "operator_token") -> str:
    """A token from its file; FormatError with this reason if it is too short to be one."""
    token = text.strip()
    if len(token) < 24:
        raise FormatError(reason, "an operator's or recipient's token has at least 24 characters")
    return token
