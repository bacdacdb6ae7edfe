"""Shell: where a recipient asks for its events once more, with a token of its own.

No postponed annotations here, as in `carnet_cloud.api`.
"""

import hmac
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from pydantic import BaseModel, ConfigDict, Field

from carnet.errors import SignatureError
from carnet_cloud.replay import Replaying


class ReplayBody(BaseModel):
    """From which event on."""

    model_config = ConfigDict(extra="forbid", strict=True)
    first: str = Field(max_length=32, description="id of the first event that is to come again")


def add_replays(api: FastAPI, replaying: Replaying, tokens: Mapping[str, str]) -> None:
    """``tokens``: by recipient; one that has none cannot ask."""

    def known(recipient: str, authorization: Annotated[str, Header()] = "") -> str:
        """The recipient whose token this is. An unknown one is told what a wrong token is told."""
        token = tokens.get(recipient, "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()) or not token:
            raise SignatureError("recipient_token", "this needs the recipient's own token")
        return recipient

    @api.post("/v1/recipients/{recipient}/replay", status_code=202)
    def ask(body: ReplayBody, recipient: Annotated[str, Depends(known)]) -> dict[str, Any]:
        return asdict(replaying.ask(recipient, body.first))

    @api.get("/v1/recipients/{recipient}/replay")
    def report(recipient: Annotated[str, Depends(known)]) -> dict[str, Any]:
        return asdict(replaying.report(recipient))
