"""The way from an event to a series."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.metrics.series import Observations, Tally


def test_a_tally_is_handed_on_once() -> None:
    """What is counted meanwhile comes with the next time."""
    registry = CollectorRegistry()
    tally = Tally(Counter("things", "Things.", ["kind"], registry=registry))
    values = []
    for count in (2, 3):
        tally.add(("a",), count)
        tally.add(("a",))
        tally.hand_on()
        tally.hand_on()
        values.append(registry.get_sample_value("things_total", {"kind": "a"}))
    assert values == [3, 7]


def test_nothing_is_told_before_it_is_handed_on() -> None:
    """That is what makes counting cheap."""
    registry = CollectorRegistry()
    Tally(Counter("things", "Things.", ["kind"], registry=registry)).add(("a",))
    assert registry.get_sample_value("things_total", {"kind": "a"}) is None


def test_an_observation_is_told_at_once() -> None:
    """Each under its labels."""
    registry = CollectorRegistry()
    observations = Observations(Histogram("waits", "Waits.", ["kind"], registry=registry, buckets=(1, 2)))
    for kind, value in (("a", 0.5), ("a", 1.5), ("b", 9)):
        observations.add((kind,), value)
    told = [registry.get_sample_value("waits_count", {"kind": kind}) for kind in ("a", "b")]
    assert told == [2, 1]
    assert registry.get_sample_value("waits_bucket", {"kind": "a", "le": "1.0"}) == 1
