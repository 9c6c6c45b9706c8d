"""Where the files of `deploy/` are, and what the tests read out of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "ai-gateway"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboard.json"
ALERTS: Final = DEPLOY / "prometheus" / "alerts.yml"
PROMETHEUS: Final = DEPLOY / "prometheus" / "prometheus.yml"

JOB: Final = "ai-gateway"


class Query(NamedTuple):
    """An expression for Prometheus, and where it stands."""

    where: str
    expression: str


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def whole(expression: str, *, rate: str = "1m") -> str:
    """With what Grafana puts in the place of its variables when all of everything is chosen."""
    values = {"$__rate_interval": rate, "$instance": ".*", "$provider": ".*"}
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    return expression


def dashboard_queries() -> Iterator[Query]:
    """Those of the panels, with all of everything chosen."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield Query(f"{panel['title']} ({panel['id']}{target['refId']})", whole(target["expr"]))


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_queries() -> Iterator[Query]:
    for rule in alerts():
        yield Query(rule["alert"], rule["expr"])


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression, each with the labels that it is asked for by."""
    for name, labels in re.findall(r"\b(ai_gateway_\w+|up)\b(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))


def groupings(expression: str) -> set[str]:
    """The labels that an expression groups by."""
    found = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",")}
