"""Nothing of a request waits for the garbage collector: when it is over, its memory is free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp

from gateway.app import create_app
from middleware.exchange import Exchange
from recorders.stores.memory import MemoryStore
from tests.answers import anthropic, chat
from tests.answers.turn import Turn
from tests.gateway.connected import Client, connected
from tests.gateway.rig import TOKEN, gateway_settings
from tests.servers import serving
from tests.upstream import Reply, Upstream
from tests.waiting import PATIENCE_S

STREAM = anthropic.reply(Turn(text="one two three"), streamed=True)
WHOLE = chat.reply(Turn(text="Hello"), streamed=False)
REQUESTS = 3


@pytest.fixture
def left_behind() -> Iterator[list[object]]:
    """What the collector finds, once it has been asked; until then it doesn't look."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@asynccontextmanager
async def gateway(*replies: Reply) -> AsyncIterator[ASGIApp]:
    """A running one, with a provider on a socket."""
    async with serving(Upstream(replies)) as url:
        app = create_app(gateway_settings(url), store=MemoryStore())
        async with app.lifespan():
            yield app


def request(path: bytes, *, stream: bool) -> bytes:
    body = b'{"model":"m","stream":%b,"messages":[{"role":"user","content":"hi"}]}' % (
        b"true" if stream else b"false"
    )
    return (
        b"POST %b HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
        % (path, TOKEN.encode(), len(body), body)
    )


async def exchanges(client: Client, sent: bytes, until: bytes) -> None:
    reader, writer = client
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(REQUESTS):
            writer.write(sent)
            await reader.readuntil(until)


@pytest.mark.parametrize(
    ("reply", "sent", "until"),
    [
        (WHOLE, request(b"/openai/v1/chat/completions", stream=False), b"}}"),
        (STREAM, request(b"/anthropic/v1/messages", stream=True), b"\r\n0\r\n\r\n"),
    ],
    ids=["a document", "a stream"],
)
async def test_a_request_that_is_over_leaves_no_circles(
    reply: Reply, sent: bytes, until: bytes, left_behind: list[object]
) -> None:
    """On a connection that stays open."""
    async with gateway(*[reply] * REQUESTS) as app, connected(app) as client:
        await exchanges(client, sent, until)
        gc.collect()
        assert not [one for one in left_behind if isinstance(one, Exchange)]
