"""How new what a recipient shows is: of each sensor of a record the capture time of its newest value.

Law: it only rises, whichever receiver sends and however often it was started again.
"""

from __future__ import annotations

from collections.abc import Mapping

from carnet_cloud.store.database import Database


class Shown:
    """Of recipients that show what they got, as long as the record lasts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(self, recipient: str, record: str, times_ms: Mapping[str, int]) -> set[str]:
        """Those of these sensors that show nothing newer; from now on they show these values, or will.

        The same time once more is granted: what was claimed may never have been sent.
        """
        return {
            sensor
            for sensor, t_ms in sorted(times_ms.items())
            if self._db.execute(
                "insert into shown (recipient, record, sensor, t_ms) values (?, ?, ?, ?)"
                " on conflict (recipient, record, sensor) do update set t_ms = excluded.t_ms"
                " where shown.t_ms <= excluded.t_ms returning t_ms",
                (recipient, record, sensor, t_ms),
            ).fetchone()
        }

    def forget(self, recipient: str, record: str) -> None:
        """Nothing of it is shown any more."""
        self._db.execute("delete from shown where recipient = ? and record = ?", (recipient, record))
