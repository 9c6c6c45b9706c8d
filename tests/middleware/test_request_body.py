"""Request bodies: read whole within a limit, and given again to the application inside."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive

from middleware.errors import BodyTooLarge, ClientLeft
from middleware.exchange import Exchange
from middleware.request_body import replay, whole_body


def receiving(*messages: Message) -> Receive:
    """A `receive` that gives these and then says for ever that the client left."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0) if left else {"type": "http.disconnect"}

    return receive


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    "messages",
    [
        [piece(b"hello", more=False)],
        [piece(b"he"), piece(b""), piece(b"llo", more=False)],
        [piece(b"hello"), {"type": "http.request"}],
    ],
    ids=["whole", "pieces", "with an empty end"],
)
async def test_a_body_is_what_its_pieces_make(messages: list[Message]) -> None:
    """However a server cuts it, and also where a message leaves out what has a default."""
    assert await whole_body(receiving(*messages), Exchange()) == b"hello"


@pytest.mark.parametrize("max_bytes", [5, 6, None])
async def test_a_body_of_the_limit_passes(max_bytes: int | None) -> None:
    """The limit is exact, and there need be none."""
    receive = receiving(piece(b"he"), piece(b"llo", more=False))
    assert await whole_body(receive, Exchange(), max_bytes=max_bytes) == b"hello"


async def test_a_larger_body_is_not_read_on() -> None:
    """What follows the piece that passes the limit stays with the server."""
    receive = receiving(piece(b"hel"), piece(b"lo"), piece(b"unread"))
    with pytest.raises(BodyTooLarge, match="4 bytes"):
        await whole_body(receive, Exchange(), max_bytes=4)
    assert (await receive())["body"] == b"unread"


async def test_a_client_that_leaves_before_the_end_ends_the_request() -> None:
    """Half a body is none, and the exchange knows why."""
    exchange = Exchange()
    with pytest.raises(ClientLeft):
        await whole_body(receiving(piece(b"hel")), exchange)
    assert exchange.client_left


async def test_after_the_replayed_body_receive_is_the_real_one() -> None:
    """The layer that waits for the provider can watch it for the client."""
    receive = replay(b"hello", receiving(piece(b"later")))
    assert [await receive(), await receive(), await receive()] == [
        piece(b"hello", more=False),
        piece(b"later"),
        {"type": "http.disconnect"},
    ]


async def test_two_readers_at_once_do_not_both_get_the_body() -> None:
    """A watcher that asks while the body is on its way waits for the client."""
    receive = replay(b"hello", receiving())
    messages = await asyncio.gather(receive(), receive())
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]
