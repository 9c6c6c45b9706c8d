"""A provider that talks too much: it echoes credentials wherever a real one might, and breaks in every way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

import httpx

from tests.security.traffic import Outcome

CREDENTIAL_HEADERS: Final = ("authorization", "x-api-key")

ANSWER: Final = {
    "id": "r1",
    "type": "message",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "content": [{"type": "text", "text": "hi"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "input_tokens": 3, "output_tokens": 2},
}


class TalkativeProvider(httpx.AsyncBaseTransport):
    """`outcome` says what it does with the next request; `seen` is the one that came, if one did."""

    def __init__(self) -> None:
        self.outcome: Outcome = "answers"
        self.seen: httpx.Request | None = None
        self.body = b""
        self.stalled = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen = request
        self.body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]
        secret = next(
            (request.headers[name] for name in CREDENTIAL_HEADERS if name in request.headers), "none"
        )
        secret = secret.removeprefix("Bearer ")
        match self.outcome:
            case "unreachable":
                raise httpx.ConnectError(f"can't connect with {secret}", request=request)
            case "times out":
                raise httpx.ConnectTimeout(f"no connection with {secret}", request=request)
            case "fails":
                raise RuntimeError("the transport has a bug")
            case "echoes":
                return _echo(secret, request)
            case "babbles":
                return httpx.Response(
                    200, headers=[("content-type", "application/json")], stream=_Pieces([b"{]"])
                )
            case outcome:
                return self._stream(outcome, secret)

    def _stream(self, outcome: Outcome, secret: str) -> httpx.Response:
        first = b"data: " + json.dumps(ANSWER).encode() + b"\n\n"
        pieces: list[bytes | Exception | asyncio.Event] = [first]
        match outcome:
            case "echoes in a stream":
                error = {
                    "type": f"bad {secret}",
                    "code": secret,
                    "message": f"Incorrect key provided: {secret}",
                }
                pieces.append(
                    b"event: error\ndata: " + json.dumps({"type": "error", "error": error}).encode() + b"\n\n"
                )
            case "cuts":
                pieces.append(httpx.ReadError("cut"))
            case "stalls":
                pieces += [self.stalled, first]
        return httpx.Response(200, headers=[("content-type", "text/event-stream")], stream=_Pieces(pieces))


def _echo(secret: str, request: httpx.Request) -> httpx.Response:
    """An error that quotes the credential in headers, in its message and in its type."""
    error = {"type": f"bad_{secret}", "code": secret, "message": f"Incorrect API key provided: {secret}."}
    headers = [
        ("content-type", "application/json"),
        ("set-cookie", f"session={secret}"),
        ("www-authenticate", f'Bearer error="{secret}"'),
        ("x-echo", f"Bearer {secret}"),
        ("location", f"https://elsewhere.example/?key={secret}"),
        ("x-request-id", "req_1"),
    ]
    body = json.dumps({"type": "error", "error": error}).encode()
    return httpx.Response(401, headers=headers, stream=_Pieces([body]), request=request)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes | Exception | asyncio.Event] | list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece
