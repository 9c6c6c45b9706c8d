"""Gives each request an ID and each request's end one line in the access log.

Place: outside auth, so that refused requests are logged too; on either side of errors, because both know the status
of an error that passes. Sets `request_id`, and answers carry it as `x-ai-gateway-request-id`. Reads, when the request
is over, whatever the other layers learned. It never logs a query string, a header or a body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from middleware.errors import REQUEST_ID_HEADER, GatewayError
from middleware.exchange import Exchange, new_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.access")


class TelemetryMiddleware:
    """Request ID and access log. `clock` counts seconds and never goes back."""

    requires: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset({"request_id"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        new_id: Callable[[], str] = new_id,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self.new_id = new_id
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        exchange.request_id = self.new_id()
        seen = _Seen(exchange, send)
        began = self.clock()
        try:
            await self.app(scope, receive, seen.send)
        except GatewayError as error:
            seen.broken = seen.status != 0 and not exchange.client_left
            seen.status = seen.status or error.status
            raise
        except Exception:
            seen.status = seen.status or 500
            seen.broken = True
            raise
        finally:
            if log.isEnabledFor(logging.INFO):
                log.info("request", extra=_line(scope, exchange, seen, self.clock() - began))


class _Seen:
    """What one answer looked like from here."""

    __slots__ = ("_exchange", "_send", "broken", "bytes", "status")

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self.status = 0
        self.bytes = 0
        self.broken = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            message = self._with_request_id(message)
        await self._send(message)

    def _with_request_id(self, message: Message) -> Message:
        headers = [(name, value) for name, value in message["headers"] if name.lower() != REQUEST_ID_HEADER]
        headers.append((REQUEST_ID_HEADER, self._exchange.request_id.encode()))
        return {**message, "headers": headers}


def _line(scope: Scope, exchange: Exchange, seen: _Seen, duration_s: float) -> dict[str, Any]:
    caller, provider, facts = exchange.caller, exchange.provider, exchange.facts
    return {
        "request_id": exchange.request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": seen.status or None,
        "duration_ms": round(duration_s * 1000, 1),
        "bytes": seen.bytes,
        "user": caller.username if caller else None,
        "api_key_id": caller.api_key_id if caller else None,
        "provider": provider.name if provider else None,
        "model": facts.model if facts else None,
        "credential_kind": exchange.credential_kind,
        "interception_id": exchange.interception_id,
        "client_left": exchange.client_left,
        "broken": seen.broken,
    }
