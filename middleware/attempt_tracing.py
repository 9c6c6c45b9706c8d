"""Begins a span for each attempt to reach the provider, below the one of its request, and tells the provider of it.

Place: inside failover, so that each attempt has a span of its own; outside circuit_breaker, so that one which an open
circuit refuses is seen too, and outside dump, which shows the headers that this layer sets. Needs `span` and
`attempt`; sets `attempt_span`. Where the request has no span, everything passes as it came.

The provider gets `traceparent` and `tracestate` of the attempt in the place of the client's, so that a provider which
traces too, such as another gateway, continues the trace at the right place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from middleware.errors import ClientLeft
from middleware.exchange import Exchange, with_headers
from providers import genai
from recorders.spans import CONTEXT_HEADERS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from recorders.spans import Span, Value

log = logging.getLogger("ai_gateway.traces")


class AttemptTracingMiddleware:
    """It takes no options: the span of the request makes those of the attempts."""

    requires: ClassVar[frozenset[str]] = frozenset({"span", "attempt"})
    provides: ClassVar[frozenset[str]] = frozenset({"attempt_span"})

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        begun = _begin(exchange.span, exchange, scope) if exchange.span else None
        if begun is None:
            await self.app(scope, receive, send)
            return
        span, inward = begun
        exchange.attempt_span = span
        status = 0

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        failure: BaseException | None = None
        try:
            await self.app(inward, receive, send_seen)
        except BaseException as error:
            failure = error
            raise
        finally:
            _end(span, exchange, status, failure)


def _begin(parent: Span, exchange: Exchange, scope: Scope) -> tuple[Span, Scope] | None:
    """The span, and the request as it continues the trace below it; None where the tracer fails."""
    try:
        span = parent.child(*_described(exchange, scope))
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in CONTEXT_HEADERS]
        return span, with_headers(scope, [*headers, *span.context()])
    except Exception:
        log.exception("no span could be begun")
        return None


def _described(exchange: Exchange, scope: Scope) -> tuple[str, dict[str, Value]]:
    method = genai.method_of(scope["method"])
    facts = exchange.facts if exchange.route and exchange.route.api else None
    attributes: dict[str, Value] = {genai.ATTEMPT: exchange.attempt, genai.HTTP_METHOD: method}
    if exchange.attempt > 1:
        attributes[genai.HTTP_RESENDS] = exchange.attempt - 1
    attributes[genai.SERVER_ADDRESS], attributes[genai.SERVER_PORT] = scope["server"]
    if exchange.provider is not None and exchange.route is not None:
        attributes |= genai.call_attributes(exchange.provider, exchange.route, facts)
    return genai.call_name(method, facts), attributes


def _end(span: Span, exchange: Exchange, status: int, failure: BaseException | None) -> None:
    attributes: dict[str, Value] = {}
    if status:
        attributes[genai.HTTP_STATUS] = status
    if exchange.client_left or isinstance(failure, ClientLeft):
        attributes[genai.CLIENT_LEFT] = True
    elif status >= 400:
        attributes[genai.ERROR_TYPE] = str(status)
    elif failure is not None:
        attributes[genai.ERROR_TYPE] = type(failure).__name__
    try:
        span.end(attributes, failed=genai.ERROR_TYPE in attributes)
    except Exception:
        log.exception("a span could not be ended")
