"""The error tree, and the layer that words an error for the client.

    GatewayError                    status, message (safe to show), code
    ├── BadRequest                  400
    │   └── NoToken                 400  no authentication key provided
    ├── Forbidden                   403
    │   ├── Unauthorized            403  unauthorized
    │   └── ByokDisabled            403
    ├── RouteNotSupported           404
    ├── GatewayDisabled             404
    ├── BodyTimeout                 408  the client stopped sending its body
    ├── BodyTooLarge                413
    ├── UnsupportedCoding           415
    ├── NotImplementedByGateway     501
    ├── Unavailable                 503  with Retry-After where it helps
    │   ├── AuthorityUnreachable    503  could not connect to authority
    │   ├── ProviderDisabled        503
    │   ├── AtCapacity              503
    │   ├── CircuitOpen             503  circuit breaker is open
    │   ├── RecordingFailed         503  failed to record interception
    │   └── ShuttingDown            503
    ├── RateLimited                 429  with Retry-After
    ├── KeysExhausted               502  no central key is accepted
    │   └── KeysRateLimited         429  with Retry-After
    ├── UpstreamUnreachable         502
    │   └── UpstreamBroke           502  after the answer began: seen as a cut, never as an end
    ├── UpstreamTimeout             504  says which of the four timeouts
    └── ClientLeft                  499  nobody is left to answer

Place: outermost, or beside telemetry, because every other layer speaks to the client by raising. It reads the path
(through `error_body`) to find the shape that this client understands, and sets `errors`. It never touches an answer
that has begun: then the exception goes on to the server, which cuts the connection.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from middleware.exchange import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.errors")

REQUEST_ID_HEADER = b"x-ai-gateway-request-id"


class GatewayError(Exception):
    """An error of our own. `message` is shown to the client; `retry_after_s` becomes `Retry-After`."""

    status: ClassVar[int] = 500
    code: str = ""

    def __init__(
        self, message: str = "internal error", *, retry_after_s: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code


class BadRequest(GatewayError):
    status = 400


class NoToken(BadRequest):
    def __init__(self) -> None:
        super().__init__("no authentication key provided")


class Forbidden(GatewayError):
    status = 403


class Unauthorized(Forbidden):
    """Whatever is wrong with a token, the public message is the same; the reason goes to the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("unauthorized")
        self.reason = reason


class ByokDisabled(Forbidden):
    def __init__(self) -> None:
        super().__init__("Bring Your Own Key (BYOK) mode is not enabled.")


class RouteNotSupported(GatewayError):
    status = 404

    def __init__(self, method: str, path: str) -> None:
        # A server may put bytes that are no UTF-8 into a path as lone surrogates, which no JSON can hold.
        super().__init__(f"route not supported: {method} {path.encode(errors='replace').decode()}")


class GatewayDisabled(GatewayError):
    status = 404

    def __init__(self) -> None:
        super().__init__("AI Gateway is disabled: the operator turned it off (setting `enabled`)")


class BodyTimeout(GatewayError):
    status = 408

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"request body stopped coming: nothing of it arrived for {limit_s:g} s")


class BodyTooLarge(GatewayError):
    status = 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"request body is larger than the limit of {max_bytes} bytes")


class UnsupportedCoding(GatewayError):
    status = 415


class NotImplementedByGateway(GatewayError):
    status = 501


class Unavailable(GatewayError):
    status = 503


class AuthorityUnreachable(Unavailable):
    def __init__(self, retry_after_s: int = 5) -> None:
        super().__init__("could not connect to authority", retry_after_s=retry_after_s)


class ProviderDisabled(Unavailable):
    code = "provider_disabled"

    def __init__(self, name: str) -> None:
        super().__init__(f'provider_disabled: AI provider "{name}" is disabled')


class AtCapacity(Unavailable):
    def __init__(self) -> None:
        super().__init__("AI Gateway is currently at capacity. Please try again later.")


