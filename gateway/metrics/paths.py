"""Which requests ask for metrics; apart from what answers them, which is loaded only where metrics are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from providers.registry import below_prefix

METRICS: Final = "/metrics"


def is_metrics(scope: Mapping[str, Any]) -> bool:
    """`GET /metrics`, at the application's root or below the prefix of the routes."""
    path: str = scope["path"]
    return path.endswith(METRICS) and scope["method"] in ("GET", "HEAD") and below_prefix(scope) == METRICS
