"""Turns the client's request into the provider's: where it goes, and with whose credential.

Place: the border between client side and upstream side; inside it, the scope describes the request to the provider
and not the one from the client. Needs `route`, `credential_kind`, `identity_headers` and `interception_id`, because
whatever is inside speaks to the provider: nothing may be left to strip or to record. Sets `credential`.

The target is the instance's base URL and the path that was authorized, written anew from it: no header, body or
encoding of a client can choose another host. On the way down it removes any header that echoes the credential, and
tells proxies not to buffer a stream.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote

from middleware.errors import BadRequest
from middleware.exchange import Exchange, Identity
from providers.base import Credential, Headers, Provider, Route

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REPLACED: Final = frozenset({b"authorization", b"x-api-key", b"content-length"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_KEPT: Final = 512
PATH_SAFE: Final = "/:@!$&'()*+,=~-._"


class ProviderDispatch:
    """`actor_headers` (id header, username header) tell the provider who is asking; None tells it nothing."""

    requires: ClassVar[frozenset[str]] = frozenset(
        {"route", "credential_kind", "body", "identity_headers", "interception_id"}
    )
    provides: ClassVar[frozenset[str]] = frozenset({"credential"})

    def __init__(self, app: ASGIApp, *, actor_headers: tuple[bytes, bytes] | None = None) -> None:
        self.app = app
        self.actor_headers = actor_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        if exchange.provider is None or exchange.route is None:
            raise RuntimeError("provider dispatch needs a route: put RouteMiddleware outside it")
        exchange.credential = _credential(exchange.provider, exchange.credential_kind, scope["headers"])
        outward = self._outward(scope, exchange, exchange.provider, exchange.route)
        await self.app(outward, receive, _clean_answer(exchange, send))

    def _outward(self, scope: Scope, exchange: Exchange, provider: Provider, route: Route) -> Scope:
        url = provider.url
        scheme, host = url.scheme, url.hostname or ""
        raw_path = (url.path.rstrip("/") + _quoted(route.upstream_path)).encode("ascii")
        return {
            **scope,
            "scheme": scheme,
            "server": (host, url.port or DEFAULT_PORTS[scheme]),
            "root_path": "",
            "path": url.path.rstrip("/") + route.upstream_path,
            "raw_path": raw_path,
            "headers": self._headers(scope, exchange, provider, route),
        }

    def _headers(self, scope: Scope, exchange: Exchange, provider: Provider, route: Route) -> Headers:
        headers: Headers = [(b"host", provider.url.netloc.rpartition("@")[2].encode("ascii"))]
        headers += [header for header in scope["headers"] if header[0] not in REPLACED]
        if exchange.credential is not None:
            slot = exchange.credential.slot
            headers.append((slot.header, slot.value(exchange.credential.secret)))
        if self.actor_headers and route.api is not None and exchange.caller is not None:
            headers += _actor(self.actor_headers, exchange.caller)
        return headers


def _quoted(path: str) -> str:
    """Paths repeat, so they are kept; but for long ones, of which a thousand would fill the memory."""
    return _kept(path) if len(path) <= MAX_KEPT else quote(path, safe=PATH_SAFE)


@lru_cache(maxsize=1024)
def _kept(path: str) -> str:
    return quote(path, safe=PATH_SAFE)


def _credential(provider: Provider, kind: str | None, headers: Headers) -> Credential | None:
    if provider.type.byok_only:
        credential = provider.user_credential(headers)
        if credential is None:
            raise BadRequest(
                f'AI provider "{provider.name}" needs your own token: send it as a bearer in Authorization, '
                "and the gateway token in X-Coder-AI-Governance-Token"
            )
        return credential
    if kind == "byok":
        credential = provider.user_credential(headers)
        if credential is None:
            raise BadRequest("your own credential did not get this far: Connection must not name its header")
        return credential
    return provider.central_credential()


def _actor(names: tuple[bytes, bytes], caller: Identity) -> Headers:
    values = (caller.user_id, caller.username)
    return [
        (name, quote(value, safe=" @+=,").encode("ascii")) for name, value in zip(names, values, strict=True)
    ]


def _clean_answer(exchange: Exchange, send: Send) -> Send:
    async def send_clean(message: Message) -> None:
        if message["type"] == "http.response.start":
            credential = exchange.credential  # of the attempt that is answered
            needle = credential.secret.reveal_secret_value().encode("latin-1") if credential else b""
            headers = [(n, v) for n, v in message["headers"] if not needle or needle not in v]
            message = {**message, "headers": headers + _stream_headers(headers)}
        await send(message)

    return send_clean


def _stream_headers(headers: Headers) -> Headers:
    """What keeps proxies from holding a stream back, where the provider said nothing else."""
    names = {name.lower(): value for name, value in headers}
    if not names.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
        return []
    wanted = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
    return [(name, value) for name, value in wanted if name not in names]
