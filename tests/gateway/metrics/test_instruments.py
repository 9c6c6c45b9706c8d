"""The list of metrics: what operators read of it is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import Gauge

from gateway.metrics.instruments import Instruments

PAGE: Final = (Path(__file__).parents[3] / "deploy" / "docs" / "metrics.md").read_text(encoding="utf-8")
METRICS: Final = {
    name: metric
    for metric in vars(Instruments()).values()
    if hasattr(metric, "collect") and hasattr(metric, "_labelnames")
    for name in (metric._name.removeprefix("ai_gateway_") + "_total" * (metric._type == "counter"),)
}


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of each metric in the tables of the page."""
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([a-z, ]+) \| ([^|]*) \|", PAGE, re.MULTILINE)
    return {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for names, kind, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def test_the_page_lists_every_metric_with_its_type_and_labels() -> None:
    """And no other; a gauge with how several workers' values become one."""
    shown = {}
    for name, metric in METRICS.items():
        kind = metric._type
        if isinstance(metric, Gauge):
            kind += f", {metric._multiprocess_mode.removeprefix('live')}"
        shown[name] = (kind, metric._labelnames)
    assert documented() == shown


def test_gauges_count_workers_that_live_alone() -> None:
    """What a dead one held would be shown for ever."""
    gauges = [metric for metric in METRICS.values() if isinstance(metric, Gauge)]
    assert gauges
    assert all(gauge._multiprocess_mode.startswith("live") for gauge in gauges)


@pytest.mark.parametrize("told", [False, True])
def test_users_are_a_label_of_what_they_cost(told: bool) -> None:
    """Of four metrics, where it is asked for."""
    instruments = Instruments(initiator=told)
    costs = [
        instruments.interceptions,
        instruments.prompts,
        instruments.tokens,
        instruments.tool_calls,
    ]
    assert [("initiator" in metric._labelnames) for metric in costs] == [told] * 4


def test_buckets_reach_from_a_cached_answer_to_long_thinking() -> None:
    """Waiting times of models, not of web pages."""
    bounds = Instruments().duration._upper_bounds
    assert (bounds[0], bounds[-2], bounds[-1]) == (0.05, 600, float("inf"))