class CircuitOpen(Unavailable):
    """The provider failed too often of late and is not asked; no error of the provider's, so failover lets it pass."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("circuit breaker is open", retry_after_s=retry_after_s)


class RecordingFailed(Unavailable):
    def __init__(self) -> None:
        super().__init__("failed to record interception", retry_after_s=5)


class ShuttingDown(Unavailable):
    def __init__(self) -> None:
        super().__init__("AI Gateway is shutting down", retry_after_s=5)


class RateLimited(GatewayError):
    status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("You've been rate limited. Please try again later.", retry_after_s=retry_after_s)


class KeysExhausted(GatewayError):
    """The provider accepts no central key that this request may use, which is nothing its caller could mend."""

    status = 502


class KeysRateLimited(KeysExhausted):
    status = 429


class UpstreamUnreachable(GatewayError):
    status = 502


class UpstreamBroke(UpstreamUnreachable):
    pass


class UpstreamTimeout(GatewayError):
    status = 504

    def __init__(self, which: str, limit_s: float) -> None:
        super().__init__(f"upstream timed out: {which} took longer than {limit_s:g} s")
        self.which = which


class ClientLeft(GatewayError):
    status = 499

    def __init__(self) -> None:
        super().__init__("client left before the answer ended")


class ErrorShape(Protocol):
    """Words an error for the client that asked for a path."""

    def __call__(self, scope: Scope, status: int, message: str, code: str) -> bytes: ...


def plain_error(scope: Scope, status: int, message: str, code: str) -> bytes:
    """`{"message": ...}`: the shape on paths that belong to no provider."""
    return msgspec.json.encode({"message": message})


class ErrorsMiddleware:
    """Turns a `GatewayError` into an answer in the shape that the client understands.

    `error_shape` words the body; `drain_bytes` and `drain_timeout_s` bound how much of an unread request body is
    taken in first, because a connection closed under a client that is still sending shows it a reset instead of
    the message.

    Errors that a Starlette application itself raises are seen by this layer only among its own `middleware=[...]`:
    around the application, Starlette's bare 500 comes first.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset({"errors"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        error_shape: ErrorShape = plain_error,
        drain_bytes: int = 64 * 1024 * 1024,
        drain_timeout_s: float = 5.0,
    ) -> None:
        if drain_bytes < 0:
            raise ValueError(f"drain_bytes must not be negative: {drain_bytes}")
        self.app = app
        self.error_shape = error_shape
        self.drain_bytes = drain_bytes
        self.drain_timeout_s = drain_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        Exchange.of(scope).errors = True
        responder = _Responder(self, scope, receive, send)
        try:
            await self.app(scope, responder.receive, responder.send)
        except ClientLeft:
            return  # nobody is there to read an answer, and the server has nothing to report
        except GatewayError as error:
            if responder.started:
                raise
            await responder.answer(error)
        except Exception:
            if not responder.started:
                log.exception("unexpected error", extra={"request_id": Exchange.of(scope).request_id})
                await responder.answer(GatewayError())
            raise


class _Responder:
    """Knows of one request whether its body was read and its answer begun."""

    __slots__ = ("_layer", "_receive", "_scope", "_send", "body_read", "started")

    def __init__(self, layer: ErrorsMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._layer, self._scope, self._receive, self._send = layer, scope, receive, send
        self.body_read = False
        self.started = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.body_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
        await self._send(message)

    async def answer(self, error: GatewayError) -> None:
        exchange = Exchange.of(self._scope)
        body = self._layer.error_shape(self._scope, error.status, error.message, error.code)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if error.retry_after_s is not None:
            headers.append((b"retry-after", str(error.retry_after_s).encode()))
        if exchange.request_id:  # last, where telemetry puts it when it stands outside
            headers.append((REQUEST_ID_HEADER, exchange.request_id.encode()))
        if not self.body_read:
            await self._drain()
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        taken = 0
        try:
            async with asyncio.timeout(self._layer.drain_timeout_s):
                while not self.body_read and taken <= self._layer.drain_bytes:
                    taken += len((await self.receive()).get("body", b""))
        except TimeoutError:
            log.debug("gave up on the rest of a request body", extra={"bytes": taken})
