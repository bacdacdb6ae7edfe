"""What ``agent.toml`` says, as the running agent holds it: plain frozen classes, which need no validator to load.

Law: the description of a key stands beside it and nowhere else; `carnet_agent.config` checks a file against these
classes. A key that is absent means something else than zero or an empty list, and the description says what.
"""

# ruff: noqa: RUF009 -- _key makes a dataclass field
from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from carnet.signals import Category, Sensitivity


@dataclass(frozen=True, slots=True)
class Limits:
    """What a value must keep to, in the words of pydantic's core (``ge``, ``le``, ``min_length``).

    Of our own, because the packages that have such classes cost the running agent a megabyte.
    """

    ge: int | None = None
    le: int | None = None
    min_length: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {**handler(source), **given}


Positive = Annotated[int, Limits(ge=1)]
NotEmpty = Annotated[str, Limits(min_length=1)]
STRICT = {"extra": "forbid", "strict": True}
SIZE_BYTES_DEFAULT = 256 << 20
SIZE_BYTES_LEAST = 1 << 20


def _key(description: str, default: Any = MISSING, *, factory: Any = MISSING) -> Any:
    """A field with its description; `dataclasses.field` with one of its two kinds of default."""
    metadata = {"description": description}
    if factory is not MISSING:
        return field(metadata=metadata, default_factory=factory)
    return field(metadata=metadata) if default is MISSING else field(metadata=metadata, default=default)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSection:
    """The unit itself."""

    __pydantic_config__ = STRICT

    state: Path = _key("folder for keys, buffer, consents and compiled plans; made with mode 0700")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSection:
    """One CAN bus; the table is repeated for each."""

    __pydantic_config__ = STRICT

    name: NotEmpty = _key("the bus's name in mappings and in private paths, such as can0")
    channel: NotEmpty = _key("interface (can0), port (/dev/ttyACM0) or address that the adapter is reached by")
    interface: NotEmpty = _key("socketcan, or the name of a python-can interface", "socketcan")
    dbc: tuple[Path, ...] = _key("DBC files of this bus; an empty list listens to nothing")
    mapping: tuple[Path, ...] = _key(
        "mapping files of these DBCs; without one every signal is private and unmapped", ()
    )
    match: Literal["id", "pgn"] = _key(
        "how messages are found: by identifier, or by J1939 parameter group; the same for all buses", "id"
    )
    receive_buffer_bytes: Positive | None = _key(
        "socketcan only: room in the kernel between two reads; absent: more than a second of a full bus", None
    )
    options: Mapping[str, str | int | float | bool] = _key(
        "handed to python-can as they are; listen-only cannot be switched off", factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSection:
    """The broker. With certificates the broker takes the certificate's name as user name and client id."""

    __pydantic_config__ = STRICT

    host: NotEmpty = _key("broker's host name or address")
    port: Annotated[int, Limits(ge=1, le=65535)] = _key("broker's port", 8883)
    username: str = _key("name at the broker; empty: the device's id, if there is a password", "")
    password_file: Path | None = _key("file with the password; absent: no password", None)
    ca_file: Path | None = _key(
        "authority that signed the broker's certificate; absent: no TLS, for a broker on this machine only", None
    )
    cert_file: Path | None = _key("this unit's certificate; absent: none is shown", None)
    key_file: Path | None = _key("key of this unit's certificate", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSection:
    """What waits for the cloud."""

    __pydantic_config__ = STRICT

    size_bytes_max: Annotated[int, Limits(ge=SIZE_BYTES_LEAST)] = _key(
        "largest size of the buffer's database; beyond it the least important and oldest goes, counted",
        SIZE_BYTES_DEFAULT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingSection:
    """What this car ever gives, whoever asks. It only takes away."""

    __pydantic_config__ = STRICT

    categories: tuple[Category, ...] | None = _key(
        "categories that may leave the car; absent: all; an empty list: none", None
    )
    sensitivity: Sensitivity = _key("the most private that may leave the car", Sensitivity.SPECIAL)
    interval_ms_min: Mapping[Category, Positive] = _key(
        "by category, the least time between two samples of a signal; absent: as the car sends it", factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSection:
    """Signals that the unit reads for itself. They are never stored and never sent on this account."""

    __pydantic_config__ = STRICT

    ignition: NotEmpty | None = _key(
        "path of a signal that is 0 with the ignition off; absent: the unit does not know", None
    )
    voltage: NotEmpty | None = _key("path of the 12 V battery's voltage; absent: the unit does not know", None)
    voltage_min: float | None = _key("V; below it the open window is written at once; absent: never", None)
    gnss_time: NotEmpty | None = _key(
        "path of a signal with the time in seconds since 1970; absent: time comes from cloud and NTP", None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsSection:
    """How the unit treats grants while it does not know the time."""

    __pydantic_config__ = STRICT

    untimed_days_max: Annotated[int, Limits(ge=0, le=7)] = _key(
        "days of powered-on time that a grant lasts without trusted time; 0: such a grant gives nothing", 7
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """What the unit says on its standard error, which systemd keeps in the journal."""

    __pydantic_config__ = STRICT

    format: Literal["text", "json"] = _key("text: sentences for people; json: an object a line, for machines", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of agent.toml; every path is absolute."""

    __pydantic_config__ = STRICT

    unit: UnitSection = _key("the unit itself")
    bus: tuple[BusSection, ...] = _key("the CAN buses, one [[bus]] for each")
    mqtt: MqttSection = _key("the broker")
    buffer: BufferSection = _key("what waits for the cloud", factory=BufferSection)
    ceiling: CeilingSection = _key("what this car ever gives", factory=CeilingSection)
    operating: OperatingSection = _key("signals that the unit reads for itself", factory=OperatingSection)
    grants: GrantsSection = _key("grants without trusted time", factory=GrantsSection)
    log: LogSection = _key("what the unit says", factory=LogSection)


def to_json(settings: Settings) -> str:
    """Settings as text; `from_json` reads them back."""
    return json.dumps(dataclasses.asdict(settings), default=str)


def from_json(text: str) -> Settings:
    """Settings that were validated before; KeyError, TypeError or ValueError if the text is damaged."""
    settings = _build(Settings, json.loads(text))
    assert isinstance(settings, Settings)
    return settings


def _build(kind: Any, value: Any) -> Any:
    """A value of this type from its JSON form."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{part.name: _build(hints[part.name], value[part.name]) for part in dataclasses.fields(kind)})
    if origin is types.UnionType or origin is typing.Union:
        if value is None:
            return None
        kinds = [each for each in arguments if each is not types.NoneType]
        return _build(kinds[0], value) if len(kinds) == 1 else value
    if origin is tuple:
        return tuple(_build(arguments[0], each) for each in value)
    if origin is Mapping:
        return {_build(arguments[0], name): _build(arguments[1], each) for name, each in value.items()}
    if kind in (Path, Category, Sensitivity):
        return kind(value)
    return value
