"""What is read where others count: sums that grow, states that change."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.metrics.instruments import Instruments
from gateway.metrics.labels import Models
from gateway.metrics.readings import Readings, Sources
from gateway.metrics.requests import RequestMeter
from middleware.circuit_breaker import CircuitBreakerMiddleware
from providers.registry import Registry
from recorders.disk_journal import DiskJournal
from recorders.drain import Drain
from recorders.journal import Journal, MemoryJournal
from recorders.sink import JournalSink
from recorders.stores.memory import MemoryStore
from recorders.stores.watch import DatabaseWatch
from tests.upstream import Upstream


class Damaged(MemoryJournal):
    """A journal that tells of damage as the one on disk does."""

    torn = 2
    rejected = 3


class Reopened:
    """A database that was opened again twice."""

    generation = 2

    async def check(self) -> None:
        """All is well."""

    async def sync(self) -> bool:
        return True

    def trouble(self) -> None:
        return None


@pytest.fixture
def journal() -> Damaged:
    return Damaged()


@pytest.fixture
def instruments() -> Instruments:
    return Instruments()


@pytest.fixture
def readings(instruments: Instruments, journal: Damaged) -> Readings:
    meter = RequestMeter(instruments, Models())
    drain = Drain(journal, MemoryStore())
    return Readings(instruments, meter, Sources(journal, drain, JournalSink(journal), Registry([])))


def value(instruments: Instruments, name: str, **labels: str) -> float | None:
    return instruments.registry.get_sample_value(f"ai_gateway_{name}", labels)


def test_a_sum_is_added_once(instruments: Instruments, readings: Readings, journal: Damaged) -> None:
    """However often it is read; only what it grew by comes on top."""
    for _ in range(3):
        readings.take()
    assert value(instruments, "records_lost_total", reason="unreadable") == 3
    journal.rejected = 5
    readings.take()
    assert value(instruments, "records_lost_total", reason="unreadable") == 5
    assert value(instruments, "journal_damaged_total") == 2


def test_a_sum_that_began_anew_goes_on_counting(
    instruments: Instruments, readings: Readings, journal: Damaged
) -> None:
    """A journal that was opened again counts from 0; a counter must not fall."""
    readings.take()
    journal.rejected = 1
    readings.take()
    assert value(instruments, "records_lost_total", reason="unreadable") == 4


def test_what_is_lost_after_a_start_and_what_goes_on_unrecorded_is_told(
    instruments: Instruments, readings: Readings
) -> None:
    """As the sink counts it."""
    sink = readings.sources.sink
    sink.lost, sink.unrecorded, sink.unsettled = 1, 2, 3
    readings.take()
    assert value(instruments, "records_lost_total", reason="journal") == 1
    assert value(instruments, "unrecorded_total") == 2
    assert value(instruments, "journal_unsettled_total") == 3


def test_circuits_that_share_a_label_show_the_worst(instruments: Instruments, readings: Readings) -> None:
    """Models without a label of their own are one series; a circuit that is forgotten is closed."""
    breaker = CircuitBreakerMiddleware(Upstream(), max_circuits=2)
    readings.sources.breaker = breaker
    for name, state in (("one", "closed"), ("two", "open")):
        breaker.known_or_new(f"openai /chat/completions {name}").state = state  # type: ignore[assignment]
    labels = {"provider": "openai", "route": "/chat/completions", "model": "other"}
    readings.take()
    assert value(instruments, "circuit_breaker_state", **labels) == 1
    for name in ("three", "four"):
        breaker.known_or_new(f"openai /chat/completions {name}").state = "half-open"
    readings.take()
    assert value(instruments, "circuit_breaker_state", **labels) == 0.5


def test_the_journal_on_disk_tells_of_damage_under_these_names() -> None:
    """They are read by name, because a journal in memory has none."""
    assert {"torn", "rejected"} <= set(dir(DiskJournal))
    assert not {"torn", "rejected"} & set(dir(cast("type[Journal]", MemoryJournal)))


def test_what_the_database_lost_and_got_again_is_counted(
    instruments: Instruments, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how often it was opened again for that."""
    readings.take()
    assert value(instruments, "database_reopened_total") == 0
    monkeypatch.setattr(readings.sources.drain, "_restored", 3)
    readings.sources.watch = DatabaseWatch([Reopened()], opened_again=lambda: None)
    readings.take()
    assert value(instruments, "records_restored_total") == 3
    assert value(instruments, "database_reopened_total") == 2
