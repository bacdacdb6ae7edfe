"""The consent API against its own OpenAPI document: no answer is a crash, whatever is asked; a refusal has its form.

Schemathesis makes the requests. Each is sent by a stranger, by the operator, and by an owner whose signature, vehicle
and documents are real where the request has room for them, so that it gets behind the door; one for a replay by the
recipient, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from carnet.ids import device_text
from carnet.ownerkeys import sign_addition
from carnet_cloud.api import Door, make_api
from carnet_cloud.monitoring.readiness import Readiness
from carnet_cloud.monitoring.watching import add_backups, add_watching
from carnet_cloud.replay import Replaying
from carnet_cloud.replayapi import add_replays
from carnet_cloud.running.backup import Spool
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, NOW_MS, Cloud, Unit
from tests.cloud.test_api import OPERATOR, TOKEN, facts, owned

EXAMPLES = 30
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SIGNED_BYTES = {"POST /v1/offers", "POST /v1/enrolments"}
"""What is made up here is never canonical or signed; tests/fuzz has targets for these documents."""
OFFER = kit.offer_bytes(replay_ms=3_600_000)
RECORD = kit.token(OFFER)
RECIPIENT_TOKEN = "their own token, which opens their replay"
RECIPIENT = {"Authorization": f"Bearer {RECIPIENT_TOKEN}"}
REAL: dict[str, Any] = {
    "path": kit.SPEED,
    "origin": f"carnet.example/log/{kit.TENANT}",
    "offer": kit.OFFER_ID,
    "device": device_text(DEVICE),
    "vehicle": kit.VEHICLE,
    "recipient": kit.RECIPIENT,
    "record": RECORD,
    "event": kit.event("pause", [RECORD]),
    "key": sign_addition(kit.OWNER, kit.OTHER_KEY.public, NOW_MS, kit.OWNER_KEY.secret),
}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """One that has an offer and a consent, under which its recipient has an event that it may ask for again."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    cloud.offers.publish(OFFER)
    cloud.consents.give(RECORD, kit.VEHICLE)
    cloud.send(unit.schema(), unit.data())
    with cloud.store.transaction() as t:
        (event,) = t.outbox.due(kit.RECIPIENT, b"owner", cloud.clock.ms, 9)
        t.outbox.lease([event.event_id], b"owner", cloud.clock.ms + 400)
        t.outbox.confirm([event.event_id], b"owner", cloud.clock.ms)
    REAL["first"] = event.event_id.hex()
    return cloud


@pytest.fixture
def described(cloud: Cloud, tmp_path: Path) -> Any:
    """What the application says of itself."""
    api = make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell)
    add_watching(api, Readiness({}), lambda _: (b"# nothing\n", "text/plain; version=0.0.4"), (TOKEN,))
    add_backups(
        api, Door(cloud.store, cloud.consents, TOKEN, cloud.clock.now_ms), Spool(cloud.store, tmp_path / "s").fill
    )
    add_replays(api, Replaying(cloud.store, cloud.book.standing, cloud.clock.now_ms), {kit.RECIPIENT: RECIPIENT_TOKEN})
    return schemathesis.openapi.from_asgi("/openapi.json", api)


def test_no_request_is_answered_by_a_crash_and_every_refusal_has_its_form(described: Any, cloud: Cloud) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    # what ends the offer and the unit comes after what needs them
    operations.sort(key=lambda operation: operation.label.endswith("/end"))
    done = set()
    for operation in operations:

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        def ask(case: Any) -> None:
            owner = real(case)
            asker = [(owner, RECIPIENT)] if owner.operation.label.endswith("/replay") else []
            signed = owned(cloud, owner.formatted_path, method=owner.method)
            for one, headers in ((case, {}), (case, OPERATOR), (owner, signed), (owner, OPERATOR), *asker):
                answer = one.call(headers={**(one.headers or {}), **headers})
                judge(one, answer)
                if answer.status_code < 400:
                    done.add(one.operation.label)

        ask()
    # whoever only ever hears that he is refused has not been behind the door
    assert {operation.label for operation in operations} - done == SIGNED_BYTES


def judge(case: Any, answer: Any) -> None:
    """AssertionError, or one of schemathesis, for an answer that the document does not allow."""
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        refusal = answer.json()
        assert set(refusal) == {"reason", "message"}
        assert all(isinstance(text, str) and text for text in refusal.values())


def real(case: Any) -> Any:
    """The same request about the example owner's vehicle, with one of his documents or both."""
    path, query, body = dict(case.path_parameters), dict(case.query), case.body
    # what is left as it was made up depends on the request alone, so that a run repeats
    some = len(repr((path, query, body))) % 3
    left = ("", "vehicle", "path")[some]
    for place in (path, query):
        known = ("vehicle", "path", "offer", "device", "origin", "recipient")
        place.update({name: REAL[name] for name in known if name in place and name not in left})
    if "record" in path and some:
        path["record"] = kit.RECORD_ID
    if isinstance(body, dict):
        names = [name for name in REAL if name in body]
        documents = REAL | ({"record": kit.RECORD_ID} if "event" in body else {})
        body = body | {name: documents[name] for name in names[: some or None]}
    return case.operation.Case(
        method=case.method, path_parameters=path, query=query, headers={}, body=body, media_type=case.media_type
    )
