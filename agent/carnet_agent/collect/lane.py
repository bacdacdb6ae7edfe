"""A lane: columns that are worked off together, with the part of the plan that they need.

Law: frames wait raw and are decoded in large blocks, because a block of 1,000 costs far less than 16 blocks of 64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from carnet_agent.collect.chunk import Chunk
from carnet_agent.collect.column import Column
from carnet_agent.collect.conditions import Known, Watches
from carnet_agent.collect.quality import Quality, Rules
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode, exact_values
from carnet_agent.frames import Frames

Number = int | float


class Lane:
    """Frames in, columns fed. ``readings`` are the last values of the signals that it was asked to read."""

    def __init__(self, plan: Plan, rules: Rules, known: Known) -> None:
        self.columns: tuple[Column, ...] = ()
        self.watches = Watches()
        self.readings: dict[int, Number] = {}
        self.quality = Quality(rules)
        self.dropped: Counter[str] = Counter()
        """What columns could not tell; `quality` counts what no column was given."""
        self.signals: frozenset[int] = frozenset()
        """All that are decoded but guards."""
        self._counted = self.signals
        self._known = known
        self._whole = plan
        self._plan = plan.select(())
        self._read: frozenset[int] = frozenset()
        self._waiting: list[Frames] = []

    def select(self, columns: Iterable[Column], signals: Iterable[int], read: Iterable[int]) -> None:
        """Work on these columns from now on. ``signals``: all that they need; ``read``: to be kept in ``readings``.

        The drops of all of them are counted, but for those that `uncount` names.
        """
        self.columns = tuple(columns)
        self._read = frozenset(read)
        needed = self.signals = frozenset(signals) | self._read
        self._counted = needed
        self._plan = self._whole.select(needed | self.quality.rules.guards(needed))
        self.readings = {signal: value for signal, value in self.readings.items() if signal in self._read}

    def uncount(self, signals: Iterable[int]) -> None:
        """Another lane counts the drops of these."""
        self._counted = self.signals.difference(signals)

    @property
    def is_idle(self) -> bool:
        """Nothing of a frame is of interest."""
        return not len(self._plan.row_signal)

    @property
    def waiting(self) -> int:
        """Frames that were not worked off yet."""
        return sum(len(frames) for frames in self._waiting)

    @property
    def waiting_ns(self) -> int:
        """Between the first and the last of them."""
        return int(self._waiting[-1].time_ns[-1] - self._waiting[0].time_ns[0]) if self._waiting else 0

    def put(self, frames: Frames) -> None:
        """Take frames, to be worked off later."""
        if len(frames) and not self.is_idle:
            self._waiting.append(frames)

    def work(self) -> None:
        """Decode what waits and feed the columns."""
        if not self._waiting:
            return
        frames = Frames.concat(self._waiting)
        self._waiting = []
        decoded = self.quality.judge(frames, decode(self._plan, frames), self._counted)
        chunk = Chunk.of(frames, decoded)
        self._known.learn(decoded, chunk.time_ms)
        self.watches.look(chunk)
        for column in self.columns:
            column.feed(chunk, self.watches, self.dropped)
        for signal in self._read:
            if signal in chunk.runs:
                self.readings[signal] = exact_values(self._whole.signals[signal], chunk.runs[signal].raw[-1:])[0]
