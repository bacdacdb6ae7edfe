"""The consent API believes signatures and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from carnet import jws
from carnet.keys import SigningKey
from carnet_cloud.api import make_api
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

TOKEN = "an operator's token of enough characters"
JSON = {"Content-Type": "application/json"}
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    return cloud


class Client:
    """Speaks HTTP to the application without a socket."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **options))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._api), base_url="http://carnet") as client:
            return await client.request(method, path, **options)


def facts() -> dict[str, Any]:
    """What the running service would say of itself."""
    return {"connected": False}


@pytest.fixture
def client(cloud: Cloud) -> Client:
    return Client(make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell))


def owned(cloud: Cloud, where: str, key: SigningKey = kit.OWNER_KEY, **changes: Any) -> dict[str, str]:
    """The header of a request that the owner signed."""
    document = {"method": "GET", "path": where, "time_ms": cloud.clock.ms, "vehicle": kit.VEHICLE, **changes}
    return {"Authorization": f"Carnet {jws.sign(jws.REQUEST, document, key.secret)}"}


def given(client: Client) -> str:
    client.post("/v1/offers", content=kit.OFFER, headers=OPERATOR)
    token = kit.token()
    answer = client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": token})
    assert answer.status_code == 201, answer.text
    return token


def test_offer_record_event_statement(cloud: Cloud, client: Client) -> None:
    """The whole way of a consent, as an owner's tool goes it."""
    token = given(client)
    offers = client.get("/v1/offers", params={"vehicle": kit.VEHICLE}).json()["offers"]
    assert [jws.base64url_bytes(each) for each in offers] == [kit.OFFER]
    path = f"/v1/vehicles/{kit.VEHICLE}/records"
    (record,) = client.get(path, headers=owned(cloud, path)).json()["records"]
    assert (record["record"], record["state"], record["event_seq"]) == (kit.RECORD_ID, "given", 0)
    event = kit.event("withdraw", [token], cloud.clock.ms)
    answer = client.post("/v1/events", json={"record": kit.RECORD_ID, "event": event}).json()
    assert answer["state"] == "withdrawn"
    path = f"/v1/vehicles/{kit.VEHICLE}/statement"
    (entry,) = client.get(path, headers=owned(cloud, path)).json()["records"]
    assert (entry["state"], entry["outcomes"], entry["log_position"]) == ("withdrawn", {}, 4)


