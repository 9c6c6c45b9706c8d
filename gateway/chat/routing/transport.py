"""What stands between a vendor's SDK and the other end: it sets credentials, and tells a debugger what passed.

Both work on copies. The request that the SDK made, and shows in its errors and logs, holds a placeholder throughout.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

import httpx2

from gateway.chat.routing.credentials import REDACTED, Carried, without_credentials
from gateway.chat.routing.requests import HttpCall, RecordHttp
from middleware.governance import CREDENTIAL_SLOTS

log = logging.getLogger("ai_gateway.chat")

SHOWN: Final = frozenset(
    {"content-type", "content-length", "user-agent", "retry-after", "retry-after-ms", "request-id"}
)
SHOWN_PREFIXES: Final = ("x-coder-", "x-request-", "x-ratelimit-", "anthropic-", "openai-", "x-stainless-")


class HeadersTransport(httpx2.AsyncBaseTransport):
    """Sends each request with what is `carried` instead of what authenticates it, or without either.

    Providers have been seen to echo a credential in a header, and SDKs log headers: it doesn't get that far.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, carried: Carried | None) -> None:
        self._inner = inner
        self._carried = carried

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        put = without_credentials if self._carried is None else self._carried.put_on
        response = await self._inner.handle_async_request(
            httpx2.Request(
                request.method,
                request.url,
                headers=put(headers),
                stream=request.stream,
                extensions=request.extensions,
            )
        )
        if self._carried is not None:
            response.headers = httpx2.Headers(self._carried.taken_out(response.headers.raw))
        return response

    async def aclose(self) -> None:
        """Nothing to close: the transport inside belongs to whoever made it, and others use it."""


class RecordingTransport(httpx2.AsyncBaseTransport):
    """Tells `record` of each exchange when its answer begins. Whatever `record` raises is logged and fails nothing."""

    def __init__(self, inner: Any, record: RecordHttp) -> None:
        self._inner = inner
        self._record = record

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await self._inner.handle_async_request(request)
        try:
            self._record(_call(request, response))
        except Exception:
            log.exception("an HTTP exchange of a chat could not be recorded")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _call(request: httpx2.Request, response: httpx2.Response) -> HttpCall:
    return HttpCall(
        request.method,
        str(request.url.copy_with(userinfo=b"", query=None)),
        _shown(request.headers.multi_items()),
        response.status_code,
        _shown(response.headers.multi_items()),
    )


def _shown(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those that are known to hold no secret are shown; of the others, the names."""
    return {
        name: value
        if name.encode("latin-1", "replace") not in CREDENTIAL_SLOTS
        and (name in SHOWN or name.startswith(SHOWN_PREFIXES))
        else REDACTED
        for name, value in ((name.lower(), value) for name, value in headers)
    }
