"""The cloud's configuration: one TOML file, one frozen model, unknown keys refused.
``docs/configuration.md`` describes each key.

Law: runtime objects never live here, and a path that holds a secret names a file, never the secret.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from carnet.configerrors import sentence
from carnet.errors import ConfigError
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.recipientsections import FORMS_OF_RECIPIENTS, KINDS, AnyRecipient, Section, check_tls

M = TypeVar("M", bound=BaseModel)
PORT_MAX = 65_535
SHARD = r"^(\+|[0-9a-f]{2})$"
LISTEN = r"^[^:]+:\d{1,5}$"
LOG_NAME = r"^[a-z0-9]([a-z0-9._/-]{0,98}[a-z0-9])?$"
FORMS = {
    **FORMS_OF_RECIPIENTS,
    SHARD: 'two hexadecimal digits, or "+" for all',
    LISTEN: "an address and a port, as 127.0.0.1:8480",
    LOG_NAME: "at most 100 of the characters a-z, 0-9, dot, dash, slash and underscore; a letter or digit at both ends",
}
"""Patterns in words."""


class StoreSection(Section):
    """Where the cloud keeps what it must remember: in `path` for one receiver, or in `url` for several."""

    path: Path | None = Field(default=None, description="SQLite database of the only receiver")
    url: str | None = Field(
        default=None,
        description="PostgreSQL database of one or several receivers, `postgresql:///carnet`; without a password",
    )
    password_file: Path | None = Field(
        default=None, description="file with the password for `url`; absent: what libpq knows by itself, as `.pgpass`"
    )
    journal: Path = Field(
        description="journal of narrowings, with the leaf hashes of the logs beside it; "
        "outside the database's folder and its backups"
    )
    wrapping_keys: Path = Field(
        description="folder of the keys that wrap the outbox keys; outside the database's folder and its backups"
    )

    @model_validator(mode="after")
    def _one(self) -> StoreSection:
        if (self.path is None) == (self.url is None):
            raise ValueError("exactly one of path (SQLite) and url (PostgreSQL) is needed")
        if self.url is None:
            if self.password_file is not None:
                raise ValueError("password_file belongs to url")
            return self
        parts = urlsplit(self.url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("url has the form postgresql://user@host:port/database")
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("url holds a password: put it into a file and name that as password_file")
        return self


class KeysSection(Section):
    """The cloud's own keys, made by `carnet-cloud keygen`."""

    folder: Path = Field(description="folder with seal.key, sign.key, log.key, pseudonym.key and cloud.public.json")


class MqttSection(Section):
    """The broker. With certificates the broker takes the certificate's name as username and client id."""

    host: str = Field(description="broker's host name or address")
    port: int = Field(default=8883, ge=1, le=65535, description="broker's port")
    username: str = Field(default="", description="name at the broker, if it asks for a password")
    password_file: Path | None = Field(default=None, description="file with the password")
    ca_file: Path | None = Field(
        default=None,
        description="authority that signed the broker's certificate; absent: no TLS, for a broker on this machine only",
    )
    cert_file: Path | None = Field(default=None, description="this receiver's certificate")
    key_file: Path | None = Field(default=None, description="key of this receiver's certificate")
    shards: tuple[Annotated[str, Field(pattern=SHARD)], ...] = Field(
        default=("+",), min_length=1, description='shards to serve, as two hexadecimal digits; "+" is all'
    )

    @model_validator(mode="after")
    def _private(self) -> MqttSection:
        check_tls(self.ca_file, self.cert_file, self.key_file, [self.host])
        return self


class ApiSection(Section):
    """The consent API that owners' tools talk to."""

    listen: str = Field(default="127.0.0.1:8480", pattern=LISTEN, description="address and port")
    operator_token_file: Path | None = Field(
        default=None, description="file with the operator's token; without it nobody can publish offers"
    )
    metrics_token_file: Path | None = Field(
        default=None, description="file with the token that opens /metrics, as the operator's does too; absent: none"
    )

    @field_validator("listen")
    @classmethod
    def _port(cls, listen: str) -> str:
        if int(listen.rpartition(":")[2]) > PORT_MAX:
            raise ValueError(f"a port is at most {PORT_MAX}")
        return listen


class LedgerSection(Section):
    """The transparency log."""

    name: str | None = Field(
        default=None,
        pattern=LOG_NAME,
        description="what new logs are called, before their tenant; absent: carnet/, the id of the log's key, /log",
    )


class CatalogueSection(Section):
    """What the cloud holds paths to be."""

    mappings: tuple[Path, ...] = Field(description="mapping files whose paths, units and categories hold here")


class LogSection(Section):
    """What the cloud says on its standard error, which systemd keeps in the journal."""

    format: Literal["text", "json"] = Field(
        default="text", description="text: sentences for people; json: an object a line, for machines"
    )


class CloudConfig(Section):
    """All of cloud.toml."""

    store: StoreSection
    keys: KeysSection
    mqtt: MqttSection
    api: ApiSection = ApiSection()
    ledger: LedgerSection = LedgerSection()
    log: LogSection = LogSection()
    catalogue: CatalogueSection
    recipient: tuple[AnyRecipient, ...] = ()

    @model_validator(mode="after")
    def _outside(self) -> CloudConfig:
        folder = self.store.path.absolute().parent if self.store.path else None
        for name, path in (("journal", self.store.journal.parent), ("wrapping_keys", self.store.wrapping_keys)):
            if folder and (path.absolute() == folder or folder in path.absolute().parents):
                raise ValueError(
                    f"store.{name} lies in the database's folder: a restored backup would bring it back too"
                )
        if self.store.url is not None and self.mqtt.shards != ("+",):
            raise ValueError("the receivers on one store.url share the shards themselves: leave mqtt.shards out")
        if len({r.id for r in self.recipient}) != len(self.recipient):
            raise ValueError("two [[recipient]] have one id")
        if len({r.name for r in self.recipient}) != len(self.recipient):
            raise ValueError("two [[recipient]] have one name: owners could not tell them apart")
        return self


def load(path: Path) -> CloudConfig:
    """The configuration in ``path``; relative paths in it are relative to the file.
    ConfigError says which key is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError("config_missing", f"{path} cannot be read: {e.strerror}; name it with --config") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError("config_syntax", f"{path} is not TOML: {e}") from e
    try:
        # By way of JSON, since there strict means what it says: an array is a tuple, but "7" is no number.
        config = CloudConfig.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as e:
        found = sentence(e.errors(include_url=False, include_input=False), KINDS, FORMS)
        raise ConfigError("config_value", f"{path}: {found}") from e
    return _resolved(config, path.absolute().parent)


def read_catalogue(section: CatalogueSection) -> Catalogue:
    """What the mapping files say; ConfigError names a file that cannot be read or is none."""
    try:
        texts = [(path.read_bytes(), str(path)) for path in section.mappings]
    except OSError as e:
        raise ConfigError("catalogue_missing", f"catalogue.mappings: {e.filename} cannot be read: {e.strerror}") from e
    return Catalogue(entry for text, name in texts for entry in read_entries(text, name))


def _resolved(model: M, folder: Path) -> M:
    """The model with every relative path made absolute."""
    changes: dict[str, object] = {}
    for name in type(model).model_fields:
        changes[name] = _resolved_value(getattr(model, name), folder)
    return model.model_copy(update=changes)


def _resolved_value(value: object, folder: Path) -> object:
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    if isinstance(value, BaseModel):
        return _resolved(value, folder)
    if isinstance(value, tuple):
        return tuple(_resolved_value(each, folder) for each in value)
    return value
