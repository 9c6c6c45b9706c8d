"""What others count or hold already, read when somebody asks: the journal, the database, circuits, keys, providers.

`take` copies it into the metrics. What it reads belongs to the event loop, so that is where it runs; it looks at
counters and at a few objects, and waits for nothing.

Others keep sums since their own start; a counter of Prometheus is only ever added to. So of each sum the last value is
kept here, and what it has grown by is added.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.metrics.instruments import Instruments
from gateway.metrics.requests import RequestMeter

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

    from gateway.reload import Reloads
    from middleware.circuit_breaker import CircuitBreakerMiddleware
    from middleware.failover import FailoverMiddleware
    from providers.registry import Registry
    from recorders.drain import Drain
    from recorders.journal import Journal
    from recorders.retention import Retention
    from recorders.sink import JournalSink
    from recorders.stores.watch import DatabaseWatch

Labels: TypeAlias = tuple[str, ...]

CIRCUIT_STATES: Final = {"closed": 0.0, "half-open": 0.5, "open": 1.0}
KEY_STATES: Final = {"usable": 0, "rate_limited": 1, "refused": 2}


@dataclass(slots=True)
class Sources:
    """Where to read. What a gateway doesn't have is None."""

    journal: Journal
    drain: Drain
    sink: JournalSink
    registry: Registry
    watch: DatabaseWatch | None = None
    retention: Retention | None = None
    breaker: CircuitBreakerMiddleware | None = None
    failover: FailoverMiddleware | None = None
    reloads: Reloads | None = None
    started_at: float = field(default_factory=time.time)
    """When the configuration was read that began, in seconds since 1970."""


@dataclass(slots=True)
class _Shown:
    """The values of one gauge by labels. What is no more is shown as 0: other processes may still read its series."""

    gauge: Gauge
    _ever: set[Labels] = field(default_factory=set)

    def show(self, values: Mapping[Labels, float]) -> None:
        self._ever |= values.keys()
        for labels in self._ever:
            self.gauge.labels(*labels).set(values.get(labels, 0))


class Readings:
    """What is to be read may be added to `sources` later."""

    def __init__(self, instruments: Instruments, requests: RequestMeter, sources: Sources) -> None:
        self.sources = sources
        self._instruments, self._requests = instruments, requests
        self._sums: dict[tuple[Counter, Labels], float] = {}
        self._inflight = _Shown(instruments.inflight)
        self._circuits = _Shown(instruments.circuit_state)
        self._keys = _Shown(instruments.key_state)
        self._providers = _Shown(instruments.provider_info)

    def take(self) -> None:
        """Bring everything up to date."""
        self._inflight.show(self._requests.running())
        self._take_journal()
        self._take_database()
        self._take_circuits()
        self._take_keys()
        self._take_configuration()

    def _take_journal(self) -> None:
        to, journal, sink = self._instruments, self.sources.journal, self.sources.sink
        backlog = journal.backlog()
        to.journal_bytes.set(backlog.size_bytes)
        to.journal_records.set(backlog.records)
        to.journal_lag.set(backlog.oldest_age_s)
        self._grow(to.records_lost, sink.lost, "journal")
        self._grow(to.records_lost, getattr(journal, "rejected", 0), "unreadable")
        self._grow(to.unrecorded, sink.unrecorded)
        self._grow(to.journal_unsettled, sink.unsettled)
        self._grow(to.journal_damaged, getattr(journal, "torn", 0))

    def _take_database(self) -> None:
        to, drain, retention = self._instruments, self.sources.drain.stats, self.sources.retention
        self._grow(to.records_lost, drain.refused, "database")
        self._grow(to.stored, drain.stored)
        self._grow(to.store_failures, drain.failures)
        self._grow(to.restored, drain.restored)
        if self.sources.watch is not None:
            self._grow(to.database_reopened, self.sources.watch.generations)
        if retention is not None:
            for table, rows in retention.stats.deleted.items():
                self._grow(to.deleted, rows, table)
            self._grow(to.retention_failures, retention.stats.failures)

    def _take_circuits(self) -> None:
        breaker = self.sources.breaker
        states = breaker.circuits.items() if breaker is not None else ()
        self._circuits.show(
            _worst(
                (self._requests.circuit_labels(name), CIRCUIT_STATES[circuit.state])
                for name, circuit in states
            )
        )

    def _take_keys(self) -> None:
        failover = self.sources.failover
        states: dict[Labels, float] = {}
        for provider, pool in failover.pools.items() if failover is not None else ():
            for place, state in enumerate(pool.states, 1):
                states[provider, str(place)] = KEY_STATES[state]
            for to in ("rate_limited", "refused"):
                self._grow(self._instruments.key_transitions, getattr(pool.transitions, to), provider, to)
        self._keys.show(states)

    def _take_configuration(self) -> None:
        to, sources = self._instruments, self.sources
        self._providers.show(
            {
                (provider.name, provider.type.name, "true" if provider.enabled else "false"): 1.0
                for provider in sources.registry
            }
        )
        success_s = refusal_s = None
        if sources.reloads is not None:
            success_s, refusal_s = sources.reloads.last_success_s, sources.reloads.last_refusal_s
        to.last_reload.set(success_s or sources.started_at)
        to.last_reload_successful.set((refusal_s or 0) <= (success_s or 0))

    def _grow(self, counter: Counter, total: float, *labels: str) -> None:
        """Add what the sum has grown by; one that is smaller than before has begun anew."""
        before = self._sums.get((counter, labels), 0.0)
        self._sums[counter, labels] = total
        series = counter.labels(*labels) if labels else counter
        series.inc(total - before if total >= before else total)


def _worst(values: Iterable[tuple[Labels, float]]) -> dict[Labels, float]:
    """Several circuits may share labels: those of all models that are `other`."""
    worst: dict[Labels, float] = {}
    for labels, value in values:
        worst[labels] = max(value, worst.get(labels, 0.0))
    return worst
