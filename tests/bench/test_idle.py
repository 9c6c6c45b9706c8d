"""The figures of open streams."""

from __future__ import annotations

from tests.bench.idle import Idle, goals, table


def idle(target: str, *, open_mb: float | None) -> Idle:
    before_mb = None if open_mb is None else 100.0
    return Idle("idle", target, 1_024, before_mb, open_mb, alone_s=[0.001] * 3, beside_s=[0.002] * 3)


def test_memory_is_the_growth_for_each_stream() -> None:
    """50 MB more with 1,024 streams are 50 KB each; a target without a process has none."""
    assert idle("gateway", open_mb=150.0).kb_per_stream == 50.0
    assert idle("direct", open_mb=None).kb_per_stream is None


def test_gateways_are_judged_by_what_a_stream_may_cost() -> None:
    """And nobody else is; all are in the table."""
    rows = [idle("direct", open_mb=None), idle("gateway a", open_mb=150.0), idle("gateway b", open_mb=170.0)]
    met, missed = goals(rows).splitlines()
    assert met.endswith("at most 60: met")
    assert missed.endswith("at most 60: MISSED")
    assert len(table(rows).splitlines()) == 4
