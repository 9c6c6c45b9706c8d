"""The error tree, and the layer that words an error for the client.

    GatewayError                    status, message (safe to show), code
    ├── BadRequest                  400
    │   └── NoToken                 400  no authentication key provided
    ├── Forbidden                   403
    │   ├── Unauthorized            403  unauthorized
    │   └── ByokDisabled            403
    ├── RouteNotSupported           404
    ├── BodyTooLarge                413
    ├── UnsupportedCoding           415
    ├── NotImplementedByGateway     501
    ├── Unavailable                 503  with Retry-After where it helps
    │   ├── AuthorityUnreachable    503  could not connect to authority
    │   ├── ProviderDisabled        503
    │   └── RecordingFailed         503  failed to record interception
    ├── UpstreamUnreachable         502
    │   └── UpstreamBroke           502  after the answer began: seen as a cut, never as an end
    ├── UpstreamTimeout             504  says which of the four timeouts
    └── ClientLeft                  499  nobody is left to answer

Place: outermost, or beside telemetry, because every other layer speaks to the client by raising. It reads the path
(through `error_body`) to find the shape that this client understands, and sets `errors`. It never touches an answer
that has begun: then the exception goes on to the server, which cuts the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from middleware.exchange import Exchange
from providers.base import Headers

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
        super().__init__(f"route not supported: {method} {path}")


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


class RecordingFailed(Unavailable):
    def __init__(self) -> None:
        super().__init__("failed to record interception", retry_after_s=5)


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


def plain_error_body(path: str, status: int, message: str, code: str) -> bytes:
    """`{"message": ...}`: the shape on paths that belong to no provider."""
    import msgspec

    return msgspec.json.encode({"message": message})
