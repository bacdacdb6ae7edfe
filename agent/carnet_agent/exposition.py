"""Shell: numbers as Prometheus' node exporter reads them from a file, written by Prometheus' own client library.

Only the command imports this: the running agent has no room for the library, and opens no port.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from carnet.errors import UnavailableError
from carnet.metrics import Family


class Exposition(Collector):
    """Numbers of one moment."""

    def __init__(self, numbers: Iterable[Family]) -> None:
        self._numbers = list(numbers)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        for family in self._numbers:
            kind = CounterMetricFamily if family.metric.kind == "counter" else GaugeMetricFamily
            made = kind(family.metric.name, family.metric.help, labels=family.metric.labels)
            for values, number in family.numbers.items():
                made.add_metric(values, number)
            yield made

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def write(self, path: Path) -> None:
        """Replace the file as a whole, so that no reader sees half of it. UnavailableError if it cannot be written."""
        try:
            write_to_textfile(str(path), self._registry)
        except OSError as error:
            raise UnavailableError("metrics_file", f"{path} cannot be written: {error.strerror}") from error
