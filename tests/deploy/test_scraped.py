"""Prometheus scrapes a gateway that has served, and answers every question of the dashboard and of the alerts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.deploy.files import alert_queries, alerts, dashboard_queries
from tests.deploy.scene import Scene, watched_gateway

NOTHING_YET: Final = frozenset({"Rows deleted as too old"})
"""Panels that have nothing to show in a gateway of a minute: nothing is sixty days old."""


async def test_every_panel_has_data_and_every_alert_an_answer(
    path_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """After a day with some of everything: a query that Prometheus refuses or that finds nothing fails."""
    async with watched_gateway(path_of("prometheus"), tmp_path) as scene:
        await scene.a_day()
        async with scene.a_long_answer():
            await scene.shown("ai_gateway_interceptions_inflight > 0")
        await scene.a_day()
        await scene.shown("ai_gateway_circuit_breaker_state == 1")
        await scene.scraped(2)

        empty = [
            query.where for query in dashboard_queries() if not has_numbers(scene.query(query.expression))
        ]
        for query in alert_queries():
            scene.query(query.expression)
        states = rule_states(scene)

    assert [where for where in empty if where.rpartition(" (")[0] not in NOTHING_YET] == []
    assert states == {rule["alert"]: "ok" for rule in alerts()}


def has_numbers(series: Sequence[dict[str, Any]]) -> bool:
    return any(math.isfinite(float(one["value"][1])) for one in series)


def rule_states(scene: Scene) -> dict[str, str]:
    """How Prometheus itself finds the rules that it has loaded."""
    groups = scene.api("rules")["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
