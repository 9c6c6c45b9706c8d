"""The dashboard and the alerts speak of metrics that there are, by labels that these have."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from prometheus_client.metrics import MetricWrapperBase

from gateway.metrics.instruments import Instruments
from tests.deploy.files import (
    JOB,
    Query,
    alert_queries,
    dashboard_queries,
    groupings,
    panels,
    selectors,
)

SCRAPED: Final = {"job", "instance"}
"""The labels that Prometheus adds to whatever it scrapes."""

SUFFIXES: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def metrics() -> dict[str, set[str]]:
    """Every series that the gateway can show, with its labels."""
    found = {"up": set(SCRAPED)}
    for metric in vars(Instruments()).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            labels = {*metric._labelnames, *SCRAPED}
            for suffix in SUFFIXES[family.type]:
                found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


QUERIES = [*dashboard_queries(), *alert_queries()]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_a_query_names_metrics_and_labels_of_the_code(query: Query) -> None:
    """A metric or a label that is renamed would leave an empty panel, and an alert that never fires."""
    known = metrics()
    named = list(selectors(query.expression))
    assert named
    assert {name for name, _ in named} <= known.keys()
    for name, labels in named:
        assert labels <= known[name]
    assert groupings(query.expression) <= {label for name, _ in named for label in known[name]} | {
        "alertname"
    }


def test_every_metric_is_on_the_dashboard() -> None:
    """What is counted can be seen; of a histogram its buckets are enough."""
    shown = {name for query in dashboard_queries() for name, _ in selectors(query.expression)}
    counted = {name for name in metrics() if not name.endswith(("_sum", "_count"))}
    assert counted == shown


def test_every_query_of_the_dashboard_asks_for_the_job_alone() -> None:
    """Another program may have a metric of the same name one day."""
    for query in dashboard_queries():
        assert query.expression.count("ai_gateway_") + query.expression.count("up{") == (
            query.expression.count(f'job="{JOB}"')
        ), query.where


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    """Grafana would show one of two, or push them about."""
    ids = Counter(panel["id"] for panel in panels())
    assert max(ids.values()) == 1
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) < 24


def test_every_panel_says_what_it_shows() -> None:
    """Who looks at it at night has not read the code."""
    silent = [panel["title"] for panel in panels() if panel["type"] != "row" and not panel["description"]]
    assert silent == []
