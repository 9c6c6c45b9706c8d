"""Reads the request body, once and bounded in size and in patience, and replays it inward.

Place: after route and limits, so that no body is read for a request that will be refused; outside interception, which
needs the facts. Sets `body` and, on recorded routes, `facts`. Refuses a body over the limit (413), one that stops
coming (408), one that is not JSON on a recorded route (400), and a content coding it can't look into there (415). The
bytes themselves are never changed.

After the body, `receive` is the server's own again: the layer that waits for the provider watches it for the client.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, ClassVar

import msgspec

from middleware.errors import (
    BadRequest,
    BodyTimeout,
    BodyTooLarge,
    GatewayError,
    NotImplementedByGateway,
    UnsupportedCoding,
)
from middleware.exchange import Exchange, header
from middleware.request_body import replay, whole_body
from providers.base import Api, RequestFacts, RequestRefused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyMiddleware:
    """`max_bytes` bounds the body as sent, and as decoded where a recorded route is asked with a coded one.

    `timeout_s` is the longest silence of a client that has not sent all of it; each piece that comes counts anew.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"route", "admitted"})
    provides: ClassVar[frozenset[str]] = frozenset({"body", "facts"})

    def __init__(self, app: ASGIApp, *, max_bytes: int = 32 * 1024 * 1024, timeout_s: float = 60.0) -> None:
        if max_bytes <= 0:
            raise ValueError(f"max_bytes must be positive: {max_bytes}")
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive: {timeout_s}")
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        body = await self._read(scope, receive, exchange)
        exchange.body = body
        api = exchange.route.api if exchange.route else None
        if api is not None:
            try:
                exchange.facts = self._facts(scope, body, api)
            except RequestRefused as refused:
                raise _as_gateway_error(refused) from refused
        receive = replay(body, receive)
        del body  # whoever takes it from there lets go of it when it is sent
        await self.app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, exchange: Exchange) -> bytes:
        declared = header(scope, b"content-length") or ""
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)
        return await whole_body(_in_time(receive, self.timeout_s), exchange, max_bytes=self.max_bytes)

    def _facts(self, scope: Scope, body: bytes, api: Api) -> RequestFacts:
        decoded = self._decoded(scope, body)
        facts = api.read_request(decoded)
        # An edit's span refers to the bytes that were read; a coded body goes upstream as it came.
        return facts if decoded is body else msgspec.structs.replace(facts, usage_edit=None)

    def _decoded(self, scope: Scope, body: bytes) -> bytes:
        coding = (header(scope, b"content-encoding") or "identity").lower()
        if coding == "identity":
            return body
        if coding not in ("gzip", "deflate"):
            raise UnsupportedCoding(f"content-encoding {coding} is not supported here: send gzip or identity")
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            decoded = decoder.decompress(body, self.max_bytes)
        except zlib.error as error:
            raise BadRequest(f"request body is not valid {coding}") from error
        if decoder.unconsumed_tail:
            raise BodyTooLarge(self.max_bytes)
        return decoded


def _in_time(receive: Receive, timeout_s: float) -> Receive:
    """A `receive` that waits no longer than this for each message."""

    async def receive_in_time() -> Message:
        try:
            async with asyncio.timeout(timeout_s) as waiting:
                message = await receive()
        except TimeoutError as error:
            if not waiting.expired():
                raise  # the server's own trouble, and not ours
            raise BodyTimeout(timeout_s) from error
        return message

    return receive_in_time


def _as_gateway_error(refused: RequestRefused) -> GatewayError:
    kind = NotImplementedByGateway if refused.status == 501 else BadRequest
    return kind(refused.message)
