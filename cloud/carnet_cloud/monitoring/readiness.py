"""Whether the cloud can do its work now, and the names of what it lacks.

Law: asking costs nothing and waits for nobody, so that whoever reaches the port may ask; only names are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from carnet.errors import UnavailableError
from carnet_cloud.store import Store

PROBE_S = 5.0
"""So often the store is written to see that it can be."""
FRESH_MS = 15_000.0
"""A store that was last written longer ago than this, in spite of being tried, is not ready."""


class StoreProbe:
    """Writes a counter through the store; `is_fresh` tells from memory how that went.

    ``applied`` is told how many lines of the journal of narrowings the store has applied: another program may have.
    """

    def __init__(
        self, store: Store, monotonic_ms: Callable[[], float], applied: Callable[[int], object] = lambda _: None
    ) -> None:
        self._store = store
        self._applied = applied
        self._monotonic_ms = monotonic_ms
        self._written_ms: float | None = None

    def turn(self) -> None:
        """UnavailableError if the store cannot be written; then it is not ready from now on."""
        try:
            with self._store.transaction() as t:
                t.counters.add("store_probes")
                self._applied(t.consents.journal_lines())
        except UnavailableError:
            self._written_ms = None
            raise
        self._written_ms = self._monotonic_ms()

    def is_fresh(self) -> bool:
        return self._written_ms is not None and self._monotonic_ms() - self._written_ms <= FRESH_MS


class Readiness:
    """``parts``: each says whether it is ready, at once and from memory."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        self._parts = dict(parts)

    def stands(self) -> dict[str, bool]:
        """Every part."""
        return {name: is_ready() for name, is_ready in self._parts.items()}

    def require(self) -> None:
        """UnavailableError ``not_ready`` that names what is not."""
        missing = [name for name, ready in self.stands().items() if not ready]
        if missing:
            raise UnavailableError("not_ready", f"not ready: {', '.join(missing)}")
