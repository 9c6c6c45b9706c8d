"""The same search where the libraries below take part: real servers, real transports, everything at its most talkative.

asyncio's debug mode is on and every logger writes from DEBUG on, those of aiohttp, httpcore, hypercorn, uvicorn, h2 and
hpack included (what uvicorn calls TRACE lies below and logs scopes whole). Client and provider are bare sockets, so
every line that is searched is one of the gateway's side.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import pytest
from hpack import Encoder

from gateway import server as production
from gateway.app import create_app
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.memory import MemoryStore
from tests.security.canaries import Canaries
from tests.security.observation import Observation, every_log_line
from tests.servers import serving
from tests.waiting import PATIENCE_S

Transport: TypeAlias = Literal["aiohttp", "httpx"]
Host: TypeAlias = Literal["ours", "uvicorn"]

CANARIES = Canaries(random.Random(3))
TOKEN, CENTRAL, OWN = (CANARIES.make(kind) for kind in ("token", "central", "own"))
TOKEN = f"fakegateid-{TOKEN}"

BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}'
OUTCOMES = ("answer", "echo", "cut", "garbage", "hangup", "bad-header")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that does what the query asks for, and closes."""
    try:
        writer.write(_said(await reader.readuntil(b"\r\n\r\n")))
    except asyncio.IncompleteReadError:
        pass  # tried again, and then not needed
    finally:
        writer.close()


def _said(head: bytes) -> bytes:
    outcome = head.split(b" ")[1].rpartition(b"=")[2]
    secret = OWN.encode() if OWN.encode() in head else CENTRAL.encode()
    chunk = b'data: {"id":"r","choices":[]}\n\n'
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    first = b"\r\n%x\r\n%s\r\n" % (len(chunk), chunk)
    answers = {
        b"answer": stream + first + b"0\r\n\r\n",
        b"echo": b"HTTP/1.1 401 no\r\nX-Echo: %s\r\nSet-Cookie: a=%s\r\nContent-Length: 0\r\n\r\n"
        % (secret, secret),
        b"cut": stream + first,
        b"garbage": stream + first + b"zz garbage\r\n",
        b"hangup": b"",
        b"bad-header": b"HTTP/1.1 200 OK\r\nX-Bad\0: %s\r\n\r\n" % secret,
    }
    return answers[outcome]


@asynccontextmanager
async def _ours(app: object) -> AsyncIterator[str]:
    """The server as `ai-gateway serve` configures it."""
    listener, stop = production.listen("127.0.0.1", 0), asyncio.Event()
    task = asyncio.create_task(production.serve_until(app, listener, stop, grace_s=1.0))  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await task
        listener.close()


@asynccontextmanager
async def _gateway(host: Host, transport: Transport) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        provider = await asyncio.start_server(_answer, "127.0.0.1", 0)
        await stack.enter_async_context(provider)
        port = provider.sockets[0].getsockname()[1]
        options = GatewayOptions(
            auth="static",
            journal_dir="",
            static_token=Secret(TOKEN),
            upstream_transport=transport,
            structured_logging=True,
            providers=(
                ProviderOptions(
                    type="openai", name="openai", base_url=f"http://127.0.0.1:{port}", keys=(Secret(CENTRAL),)
                ),
            ),
        )
        app = create_app(Settings(gateway=options), store=MemoryStore())
        url = await stack.enter_async_context(_ours(app) if host == "ours" else serving(app, "uvicorn"))
        yield urlsplit(url).port or 0


def _credentials(*, byok: bool) -> list[tuple[str, str]]:
    own = [("x-coder-ai-governance-token", TOKEN), ("authorization", f"Bearer {OWN}")]
    return own if byok else [("authorization", f"Bearer {TOKEN}"), ("cookie", f"a={TOKEN}")]


def _http1(outcome: str, *, byok: bool) -> bytes:
    target = f"/openai/v1/chat/completions?token={TOKEN}&outcome={outcome}"
    headers = [
        ("host", "h"),
        ("connection", "close"),
        ("content-length", str(len(BODY))),
        *_credentials(byok=byok),
    ]
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode() + BODY


def _http2() -> bytes:
    """A GET over HTTP/2 with prior knowledge, made before anybody listens to what hpack has to say."""
    pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/openai/v1/models?outcome=echo"),
        (":authority", "h"),
    ]
    block = Encoder().encode([*pseudo, *_credentials(byok=False)], huffman=False)
    frame = len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block
    goodbye = b"\0\0\x08\x07\0" + b"\0" * 12
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + frame + goodbye


async def _ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
@pytest.mark.parametrize("host", ["ours", "uvicorn"])
async def test_no_library_below_shows_a_secret(host: Host, transport: Transport) -> None:
    """Answers in all their parts, and whatever any library logs about requests, answers and broken connections."""
    seen = Observation()
    requests = {f"{o} {byok}": _http1(o, byok=byok) for o in OUTCOMES for byok in (False, True)}
    if host == "ours":
        requests["http2"] = _http2()
    async with every_log_line(seen), _gateway(host, transport) as port:
        answers = {name: await _ask(port, raw) for name, raw in requests.items()}
    for name, answer in answers.items():
        seen.search(f"answer to {name}", answer)
    assert all(answer.startswith(b"HTTP/1.1 ") for name, answer in answers.items() if name != "http2")
    assert seen.log_lines > len(requests)
    assert seen.leaks == set()
