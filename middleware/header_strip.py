"""Takes off what concerns only this hop or only us, in both directions.

Place: after governance, which still reads the governance header, and before anything that forwards. Sets
`identity_headers`: the `X-Coder-*` headers that are removed here but that recording still wants to read (chat, owner).

Up: hop-by-hop headers and those that `Connection` nominates, `Host`, `Expect`, `Cookie`,
`Forwarded`, `X-Forwarded-*`, `X-Coder-*`, `Coder-Session-Token`, and actor headers, which only the gateway may set.
`Content-Length` stays until dispatch, so that body can refuse by it; upstream writes it anew.
Down: hop-by-hop headers and `Set-Cookie`. Everything else passes unchanged and in order, duplicates included
(RFC 9110 section 7.6.1). Whether the answer may be compressed is interception's matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from middleware.exchange import Exchange, with_headers
from providers.base import Headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
OURS: Final = frozenset({b"host", b"expect", b"cookie", b"forwarded", b"coder-session-token"})
IDENTITY_PREFIX: Final = b"x-coder-"
STRIPPED_PREFIXES: Final = (IDENTITY_PREFIX, b"x-forwarded-")


class HeaderStripMiddleware:
    """`actor_headers` are the names under which the gateway tells a provider who is asking."""

    requires: ClassVar[frozenset[str]] = frozenset({"credential_kind"})
    provides: ClassVar[frozenset[str]] = frozenset({"identity_headers"})

    def __init__(self, app: ASGIApp, *, actor_headers: Collection[bytes] = ()) -> None:
        self.app = app
        self.stripped = HOP_BY_HOP | OURS | {name.lower() for name in actor_headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_stripped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _strip_answer(message["headers"])}
            await send(message)

        headers = _lowered(scope["headers"])
        Exchange.of(scope).identity_headers = [
            header for header in headers if header[0].startswith(IDENTITY_PREFIX)
        ]
        await self.app(with_headers(scope, self._strip_request(headers)), receive, send_stripped)

    def _strip_request(self, headers: Headers) -> Headers:
        stripped = self.stripped | nominated(headers)
        return [
            header
            for header in headers
            if header[0] not in stripped and not header[0].startswith(STRIPPED_PREFIXES)
        ]


def _strip_answer(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    lowered = _lowered(headers)
    stripped = HOP_BY_HOP | nominated(lowered)
    return [(name, value) for name, value in lowered if name not in stripped and name != b"set-cookie"]


def _lowered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """With names in lower case, which servers mostly give already: then it's the same objects, for a long answer."""
    return [header if header[0].islower() else (header[0].lower(), header[1]) for header in headers]


def nominated(headers: Headers) -> frozenset[bytes]:
    """The headers that `Connection` declares to be for this hop only."""
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))
