"""Open the store that the configuration names. PostgreSQL's driver is imported only if it is that."""

from __future__ import annotations

from dataclasses import dataclass

from carnet.errors import ConfigError
from carnet_cloud.config import StoreSection
from carnet_cloud.keyfolder import read_secret
from carnet_cloud.store import SqliteStore, Store


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and whether it was made just now."""

    store: Store
    is_new: bool


def open_store(section: StoreSection, incarnation: bytes, now_ms: int) -> Opened:
    """ConfigError and UnavailableError as the stores say; ``incarnation`` (16 random bytes) names one that is new."""
    if section.path is not None:
        is_new = not section.path.exists()
        return Opened(SqliteStore.open(section.path, incarnation=incarnation, now_ms=now_ms), is_new)
    assert section.url is not None
    try:
        from carnet_cloud.store.postgres import PostgresStore
    except ImportError as e:
        raise ConfigError("store_driver", "store.url needs psycopg: pip install 'carnet[cloud,postgres]'") from e
    password = read_secret(section.password_file).decode().strip() if section.password_file else None
    store = PostgresStore(section.url, incarnation=incarnation, now_ms=now_ms, password=password)
    return Opened(store, store.is_new)
