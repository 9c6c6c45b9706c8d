"""What traces need of a running gateway: the tracer that sends them, and the summaries that tell of their calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from gateway.export_headers import headers_of
from recorders.summaries import Summaries

if TYPE_CHECKING:
    from gateway.settings import GatewayOptions
    from recorders.spans import Tracer


@dataclass(frozen=True, slots=True)
class Tracing:
    """`open` before requests come, `close` when they have ended; closing takes a bounded time."""

    tracer: Tracer
    summaries: Summaries
    open: Callable[[], None]
    close: Callable[[], Awaitable[None]]


def tracing_from(options: GatewayOptions) -> Tracing | None:
    """None where there is no collector: then nothing of OpenTelemetry is loaded."""
    if not options.otlp_endpoint:
        return None
    from recorders.otlp import OtlpTracer  # noqa: PLC0415 - loads OpenTelemetry

    tracer = OtlpTracer(options.otlp_endpoint, headers=headers_of(options.otlp_headers), version=_version())
    return Tracing(tracer, Summaries(prompts=options.trace_prompts), tracer.open, tracer.close)


def _version() -> str:
    try:
        return metadata.version("ai-gateway")
    except metadata.PackageNotFoundError:  # a checkout on the path
        return ""
