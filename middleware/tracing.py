"""Begins a span for each request, in the trace that its client names, and ends it with what became of the request.

Place: inside telemetry and metrics, so that what it costs is measured too; outside auth, so that refused requests have
a span. Sets `span`, below which the attempts stand (`attempt_tracing`). Reads of the request method, path and the
headers of W3C Trace Context; when the request is over, whatever the other layers learned, and the summary of its
records. Of query, headers and bodies nothing goes into a span, but for the last user prompt where it was asked for.

What keeps the spans is the tracer's matter. One that fails costs a log line and never the request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from middleware.errors import GatewayError
from middleware.exchange import Exchange
from providers import genai

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from recorders.spans import Span, Tracer, Value
    from recorders.summaries import Summaries

log = logging.getLogger("ai_gateway.traces")


class TracingMiddleware:
    """`summaries` are of the interceptions in this pipeline; without them spans lack tokens, session and outcome."""

    requires: ClassVar[frozenset[str]] = frozenset({"errors", "request_id", "measured"})
    provides: ClassVar[frozenset[str]] = frozenset({"span"})

    def __init__(self, app: ASGIApp, *, tracer: Tracer, summaries: Summaries | None = None) -> None:
        self.app = app
        self.tracer = tracer
        self.summaries = summaries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        exchange.span = self._begin(scope)
        seen = _Seen(scope["method"], send)
        try:
            await self.app(scope, receive, seen.send)
        except BaseException as error:
            seen.error = error
            raise
        finally:
            self._end(exchange, seen)

    def _begin(self, scope: Scope) -> Span | None:
        method = genai.method_of(scope["method"])
        attributes = {
            genai.HTTP_METHOD: method,
            genai.URL_SCHEME: scope["scheme"],
            genai.URL_PATH: scope["path"],
        }
        try:
            return self.tracer.begin(genai.call_name(method, None), scope["headers"], attributes)
        except Exception:
            log.exception("no span could be begun")
            return None

    def _end(self, exchange: Exchange, seen: _Seen) -> None:
        try:
            summary = self.summaries.take(exchange.interception_id) if self.summaries else None
            if exchange.span is None:
                return
            attributes = _attributes(exchange) | (genai.answer_attributes(summary) if summary else {})
            if seen.status:
                attributes[genai.HTTP_STATUS] = seen.status
            trouble = "" if exchange.client_left else seen.trouble
            if trouble:
                attributes.setdefault(genai.ERROR_TYPE, trouble)
            cut_short = seen.status < 400 and summary is not None and summary.outcome == "upstream_failed"
            exchange.span.end(
                attributes, name=_name(exchange, seen.method), failed=bool(trouble) or cut_short
            )
        except Exception:
            log.exception("a span could not be ended")


class _Seen:
    """What one answer looked like from here."""

    __slots__ = ("_send", "_status", "error", "method")

    def __init__(self, method: str, send: Send) -> None:
        self.method = method
        self._send = send
        self._status = 0
        self.error: BaseException | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        await self._send(message)

    @property
    def status(self) -> int:
        """What the client got, or will get from the layer that words the error; 0 where it gets nothing."""
        if not self._status and isinstance(self.error, GatewayError):
            return self.error.status
        return self._status

    @property
    def trouble(self) -> str:
        """Why the request counts as failed: by the conventions a refusal of what a client did does not."""
        if isinstance(self.error, GatewayError):
            return type(self.error).__name__ if self._status or self.error.status >= 500 else ""
        if self.error is not None:
            return type(self.error).__name__
        return str(self._status) if self._status >= 500 else ""


def _name(exchange: Exchange, method: str) -> str:
    """What the request turned out to be; nothing where nobody found out."""
    provider, route = exchange.provider, exchange.route
    if provider is None or route is None:
        return ""
    return genai.call_name(method, exchange.facts if route.api else None, genai.route_of(provider, route))


def _attributes(exchange: Exchange) -> dict[str, Value]:
    attributes: dict[str, Value] = {genai.REQUEST_ID: exchange.request_id}
    if exchange.caller is not None:
        attributes[genai.USER_ID] = exchange.caller.user_id
    if exchange.credential_kind is not None:
        attributes[genai.CREDENTIAL_KIND] = exchange.credential_kind
    if exchange.provider is not None and exchange.route is not None:
        attributes[genai.HTTP_ROUTE] = genai.route_of(exchange.provider, exchange.route)
        attributes |= genai.call_attributes(exchange.provider, exchange.route, exchange.facts)
    if exchange.interception_id is not None:
        attributes[genai.INTERCEPTION_ID] = exchange.interception_id
    if exchange.client_left:
        attributes[genai.CLIENT_LEFT] = True
    return attributes
