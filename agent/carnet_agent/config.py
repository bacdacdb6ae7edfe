"""Check ``agent.toml`` against `carnet_agent.settings`. ``docs/configuration.md`` describes each key.

Law: the only module that imports pydantic; it runs when the file has changed, in a process of its own. A path that
holds a secret names a file, never the secret.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from carnet.configerrors import sentence
from carnet.errors import ConfigError
from carnet.loopback import is_loopback
from carnet_agent.settings import Settings

T = TypeVar("T")

SIZE_BYTES_MAX = 1 << 20


def load(path: Path) -> Settings:
    """The settings in ``path``; relative paths in it are relative to the file. ConfigError says which key is wrong."""
    return parse(read(path), path)


def read(path: Path) -> bytes:
    """The bytes of a configuration file; ConfigError ``config_missing`` or ``config_too_large``."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            "config_missing", f"{path} cannot be read: {error.strerror}; name it with --config"
        ) from error
    if len(data) > SIZE_BYTES_MAX:
        raise ConfigError("config_too_large", f"{path} is larger than {SIZE_BYTES_MAX} bytes")
    return data


def parse(data: bytes, path: Path) -> Settings:
    """The settings in these bytes; ``path`` names them in errors and anchors relative paths."""
    document = parse_toml(data, path)
    try:
        # By way of JSON, since there strict means what it says: an array is a tuple, but "7" is no number.
        settings = TypeAdapter(Settings).validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        found = sentence(error.errors(include_url=False, include_input=False))
        raise ConfigError("config_value", f"{path}: {found}") from error
    for contradiction in _contradictions(settings):
        raise ConfigError("config_value", f"{path}: {contradiction}")
    return resolved(settings, path.absolute().parent)


def parse_toml(data: bytes, path: Path) -> dict[str, Any]:
    """The tables of a configuration file; ConfigError ``config_syntax``."""
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("config_syntax", f"{path} is not TOML in UTF-8: {error}") from error


def _contradictions(settings: Settings) -> Iterable[str]:
    """What each key alone does not show."""
    if not settings.bus:
        yield "bus: name at least one [[bus]]"
    names = [bus.name for bus in settings.bus]
    if len(set(names)) != len(names):
        yield "bus: two buses have one name"
    if len({bus.match for bus in settings.bus}) > 1:
        yield "bus: all buses must have the same 'match'"
    mqtt = settings.mqtt
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        yield "mqtt: cert_file and key_file belong together"
    if mqtt.cert_file is not None and mqtt.ca_file is None:
        yield "mqtt: a certificate needs ca_file, without which there is no TLS"
    if mqtt.ca_file is None and not is_loopback(mqtt.host):
        yield "mqtt: a broker on another machine needs ca_file, the authority that signed its certificate"
    if settings.operating.voltage_min is not None and settings.operating.voltage is None:
        yield "operating: voltage_min needs voltage"


def resolved(section: T, folder: Path) -> T:
    """A section with every relative path made absolute."""
    assert is_dataclass(section)
    assert not isinstance(section, type)
    changes = {part.name: _resolved_value(getattr(section, part.name), folder) for part in fields(section)}
    return replace(section, **changes)


def _resolved_value(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if is_dataclass(value):
        return resolved(value, folder)
    if isinstance(value, tuple):
        return tuple(_resolved_value(each, folder) for each in value)
    return value
