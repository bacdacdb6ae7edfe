"""Shell: the consent API over HTTP. Documents carry their own signatures; the API believes nothing else.

Reading is authorised by a short request that the owner's key signed: ``Authorization: Carnet <token>`` with the
document {"method","path","time_ms","vehicle"}; publishing an offer by the operator's token.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from carnet import fields, jws
from carnet.errors import Error, FormatError, RemoteError, SignatureError, UnavailableError
from carnet.grants import Grant
from carnet.ids import device_bytes, parse_id
from carnet_cloud.consents import Consents, Ended
from carnet_cloud.enrol import enrol
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.statement import records_of, statement_of
from carnet_cloud.store import Store

REQUEST_AGE_MS_MAX = 300_000
BODY_BYTES_MAX = 262_144


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


def make_api(
    store: Store,
    consents: Consents,
    operator_token: str,
    now_ms: Callable[[], int],
    facts: Callable[[], dict[str, Any]],
) -> FastAPI:
    """The application; ``facts`` are the counters that ``/healthz`` shows."""
    api = FastAPI(title="Carnet consent API", version="1", docs_url=None, redoc_url=None)

    @api.exception_handler(Error)
    def refused(_request: Request, error: Error) -> JSONResponse:
        status = 503 if isinstance(error, UnavailableError) else 401 if isinstance(error, SignatureError) else 400
        return JSONResponse({"reason": error.reason, "message": str(error)}, status_code=status)

    @api.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Any]) -> Any:
        if int(request.headers.get("content-length") or 0) > BODY_BYTES_MAX:
            return JSONResponse({"reason": "body_size", "message": "the request is too large"}, status_code=413)
        return await call_next(request)

    def operator(authorization: Annotated[str, Header()] = "") -> None:
        if not operator_token or not hmac.compare_digest(authorization.encode(), f"Bearer {operator_token}".encode()):
            raise SignatureError("operator_token", "this needs the operator's token")

    def owner(request: Request, vehicle: str, authorization: Annotated[str, Header()] = "") -> bytes:
        """The vehicle whose owner signed this very request a short while ago."""
        scheme, _, token = authorization.partition(" ")
        name = device_bytes(vehicle)
        with store.transaction() as t:
            keys = [key for device in t.devices.of_vehicle(name) for key in owner_keys(t, name, device.epoch).keys]
        document = jws.verify(token, jws.REQUEST, keys) if scheme == "Carnet" and token else None
        if document is None:
            raise SignatureError("request_unsigned", "this needs a request that the owner's key signed")
        method, path, time_ms, signed_vehicle = fields.members(document, "method", "path", "time_ms", "vehicle")
        if (method, path, signed_vehicle) != (request.method, request.url.path, vehicle):
            raise SignatureError("request_other", "the signature is for another request")
        if abs(now_ms() - fields.number(time_ms)) > REQUEST_AGE_MS_MAX:
            raise SignatureError("request_old", "the signed request is too old, or a clock is wrong")
        return name

    @api.get("/healthz")
    def health() -> dict[str, Any]:
        return facts()

    @api.post("/v1/offers", status_code=201, dependencies=[Depends(operator)])
    async def publish_offer(request: Request) -> dict[str, str]:
        return {"id": consents.offer(await request.body())}

    @api.get("/v1/offers")
    def offers(vehicle: str) -> dict[str, list[str]]:
        """Offers of the vehicle's tenant, each as base64url of its bytes: what the owner signs is these bytes."""
        with store.transaction() as t:
            tenants = sorted({device.tenant for device in t.devices.of_vehicle(device_bytes(vehicle))})
            return {"offers": [jws.base64url(each) for tenant in tenants for each in t.consents.offers(tenant)]}

    @api.post("/v1/enrolments", status_code=201, dependencies=[Depends(operator)])
    async def take_enrolment(request: Request, tenant: str) -> dict[str, str]:
        return {"device": enrol(store, await request.body(), tenant, now_ms())}

    @api.post("/v1/records", status_code=201)
    def give(body: RecordBody) -> dict[str, Any]:
        return _grant(consents.give(body.record, body.vehicle))

    @api.post("/v1/events")
    def happen(body: EventBody) -> dict[str, Any]:
        """Returns for a withdrawal only when nothing more goes out under the record."""
        parse_id(body.record, "rec_")
        if body.event.startswith("{"):
            raise SignatureError("event_unsigned", "an event here needs the owner's signature")
        result = consents.event(body.event, body.record)
        return asdict(result) if isinstance(result, Ended) else _grant(result)

    @api.get("/v1/vehicles/{vehicle}/records")
    def records(name: Annotated[bytes, Depends(owner)]) -> dict[str, Any]:
        with store.transaction() as t:
            return {"records": records_of(t, name, now_ms())}

    @api.get("/v1/vehicles/{vehicle}/statement")
    def statement(name: Annotated[bytes, Depends(owner)]) -> dict[str, Any]:
        with store.transaction() as t:
            return statement_of(t, name, now_ms())

    @api.post("/v1/vehicles/{vehicle}/confirm")
    def confirm(name: Annotated[bytes, Depends(owner)], record: str) -> dict[str, str]:
        """After a restored store: the owner has seen the record as it stands, and it may be sent again."""
        with store.transaction() as t:
            known = t.consents.record(record)
        if known is None or known.vehicle != name:
            raise RemoteError("record_unknown", "this vehicle has no such record")
        consents.confirm(record)
        return {"record": record}

    @api.get("/v1/why", dependencies=[Depends(operator)])
    def why(vehicle: str = "") -> dict[str, Any]:
        with store.transaction() as t:
            found = (
                t.blocks.all()
                if not vehicle
                else [(device_bytes(vehicle), b) for b in t.blocks.of(device_bytes(vehicle))]
            )
        return {"blocks": [{**asdict(block), "vehicle": name.hex()} for name, block in found]}

    return api


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "record": grant.record_id,
        "state": grant.state.value,
        "expires_ms": grant.expires_ms,
        "event_seq": grant.event_seq,
        "head": grant.head_hash,
    }


def check_token(text: str) -> str:
    """The operator's token from its file; FormatError if it is too short to be one."""
    token = text.strip()
    if len(token) < 24:
        raise FormatError("operator_token", "an operator's token has at least 24 characters")
    return token
