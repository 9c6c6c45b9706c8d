"""An OpenTelemetry collector, as far as traces go: an ASGI app that takes batches in OTLP/HTTP and decodes them.

collector = Collector()
async with serving(collector) as url: ...
spans = await collector.received(3)
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.types import Receive, Scope, Send

from tests.waiting import Changes


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it arrived; IDs are hexadecimal, `parent_id` is empty for the first of a trace."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    attributes: dict[str, Any]
    failed: bool
    began_ns: int
    ended_ns: int


class Collector:
    """Answers with `statuses`, one after the other, then with 200. What it took is in `spans`."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, Any] = {}
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._statuses = list(statuses)
        self._changes = Changes()

    async def received(self, count: int) -> list[Span]:
        """The spans, once there are so many."""
        await self._changes.until(
            lambda: len(self.spans) >= count, f"{count} spans, of which {len(self.spans)} came"
        )
        return self.spans

    async def asked(self, times: int) -> None:
        """Return once it got so many requests, whatever it answered."""
        await self._changes.until(lambda: len(self.paths) >= times, f"{times} requests to the collector")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        status = self._statuses.pop(0) if self._statuses else 200
        self.paths.append(scope["path"])
        self.headers.append({name.decode().lower(): value.decode() for name, value in scope["headers"]})
        if status == 200:
            self._take(gzip.decompress(body))
        self._changes.notify()
        headers = [(b"content-type", b"application/x-protobuf")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": ExportTraceServiceResponse().SerializeToString()})

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            self.resource = _plain(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [_span(span) for span in scope_spans.spans]


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        trace_state=span.trace_state,
        attributes=_plain(span.attributes),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
