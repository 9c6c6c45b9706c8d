"""Measures each request for whoever counts: how long it took, when its answer began, how it ended.

Place: inside errors, whose refusals it sees as they were raised; outside auth, so that refused requests are counted
too. Sets `measured`. When the request is over, what the other layers learned of it (instance, route, model, outcome)
stands on the `Exchange`, where the meter reads it; so this layer needs to know none of it.

Of an answer it looks at the start and at the first byte. What follows passes through one plain call, for a stream has
hundreds of chunks. What the meter counts, and under which names, is not this layer's matter; a meter that fails costs
a log line and never the request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from middleware.exchange import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.metrics")


class Meter(Protocol):
    """Counts requests. Each call is synchronous and short."""

    def began(self, request: Measured) -> None: ...

    def answering(self, request: Measured) -> None:
        """The answer has begun: `status` is known."""
        ...

    def ended(self, request: Measured) -> None:
        """The request is over. Exactly one call follows each `began`."""
        ...


class MetricsMiddleware:
    """`clock` counts seconds and never goes back."""

    requires: ClassVar[frozenset[str]] = frozenset({"errors", "request_id"})
    provides: ClassVar[frozenset[str]] = frozenset({"measured"})

    def __init__(self, app: ASGIApp, *, meter: Meter, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app = app
        self.meter = meter
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        exchange.measured = True
        request = Measured(self, exchange, scope["method"], send)
        _tell(self.meter.began, request)
        try:
            await self.app(scope, receive, request.send)
        except Exception as error:
            request.error = error
            raise
        finally:
            request.duration_s = self.clock() - request.began_s
            _tell(self.meter.ended, request)


class Measured:
    """One request as seen from here. Times are seconds; `status` is 0 until an answer has begun."""

    __slots__ = (
        "_clock",
        "_meter",
        "_send",
        "_watching",
        "began_s",
        "duration_s",
        "error",
        "exchange",
        "first_byte_s",
        "method",
        "status",
    )

    def __init__(self, layer: MetricsMiddleware, exchange: Exchange, method: str, send: Send) -> None:
        self._meter, self._clock, self._send = layer.meter, layer.clock, send
        self._watching = True
        self.exchange, self.method = exchange, method
        self.status = 0
        self.error: Exception | None = None
        self.first_byte_s: float | None = None
        self.duration_s = 0.0
        self.began_s = layer.clock()

    def send(self, message: Message) -> Awaitable[None]:
        """No coroutine of its own: behind the first byte it costs a message one call."""
        if self._watching:
            self._look_at(message)
        return self._send(message)

    def _look_at(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            _tell(self._meter.answering, self)
        elif message.get("body"):
            self.first_byte_s = self._clock() - self.began_s
            self._watching = False


def _tell(meter: Callable[[Measured], None], request: Measured) -> None:
    try:
        meter(request)
    except Exception:
        log.exception("a request could not be counted", extra={"request_id": request.exchange.request_id})
