"""The owner's tool before a cloud that answers in place of the network, for tests of what an owner types.

Fixtures: whoever needs them imports them.
"""

from __future__ import annotations

import asyncio
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest

from carnet.cli import main, owner
from carnet.keys import OWNER_SIGN, encode_key
from carnet_cloud.api import make_api
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit


def facts() -> dict[str, Any]:
    """What the running service would say of itself."""
    return {}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud with one vehicle and one offer, which answers in place of the network."""
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    cloud.offers.publish(kit.OFFER)
    api = make_api(
        cloud.store,
        cloud.consents,
        cloud.offers,
        "an operator's token of 32 characters",
        cloud.clock.now_ms,
        facts,
        *cloud.tell,
    )

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(api)) as client:
                data: Any = request.data
                return await client.request(
                    request.get_method(), request.full_url, content=data, headers=dict(request.header_items())
                )

        answer = asyncio.run(ask())
        if answer.status_code >= 400:
            raise urllib.error.HTTPError(
                request.full_url, answer.status_code, "", Message(), io.BytesIO(answer.content)
            )
        return io.BytesIO(answer.content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(owner, "_now_ms", cloud.clock.now_ms)
    return cloud


@pytest.fixture
def owned(cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command of the vehicle's owner: exit code, output, errors."""
    key = tmp_path / "owner.key"
    key.write_text(encode_key(OWNER_SIGN, bytes([0x11]) * 32))
    key.chmod(0o600)

    def run(command: str, *words: str) -> tuple[int, str, str]:
        code = main(["owner", command, "--vehicle", kit.VEHICLE, "--key", str(key), *words])
        return code, *capsys.readouterr()

    return run
