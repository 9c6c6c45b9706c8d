"""The floor for a gateway in Python: the server and transport of `ai-gateway serve`, and nothing of it between them.

    python -m tests.bench.relay_host --port N --upstream N

It relays each request as it came and each answer chunk by chunk, those together that came together. No key is checked
and nothing is read, recorded or logged, nobody sees a client leave, and no time is limited: what the gateway costs more
than this is its own work.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx

from gateway.aiohttp_transport import AiohttpTransport
from gateway.server import serve_until, without_lifespan
from gateway.tuning import tune
from middleware.exchange import CHUNKS
from tests.bench.event_loop import run

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class Relay:
    """One provider, asked by whoever comes."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._transport = AiohttpTransport()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        url = self._upstream + scope["raw_path"].decode("ascii")
        headers, stream = list(scope["headers"]), httpx.ByteStream(body)
        request = httpx.Request(scope["method"], url, headers=headers, stream=stream)
        response = await self._transport.handle_async_request(request)
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": _passing(response)}
        )
        answer: Any = response.stream
        async for chunks in answer.together():
            joined = b"".join(chunks)
            await send({"type": "http.response.body", "body": joined, CHUNKS: chunks, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await response.aclose()


def _passing(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in response.headers.raw if name.lower() != b"transfer-encoding"]


async def _serve(port: int, upstream: int) -> None:
    tune()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    relay = without_lifespan(Relay(f"http://127.0.0.1:{upstream}"))
    await serve_until(relay, listener, asyncio.Event(), grace_s=1.0)


def main() -> None:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    options = parser.parse_args()
    run(_serve(options.port, options.upstream))


if __name__ == "__main__":
    main()