def test_every_answer_about_a_record_tells_the_generation_of_its_car(cloud: Cloud, client: Client) -> None:
    """So that the owner's tool can hold the cloud to it."""
    client.post("/v1/offers", content=kit.OFFER, headers=OPERATOR)
    token = kit.token()
    answers = [client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": token}).json()]
    pause = kit.event("pause", [token], cloud.clock.ms)
    events = [pause, kit.event("withdraw", [token, pause], cloud.clock.ms)]
    answers += [client.post("/v1/events", json={"record": kit.RECORD_ID, "event": each}).json() for each in events]
    for what in ("records", "statement"):
        path = f"/v1/vehicles/{kit.VEHICLE}/{what}"
        answers += client.get(path, headers=owned(cloud, path)).json()["records"]
    # given, paused, then withdrawn and silent
    assert [(answer["epoch"], answer["generation"]) for answer in answers] == [(1, 1), (1, 2), (1, 4), (1, 4), (1, 4)]


def test_list_and_statement_call_an_expired_record_by_the_same_word(cloud: Cloud, client: Client) -> None:
    """No event ends it and no job: both ask the clock."""
    given(client)
    cloud.clock.ms += 40 * kit.DAY_MS
    paths = [f"/v1/vehicles/{kit.VEHICLE}/{what}" for what in ("records", "statement")]
    answers = [client.get(path, headers=owned(cloud, path)).json()["records"] for path in paths]
    assert [record["state"] for records in answers for record in records] == ["expired", "expired"]


def test_an_offer_needs_the_operators_token(client: Client) -> None:
    """Nobody else publishes."""
    assert client.post("/v1/offers", content=kit.OFFER).status_code == 401
    assert client.post("/v1/offers", content=kit.OFFER, headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize(
    "changes", [{"path": "/v1/other"}, {"method": "POST"}, {"vehicle": kit.OTHER_VEHICLE}, {"time_ms": 1}]
)
def test_a_signature_for_another_request_is_refused(cloud: Cloud, client: Client, changes: dict[str, Any]) -> None:
    """Another path, method, vehicle or time."""
    path = f"/v1/vehicles/{kit.VEHICLE}/records"
    assert client.get(path, headers=owned(cloud, path, **changes)).status_code == 401


def test_a_stranger_reads_nothing(cloud: Cloud, client: Client) -> None:
    """No header, another scheme, another key."""
    path = f"/v1/vehicles/{kit.VEHICLE}/statement"
    assert client.get(path).status_code == 401
    assert client.get(path, headers=OPERATOR).status_code == 401
    assert client.get(path, headers=owned(cloud, path, key=kit.OTHER_KEY)).status_code == 401


def test_an_unsigned_event_is_refused_at_the_door(client: Client) -> None:
    """What operators write themselves does not come in over the owners' API."""
    token = given(client)
    answer = client.post("/v1/events", json={"record": kit.RECORD_ID, "event": kit.event("revoke", [token])})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"vehicle": 1, "record": 2}', b'{"vehicle":"a","record":"b","more":1}', b"\xff", b"{" * 1000],
)
def test_rubbish_gets_one_answer_and_no_traceback(client: Client, body: bytes) -> None:
    """A status of the caller's fault, never of ours."""
    answer = client.post("/v1/records", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500


def test_why_is_for_the_operator_and_for_any_path(cloud: Cloud, client: Client) -> None:
    """A path that goes, one that the offer has not, and one that nobody knows."""
    given(client)
    assert client.get("/v1/why", params={"path": kit.SPEED}).status_code == 401
    verdicts = {
        path: [a["verdict"] for a in client.get("/v1/why", params={"path": path}, headers=OPERATOR).json()["answers"]]
        for path in (kit.SPEED, kit.ODOMETER, kit.LATITUDE)
    }
    assert verdicts == {kit.SPEED: ["forwarded"], kit.ODOMETER: ["forwarded"], kit.LATITUDE: ["schema"]}
    assert client.get("/v1/why", params={"path": "nonsense"}, headers=OPERATOR).status_code == 400


def test_a_huge_body_is_refused(client: Client) -> None:
    """Before it is read."""
    assert client.post("/v1/offers", content=b"x" * 300_000, headers=OPERATOR).status_code == 413


@pytest.mark.parametrize(
    "method, path, options, status, reason",
    [
        ("GET", "/nothing", {}, 404, "path_unknown"),
        ("DELETE", "/v1/offers", {}, 405, "method_unknown"),
        ("GET", "/v1/offers", {}, 422, "request_malformed"),
        ("POST", "/v1/records", {"json": {"vehicle": 1, "record": "private"}}, 422, "request_malformed"),
        ("POST", "/v1/records", {"content": b"\xff"}, 422, "request_malformed"),
        ("POST", "/v1/records", {"content": b"\xff", "headers": JSON}, 400, "request_malformed"),
        ("POST", "/v1/records", {"content": b"[" * 100_000, "headers": JSON}, 400, "request_malformed"),
        ("POST", "/v1/records", {"headers": {"Content-Length": b"\xb2"}}, 413, "body_size"),
        ("POST", "/v1/records", {"headers": {"Content-Length": "9" * 5000}}, 413, "body_size"),
    ],
)
def test_what_the_framework_refuses_has_the_form_of_every_refusal(
    client: Client, method: str, path: str, options: dict[str, Any], status: int, reason: str
) -> None:
    """And says nothing of what was sent."""
    answer = client.ask(method, path, **options)
    assert (answer.status_code, set(answer.json())) == (status, {"reason", "message"})
    assert answer.json()["reason"] == reason and "private" not in answer.text
