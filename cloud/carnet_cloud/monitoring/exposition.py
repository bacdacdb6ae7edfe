"""Shell: the cloud's numbers as Prometheus reads them, written by its own client library.

The library's global registry is not used: every service has one of its own. What the store counts is asked when
somebody reads; only what takes time is observed as it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from carnet.metrics import Family
from carnet_cloud.monitoring.metrics import HISTOGRAMS
from carnet_cloud.recipients import Recipient
from carnet_cloud.recipients.timed import timed

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Exposition(Collector):
    """``numbers`` gives what is asked at each reading."""

    def __init__(self, numbers: Callable[[], Iterable[Family]]) -> None:
        # a time beside every histogram, which nobody asked for
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._numbers = numbers
        self._registry = CollectorRegistry()
        commit, group, send = HISTOGRAMS
        self._commit = Histogram(commit, HISTOGRAMS[commit], buckets=SECONDS, registry=self._registry)
        self._group = Histogram(group, HISTOGRAMS[group], buckets=SIZES, registry=self._registry)
        self._send = Histogram(send, HISTOGRAMS[send], ["recipient"], buckets=SECONDS, registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: names cannot clash, and asking would read the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each reading."""
        for family in self._numbers():
            kind = CounterMetricFamily if family.metric.kind == "counter" else GaugeMetricFamily
            made = kind(family.metric.name, family.metric.help, labels=family.metric.labels)
            for values, number in family.numbers.items():
                made.add_metric(values, number)
            yield made

    def committed(self, envelopes: int, seconds: float) -> None:
        """A group was judged and its transaction has ended."""
        self._group.observe(envelopes)
        self._commit.observe(seconds)

    def timed(self, name: str, recipient: Recipient) -> Recipient:
        """The same recipient, with every send observed."""
        return timed(recipient, self._send.labels(name).observe)

    def text(self, accept: str) -> tuple[bytes, str]:
        """(body, its content type) in the format that the reader prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
