"""Shell: the doors for those who run the cloud: whether it is ready, its numbers, a copy of its store.

Law: without a token only names of what is ready are told, from memory: whoever reaches the port costs the store
nothing. Numbers tell how much who gets, so they need one.

No postponed annotations here: FastAPI reads them, and some name what only a function knows.
"""

import hmac
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response

from carnet.errors import SignatureError
from carnet_cloud.api import Door
from carnet_cloud.monitoring.readiness import Readiness

TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format"}
}


def add_watching(
    api: FastAPI, readiness: Readiness, text: Callable[[str], tuple[bytes, str]], tokens: tuple[str, ...]
) -> None:
    """``text`` gives (body, content type) for what a reader accepts; ``tokens`` open /metrics, none keeps it shut."""

    def reader(authorization: Annotated[str, Header()] = "") -> None:
        """Return if the request carries one of the tokens."""
        asked = authorization.encode()
        if not any(hmac.compare_digest(asked, f"Bearer {token}".encode()) for token in tokens if token):
            raise SignatureError("metrics_token", "this needs the token of api.metrics_token_file, or the operator's")

    @api.get("/healthz")
    def alive() -> dict[str, bool]:
        """That it serves, and which parts are ready."""
        return readiness.stands()

    @api.get("/readyz")
    def ready() -> dict[str, bool]:
        """200 if everything is ready; 503 ``not_ready`` names what is not."""
        readiness.require()
        return {"ready": True}

    @api.get("/metrics", dependencies=[Depends(reader)], response_class=Response, responses=TEXT)
    def metrics(request: Request) -> Response:
        """Every number, as docs/operations.md lists them."""
        body, content_type = text(request.headers.get("accept", ""))
        return Response(body, media_type=content_type)


def add_backups(api: FastAPI, door: Door, fill: Callable[[], int]) -> None:
    """``fill`` makes the copy beside the store, where `carnet-cloud backup` takes it from; its bytes."""

    @api.post("/v1/backups", status_code=201, dependencies=[Depends(door.operator)])
    def back_up() -> dict[str, int]:
        """Answered when the copy is whole; consents and readings go on meanwhile."""
        return {"size_bytes": fill()}
