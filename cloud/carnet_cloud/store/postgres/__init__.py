"""The store on PostgreSQL, for several programs at once; imported only where a configuration names one."""

from carnet_cloud.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
