"""Every metric of the gateway: its name, what it says, its labels, and how the values of several workers become one.

Names begin with `ai_gateway_`. `provider` is the name of an instance, `route` an endpoint as the provider type lists
it, never a path that a client sent. No label holds words of a prompt, a credential or a tool's name, and each has a
bound (`labels.py`).

With several workers counters and histograms add up. A gauge says below which of its values is shown: the sum over the
workers that live, or the largest or smallest of them.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
"""Models answer in tenths of a second, and think for minutes."""

REQUEST: Final = ("provider", "model")


class Instruments:
    """The metrics, on a registry of their own. With `initiator`, what users cost is told by user as well."""

    def __init__(self, *, initiator: bool = False) -> None:
        self.registry = CollectorRegistry()
        self._by_user: tuple[str, ...] = ("initiator",) if initiator else ()
        self._add_requests()
        self._add_records()
        self._add_resilience()
        self._add_journal()
        self._add_database()
        self._add_configuration()

    def _add_requests(self) -> None:
        self.interceptions = self._counter(
            "interceptions_total",
            "Recorded requests that are over, by what became of them and by the HTTP status of the answer.",
            *(*REQUEST, "status", "code", "route", "method", "client"),
            *self._by_user,
        )
        self.inflight = self._gauge(
            "interceptions_inflight",
            "Recorded requests under way.",
            "livesum",
            *(*REQUEST, "route"),
        )
        self.duration = self._histogram(
            "interceptions_duration_seconds",
            "From a recorded request's arrival to the end of its answer, without those that the gateway refused.",
        )
        self.first_byte = self._histogram(
            "time_to_first_byte_seconds",
            "From a recorded request's arrival to the first byte of an answer that is no error.",
        )
        self.passthrough = self._counter(
            "passthrough_total",
            "Requests that passed through unrecorded and are over, by the HTTP status of the answer.",
            *("provider", "route", "method", "code"),
        )
        self.refused = self._counter(
            "refused_total",
            "Requests that the gateway refused by itself, by the reason.",
            "provider",
            "reason",
        )
        self.upstream_errors = self._counter(
            "upstream_errors_total",
            "Attempts at a provider that failed, those that were tried again included.",
            *("provider", "error"),
        )

    def _add_records(self) -> None:
        whose = (*REQUEST, "client", *self._by_user)
        self.prompts = self._counter("prompts_total", "Prompts of people.", *whose)
        self.tokens = self._counter("tokens_total", "Tokens that providers reported.", *whose, "type")
        self.tool_calls = self._counter("tool_calls_total", "Tool calls that models made.", *whose)
        self.records = self._counter("records_total", "Records that were made.", "record_type")
        self.records_lost = self._counter(
            "records_lost_total",
            "Records that are in no database and never will be, by the reason.",
            "reason",
        )
        self.unrecorded = self._counter(
            "unrecorded_total", "Requests that went on unrecorded, as journal_full allows."
        )

    def _add_resilience(self) -> None:
        circuit = ("provider", "route", "model")
        self.circuit_state = self._gauge(
            "circuit_breaker_state",
            "0: closed, 0.5: half-open, 1: open; of several workers the worst.",
            "livemax",
            *circuit,
        )
        self.circuit_trips = self._counter("circuit_breaker_trips_total", "Circuits opened.", *circuit)
        self.circuit_rejects = self._counter(
            "circuit_breaker_rejects_total", "Requests refused because their circuit was open.", *circuit
        )
        self.key_state = self._gauge(
            "key_pool_state",
            "Of a central key, by its place among the keys of its instance: 0: usable, 1: rate limited, 2: refused by "
            "the provider; of several workers the worst.",
            "livemax",
            *("provider", "key"),
        )
        self.key_transitions = self._counter(
            "key_pool_transitions_total", "Central keys taken out of use, by the reason.", "provider", "to"
        )
        self.key_exhaustions = self._counter(
            "key_pool_exhaustions_total", "Requests for which no central key was left.", "provider"
        )

    def _add_journal(self) -> None:
        self.journal_bytes = self._gauge(
            "journal_bytes", "Bytes of records that wait for the database, in all workers.", "livesum"
        )
        self.journal_records = self._gauge(
            "journal_records", "Records that wait for the database, in all workers.", "livesum"
        )
        self.journal_lag = self._gauge(
            "journal_lag_seconds",
            "How long the oldest record has been waiting; of several workers the longest.",
            "livemax",
        )
        self.journal_unsettled = self._counter(
            "journal_unsettled_total", "Times that the journal could not make sure of what it took."
        )
        self.journal_damaged = self._counter(
            "journal_damaged_total", "Files of the journal whose end or middle could not be read."
        )

    def _add_database(self) -> None:
        self.stored = self._counter("records_stored_total", "Records that the database has taken.")
        self.store_failures = self._counter(
            "store_failures_total", "Writes to the database that failed and are tried again."
        )
        self.restored = self._counter(
            "records_restored_total",
            "Records that the database had taken and lost, and that the journal gave it again.",
        )
        self.database_reopened = self._counter(
            "database_reopened_total",
            "Times that SQLite's write-ahead log was removed or replaced, and the database opened again.",
        )
        self.deleted = self._counter(
            "retention_deleted_rows_total", "Rows deleted because they were old.", "table"
        )
        self.retention_failures = self._counter(
            "retention_failures_total", "Turns of deleting old records that failed."
        )

    def _add_configuration(self) -> None:
        self.provider_info = self._gauge(
            "provider_info",
            "1 for each configured instance as it is; 0 for what a reload has replaced.",
            "livemax",
            *("provider", "type", "enabled"),
        )
        self.last_reload = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the running configuration was taken over; of several workers the earliest.",
            "livemin",
        )
        self.last_reload_successful = self._gauge(
            "config_last_reload_successful",
            "0 when the last reload was refused and an older configuration runs; of several workers the worst.",
            "livemin",
        )

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, namespace="ai_gateway", registry=self.registry)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(
            name, words, REQUEST, namespace="ai_gateway", registry=self.registry, buckets=SECONDS
        )

    def _gauge(self, name: str, words: str, workers: str, *labels: str) -> Gauge:
        return Gauge(
            name,
            words,
            labels,
            namespace="ai_gateway",
            registry=self.registry,
            multiprocess_mode=workers,  # type: ignore[arg-type]
        )
