"""The way from an event to a series of prometheus-client, short where there are many events.

A counter of prometheus-client takes a lock, and with several workers writes into a file, each time that it is added
to. So counts are gathered here, in a dictionary, and handed on when somebody asks: a request makes a dozen of them.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram


class Tally:
    """Counts by labels, on the way to a counter. All calls are made on the event loop's thread."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counts: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], count: float = 1) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + count

    def hand_on(self) -> None:
        """Give what was counted since the last time to the counter."""
        counts, self._counts = self._counts, {}
        for labels, count in counts.items():
            self._counter.labels(*labels).inc(count)


class Observations:
    """A histogram whose series are each looked up once."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._series: dict[tuple[str, ...], Histogram] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._histogram.labels(*labels)
        series.observe(value)
