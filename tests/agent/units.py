"""A unit's files for tests: a configuration over the demonstration car's DBCs, an owner's and a cloud's public keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carnet import canonical, jws
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey

DBC = Path(__file__).resolve().parents[2] / "dbc"
OWNER = SigningKey.from_seed(b"o" * 32)
CLOUD_SEAL = BoxKey.from_seed(b"c" * 32)
CLOUD_SIGN = SigningKey.from_seed(b"d" * 32)
CLOUD = KeySet(1, (PublicKey.of(CLOUD_SEAL.public),), (PublicKey.of(CLOUD_SIGN.public),))


@dataclass(frozen=True, slots=True)
class Unit:
    """Files of one unit."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def owner_key(self) -> Path:
        return self.folder / "owner.public.json"

    @property
    def cloud_keys(self) -> Path:
        return self.folder / "cloud.public.json"


def config_text(port: int = 1883, extra: str = "") -> str:
    """A configuration that is right; ``extra`` goes to its end."""
    return f"""
[unit]
state = "state"

[mqtt]
host = "127.0.0.1"
port = {port}

[[bus]]
name = "can0"
interface = "udp_multicast"
channel = "239.74.163.2"
dbc = ["{DBC}/carnet_demo.dbc"]
mapping = ["{DBC}/carnet_demo.map.toml"]
options = {{ port = 43113 }}
{extra}"""


def make_unit(folder: Path, text: str | None = None) -> Unit:
    """Write the files of a unit that is not paired yet."""
    unit = Unit(folder)
    unit.config.write_text(config_text() if text is None else text)
    unit.owner_key.write_bytes(canonical.encode(jws.jwk(OWNER.public)))
    unit.cloud_keys.write_bytes(CLOUD.encode())
    return unit
