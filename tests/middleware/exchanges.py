"""Requests in the middle of the pipeline: a scope with an `Exchange` on it, as the layers outside would leave it.

Every secret here is obviously none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.exchange import Exchange, Identity
from providers.anthropic.provider import ANTHROPIC
from providers.base import Provider
from providers.copilot.provider import COPILOT
from providers.openai.provider import OPENAI
from providers.secret import Secret
from recorders.records import CredentialKind
from tests.asgi import http_scope

TOKEN: Final = "gwid01-fake-gateway-token-0123456789"
CENTRAL_KEY: Final = "fake-central-key-0123456789"
USER_KEY: Final = "fake-user-key-abcdefghij"
CALLER: Final = Identity("user-1", "alice", "key-1")

OPENAI_INSTANCE: Final = Provider(OPENAI, "openai", "https://openai.test/v1/", keys=(Secret(CENTRAL_KEY),))
ANTHROPIC_INSTANCE: Final = Provider(
    ANTHROPIC, "anthropic", "https://anthropic.test", keys=(Secret(CENTRAL_KEY),)
)
COPILOT_INSTANCE: Final = Provider(COPILOT, "copilot", "https://copilot.test")

CHAT_BODY: Final = b'{"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}]}'
MESSAGES_BODY: Final = (
    b'{"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}'
)

RawHeaders = Iterable[tuple[str | bytes, str | bytes]]


def known_scope(
    path: str = "/v1/chat/completions",
    *,
    method: str = "POST",
    provider: Provider = OPENAI_INSTANCE,
    body: bytes = CHAT_BODY,
    headers: RawHeaders = (),
    kind: CredentialKind = "centralized",
    query: str = "",
    caller: Identity = CALLER,
) -> Scope:
    """A request to `provider` of which every layer outside dispatch has already set its fields."""
    target = f"/{provider.name}{path}" + (f"?{query}" if query else "")
    scope = http_scope(method, target, headers=headers)
    route = provider.match(method, path)
    assert route is not None
    exchange = Exchange.of(scope)
    exchange.request_id, exchange.errors = "request-1", True
    exchange.caller, exchange.token, exchange.credential_kind = caller, Secret(TOKEN), kind
    exchange.provider, exchange.route, exchange.body = provider, route, body
    if route.api is not None:
        exchange.facts = route.api.read_request(body)
    return scope


class Inward:
    """The application inside a layer: keeps the scope and the body that reached it, answers with one chunk."""

    def __init__(
        self,
        body: bytes = b"{}",
        *,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
    ) -> None:
        self.answer, self.status, self.headers = body, status, list(headers)
        self.scopes: list[Scope] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.body = await read_body(receive)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.answer})

    @property
    def scope(self) -> Scope:
        (scope,) = self.scopes
        return scope

    @property
    def request_headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.scope["headers"])

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header that reached the inside, in order."""
        return [value for key, value in self.request_headers if key.lower() == name]


async def read_body(receive: Receive) -> bytes:
    """The whole request body, as an application reads it."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def raising(error: BaseException) -> ASGIApp:
    """An application that reads the body and then fails with `error`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        raise error

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
