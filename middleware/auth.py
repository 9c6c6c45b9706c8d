"""Finds out who is calling.

Place: inside errors, telemetry, metrics and tracing, outside everything else, so that a stranger costs nothing and
learns nothing. Sets `caller`, and `token` for governance to remove from the request. Refuses a request without a token
(400), with a bad one (403), and while the authority can't be asked (503, never 401 or 403).

It does not change a header, and does not decide what the caller may do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from middleware.errors import NoToken, Unauthorized
from middleware.exchange import (
    DELEGATED_MARKER,
    DELEGATION_KEY,
    GOVERNANCE_HEADER,
    Delegation,
    Exchange,
    Identity,
    header,
)
from providers.secret import Secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("ai_gateway.auth")


class Authenticator(Protocol):
    """Knows who holds a key. Raises `Unauthorized` or `AuthorityUnreachable`, nothing else."""

    async def authenticate(self, token: Secret) -> Identity:
        """The owner of a live token."""
        ...

    async def identify(self, api_key_id: str) -> Identity:
        """The owner of a live key, named by a caller in this process that doesn't hold the secret."""
        ...


def find_token(scope: Scope) -> Secret | None:
    """The gateway token of a request: governance header, then bearer, then `X-Api-Key`."""
    text = header(scope, GOVERNANCE_HEADER) or _bearer(scope) or header(scope, b"x-api-key")
    return Secret(text) if text else None


def _bearer(scope: Scope) -> str | None:
    fields = (header(scope, b"authorization") or "").split()
    return fields[1] if len(fields) == 2 and fields[0].lower() == "bearer" else None


def _nothing(scope: Scope) -> bool:
    return False


class AuthMiddleware:
    """Asks `authenticator` who is calling; a request for which `exempt` is true passes without an identity."""

    requires: ClassVar[frozenset[str]] = frozenset({"errors", "request_id", "measured", "span"})
    provides: ClassVar[frozenset[str]] = frozenset({"caller", "token"})

    def __init__(
        self, app: ASGIApp, *, authenticator: Authenticator, exempt: Callable[[Scope], bool] = _nothing
    ) -> None:
        self.app = app
        self.authenticator = authenticator
        self.exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not self.exempt(scope):
            exchange = Exchange.of(scope)
            try:
                exchange.caller = await self._identify(scope, exchange)
            except Unauthorized as error:
                log.warning(
                    "refused a token", extra={"request_id": exchange.request_id, "reason": error.reason}
                )
                raise
        await self.app(scope, receive, send)

    async def _identify(self, scope: Scope, exchange: Exchange) -> Identity:
        delegation = scope.get(DELEGATION_KEY)
        if isinstance(delegation, Delegation):
            if (header(scope, GOVERNANCE_HEADER) or DELEGATED_MARKER) != DELEGATED_MARKER:
                raise Unauthorized("a delegated caller sent a governance token of its own")
            return await self.authenticator.identify(delegation.api_key_id)
        exchange.token = find_token(scope)
        if exchange.token is None:
            raise NoToken
        return await self.authenticator.authenticate(exchange.token)
