"""Whatever the bytes, open_down raises an error of ours or returns a message, signed and sealed ones too.

The first byte chooses: 0 the bytes as they come, else the type of a message whose content is sealed and signed here.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet.ack import Ack
from carnet.compression import compress
from carnet.down import (
    DownType,
    GrantSetMessage,
    Refusal,
    SchemaRequest,
    _binding,
    _header,
    _signed,
    open_down,
    seal_down,
)  # fmt: skip
from carnet.errors import RemoteError
from carnet.growth import Growth
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet
from carnet.padding import pad, unpad
from carnet.sealedbox import open_sealed, seal
from tests.fuzz.material import canonicalised, vectors

DOWNS = vectors("down")
SEEDS = {name: bytes.fromhex(value) for name, value in DOWNS["seeds"].items()}
CLOUD = SigningKey.from_seed(SEEDS["cloud_sign"])
RECEIVE = BoxKey.from_seed(SEEDS["device_receive"])
DEVICE = bytes.fromhex(DOWNS["device"])
SEALED = tuple(kind for kind in DownType if kind is not DownType.ACK)


def seeds() -> Iterable[bytes]:
    for vector in DOWNS["vectors"]:
        data = bytes.fromhex(vector["bytes"]) + bytes(vector.get("zeros", 0))
        yield b"\0" + data
        if vector["outcome"] == "accepted" and data[0] != DownType.ACK:
            content = unpad(open_sealed(data[26:-64], RECEIVE))[32:]
            yield data[:1] + (GrantSetMessage.parse(content).grant_set if data[0] == DownType.GRANT_SET else content)


def check(data: bytes) -> None:
    kind = data[0] % 8 if data else 0
    payload = _made(DownType(kind), data[1:]) if kind in SEALED else data[1:]
    try:
        message = open_down(payload, DEVICE, {CLOUD.kid: CLOUD.public}, RECEIVE)
    except RemoteError:
        return
    assert isinstance(message, Ack | GrantSetMessage | Refusal | KeySet | SchemaRequest | Growth)
    if kind in SEALED and not isinstance(message, Ack | GrantSetMessage):
        assert seal_down(message, DEVICE, CLOUD, RECEIVE.public, bytes(32)) == payload


def _made(kind: DownType, content: bytes) -> bytes:
    """The message of this content, as the cloud would make it."""
    header = _header(kind, DEVICE, CLOUD.kid)
    body = compress(content) if kind is DownType.GRANT_SET else canonicalised(content)
    return _signed(header + seal(pad(_binding(header, RECEIVE.kid) + body), RECEIVE.public, bytes(32)), CLOUD)
