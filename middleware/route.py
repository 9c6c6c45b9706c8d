"""Matches a request to a named provider instance and one of its routes.

Place: after governance, so that only a caller in good standing learns what exists; before body, which reads bodies
only for routes that are served. Reads `scope["path"]` and nothing else that a client sends (a `Host` header can't
steer it); sets `provider` and `route`. Refuses what no instance serves (404) and disabled instances (503); answers a
client's connectivity probe (`HEAD` or `GET` on an instance's base) itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from middleware.errors import ProviderDisabled, RouteNotSupported
from middleware.exchange import Exchange
from providers.base import Provider

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Locator(Protocol):
    """Finds the provider instance that a path names, and what follows its name."""

    def locate(self, scope: Scope) -> tuple[Provider, str] | None: ...

    def is_probe(self, scope: Scope) -> bool: ...


class RouteMiddleware:
    """Only listed routes go out, because a central key may be powerful."""

    requires: ClassVar[frozenset[str]] = frozenset({"caller", "credential_kind"})
    provides: ClassVar[frozenset[str]] = frozenset({"provider", "route"})

    def __init__(self, app: ASGIApp, *, locator: Locator) -> None:
        self.app = app
        self.locator = locator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        located = self.locator.locate(scope)
        if located is None:
            raise RouteNotSupported(scope["method"], scope["path"])
        provider, rest = located
        exchange = Exchange.of(scope)
        exchange.provider = provider
        if not provider.enabled:
            raise ProviderDisabled(provider.name)
        if self.locator.is_probe(scope):
            await _answer_probe(send)
            return
        exchange.route = provider.match(scope["method"], rest)
        if exchange.route is None:
            raise RouteNotSupported(scope["method"], scope["path"])
        await self.app(scope, receive, send)


async def _answer_probe(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
