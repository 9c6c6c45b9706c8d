"""Decides whose credential goes upstream, and removes the caller's gateway token from the whole request.

Place: right after auth, which found the token; before everything that might log or forward a header. Reads `token`
and the governance header; sets `credential_kind`. Refuses BYOK where the operator turned it off (403).

- centralized: the gateway token came in the provider's own header. Every credential slot is emptied; dispatch adds
  the organisation's key.
- byok: the governance header is there, so `Authorization` and `X-Api-Key` are the user's own and stay. Without a
  bearer or a key in them the request is centralized after all.

It does not know providers: which of two user credentials wins is the provider's matter.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote_to_bytes

from middleware.errors import ByokDisabled
from middleware.exchange import GOVERNANCE_HEADER, Exchange, header
from providers.base import BEARER, X_API_KEY, Headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

USER_CREDENTIALS: Final = (BEARER, X_API_KEY)
USER_SLOTS: Final = frozenset(slot.header for slot in USER_CREDENTIALS)
CREDENTIAL_SLOTS: Final = USER_SLOTS | {
    b"api-key",
    b"x-goog-api-key",
    b"x-auth-token",
    b"proxy-authorization",
    b"cookie",
    GOVERNANCE_HEADER,
}


class GovernanceMiddleware:
    """Centralized or BYOK, and no trace of the gateway token from here on."""

    requires: ClassVar[frozenset[str]] = frozenset({"caller", "token"})
    provides: ClassVar[frozenset[str]] = frozenset({"credential_kind"})

    def __init__(self, app: ASGIApp, *, allow_byok: bool = True) -> None:
        self.app = app
        self.allow_byok = allow_byok

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        byok = bool(header(scope, GOVERNANCE_HEADER))
        if byok and not self.allow_byok:
            raise ByokDisabled
        exchange = Exchange.of(scope)
        needle = exchange.token.reveal_secret_value().encode("latin-1") if exchange.token else b""
        headers = _clean_headers(scope["headers"], USER_SLOTS if byok else frozenset(), needle)
        exchange.credential_kind = "byok" if _any_user_credential(headers) else "centralized"
        query = scope.get("query_string", b"")
        inward = {**scope, "headers": headers, "query_string": _clean_query(query, needle)}
        await self.app(inward, receive, send)


def _clean_headers(headers: Headers, kept_slots: frozenset[bytes], needle: bytes) -> Headers:
    clean: Headers = []
    for pair in headers:
        name, value = pair
        slot = name.lower()
        if slot in CREDENTIAL_SLOTS and slot not in kept_slots:
            continue
        if needle and _holds(value, needle):
            continue
        clean.append(pair)
    return clean


def _holds(value: bytes, needle: bytes) -> bool:
    """Whether a header value carries the token, plainly or in a Basic credential."""
    if needle in value:
        return True
    scheme, _, parameter = value.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        return needle in base64.b64decode(parameter.strip() + b"==")  # lenient readers do without padding too
    except binascii.Error:
        return False


def _any_user_credential(headers: Headers) -> bool:
    return any(
        slot.read(value)
        for name, value in headers
        for slot in USER_CREDENTIALS
        if slot.header == name.lower()
    )


def _clean_query(query: bytes, needle: bytes) -> bytes:
    """The query without parameters that carry the token; untouched, to the byte, when none does."""
    if not needle or not query:
        return query
    pairs = query.split(b"&")
    kept = [pair for pair in pairs if needle not in unquote_to_bytes(pair.replace(b"+", b" "))]
    return query if len(kept) == len(pairs) else b"&".join(kept)
