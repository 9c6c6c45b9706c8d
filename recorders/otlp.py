"""Keeps spans with an OpenTelemetry collector, over OTLP/HTTP.

Spans that have ended wait in a bounded queue, which a thread of its own empties: nothing waits for the collector. One
that is away, slow or full costs the spans that the queue has no room for, a line in the log now and then, and at the
end of the process at most `FLUSH_S`.

A client's trace is continued, with its decision whether the trace is sampled; a trace that begins here is. The
variables of OpenTelemetry's own SDK (`OTEL_*`) are not read: every option that has one is given here.

Loaded only where there is a collector, because OpenTelemetry's packages take a while to load.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from recorders.otlp_exporter import OtlpExporter
from recorders.spans import CONTEXT_HEADERS, Attributes, Headers, Value

log = logging.getLogger("ai_gateway.traces")

SERVICE: Final = "ai-gateway"
MAX_SPANS_WAITING: Final = 4096
MAX_SPANS_A_BATCH: Final = 512
EXPORT_EVERY_S: Final = 2.0
FLUSH_S: Final = 3.0
LIMITS: Final = SpanLimits(
    max_attributes=128,
    max_events=128,
    max_links=128,
    max_span_attributes=128,
    max_event_attributes=128,
    max_link_attributes=128,
    max_attribute_length=32 * 1024,
    max_span_attribute_length=32 * 1024,
)

_CONTEXT: Final = TraceContextTextMapPropagator()


class OtlpTracer:
    """A `Tracer`. `open` before use, `close` after; between them it has a thread.

    `endpoint` is the collector's base URL, or the whole one that ends in `/v1/traces`; `headers` go with each batch.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        version: str = "",
        every_s: float = EXPORT_EVERY_S,
        flush_s: float = FLUSH_S,
    ) -> None:
        self._endpoint, self._headers = endpoint, dict(headers or {})
        self._version, self._every_s, self._flush_s = version, every_s, flush_s
        self._tracer: OtelTracer | None = None

    def open(self) -> None:
        """Begin to take spans."""
        self._exporter = OtlpExporter(self._endpoint, headers=self._headers)
        self._processor = _processor(self._exporter, self._every_s)
        provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=_resource(self._version),
            shutdown_on_exit=False,
            span_limits=LIMITS,
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("ai_gateway", self._version)

    def begin(self, name: str, headers: Headers, attributes: Attributes) -> OtlpSpan:
        if self._tracer is None:
            raise RuntimeError("the tracer is not open")
        return OtlpSpan(self._tracer, name, SpanKind.SERVER, _named_in(headers), attributes)

    async def close(self) -> None:
        """Give the collector what waits, for `flush_s` at most; what is left then is lost."""
        if self._tracer is None:
            return
        self._tracer = None
        self._exporter.hurry()
        # A thread that nothing waits for at the end of the process: a collector may answer as late as it likes.
        ending = threading.Thread(target=self._processor.shutdown, name="traces-flush", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, self._flush_s)
        if ending.is_alive():
            log.warning("the collector of traces took too long: the last spans are lost")


class OtlpSpan:
    """A `Span` of OpenTelemetry's SDK."""

    __slots__ = ("_span", "_tracer")

    def __init__(
        self, tracer: OtelTracer, name: str, kind: SpanKind, parent: Context, attributes: Attributes
    ) -> None:
        self._tracer = tracer
        self._span: OtelSpan = tracer.start_span(
            _clean(name), context=parent, kind=kind, attributes=_cleaned(attributes)
        )

    def child(self, name: str, attributes: Attributes) -> OtlpSpan:
        return OtlpSpan(self._tracer, name, SpanKind.CLIENT, self._context, attributes)

    def context(self) -> list[tuple[bytes, bytes]]:
        carried: dict[str, str] = {}
        _CONTEXT.inject(carried, context=self._context)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in carried.items()]

    def end(self, attributes: Attributes, *, name: str = "", failed: bool = False) -> None:
        if name:
            self._span.update_name(_clean(name))
        self._span.set_attributes(_cleaned(attributes))
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    @property
    def _context(self) -> Context:
        return set_span_in_context(self._span, Context())


def _processor(exporter: SpanExporter, every_s: float) -> BatchSpanProcessor:
    return BatchSpanProcessor(
        exporter,
        max_queue_size=MAX_SPANS_WAITING,
        schedule_delay_millis=every_s * 1000,
        max_export_batch_size=MAX_SPANS_A_BATCH,
        export_timeout_millis=30_000,  # nothing reads it; left out, a variable would be
    )


def _resource(version: str) -> Resource:
    return Resource(
        {
            "service.name": SERVICE,
            "service.version": version,
            "process.pid": os.getpid(),
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
        }
    )


def _named_in(headers: Headers) -> Context:
    """The context that the headers name. Those of W3C may come in several parts, which belong together in order."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() in CONTEXT_HEADERS:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            found[key] = f"{found[key]},{text}" if key in found else text
    return _CONTEXT.extract(found, context=Context())


def _cleaned(attributes: Attributes) -> dict[str, Value]:
    return {name: _clean(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _clean(text: str) -> str:
    """Half characters, which a path or a prompt may hold and no batch could be sent with, become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()
