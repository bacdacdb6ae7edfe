"""Open the store that the configuration names. PostgreSQL's driver is imported only if it is that."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.config import StoreSection
from carnet_cloud.running.keyfolder import read_secret
from carnet_cloud.running.membership import Company
from carnet_cloud.store import SqliteStore, Store


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and whether it was made just now."""

    store: Store
    is_new: bool


def open_alone(section: StoreSection, incarnation: bytes, now_ms: int) -> Store:
    """A store for a command. UnavailableError ``store_in_use`` while a service runs on it: ask that."""
    store = open_store(section, incarnation, now_ms).store
    with store.transaction() as t:
        in_use = any(until_ms > t.others.now_ms() for until_ms in t.shards.receivers().values())
    if in_use:
        store.close()
        raise UnavailableError("store_in_use", "the store is in use by running receivers; ask one of them")
    return store


def open_company(section: StoreSection, store: Store, now_ms: int) -> Company | None:
    """One more connection to a store that several receivers may use; None for one that has only this receiver."""
    if section.url is None:
        return None
    from carnet_cloud.store.postgres import PostgresStore

    return PostgresStore(section.url, incarnation=store.incarnation, now_ms=now_ms, password=_password(section))


def open_store(section: StoreSection, incarnation: bytes, now_ms: int) -> Opened:
    """ConfigError and UnavailableError as the stores say; ``incarnation`` (16 random bytes) names one that is new."""
    if section.path is not None:
        is_new = not section.path.exists()
        return Opened(SqliteStore.open(section.path, incarnation=incarnation, now_ms=now_ms), is_new)
    assert section.url is not None
    try:
        from carnet_cloud.store.postgres import PostgresStore
    except ImportError as e:
        command = f"{sys.executable} -m pip install 'psycopg[binary]'"
        raise ConfigError("store_driver", f"store.url needs psycopg: {command}") from e
    store = PostgresStore(section.url, incarnation=incarnation, now_ms=now_ms, password=_password(section))
    return Opened(store, store.is_new)


def _password(section: StoreSection) -> str | None:
    if section.password_file is None:
        return None
    return read_secret(section.password_file, "store.password_file").decode().strip()
