"""The message driver itself: it must show what an app does, when it does it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from tests.asgi import call, drive, http_scope


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each piece of the request body by a chunk, as soon as it is there."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Kind", b"echo")]})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("client left")
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


def test_a_scope_keeps_the_request_line_and_the_headers_raw() -> None:
    """The path is decoded beside its raw form, and headers keep their order and duplicates."""
    scope = http_scope("POST", "/a%2Fb%20c?x=%31", headers=[("X-A", "1"), (b"x-a", b"\xff")], root_path="/r")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a/b c", b"/a%2Fb%20c", b"x=%31")
    assert scope["headers"] == [(b"x-a", b"1"), (b"x-a", b"\xff")]
    assert scope["root_path"] == "/r"


async def test_a_call_returns_the_whole_answer() -> None:
    """Status, headers and chunks are there with their boundaries."""
    answer = await call(echo, http_scope("POST"), [b"one", b"two"])
    assert (answer.status, answer.header("x-kind")) == (200, b"echo")
    assert (answer.chunks, answer.body, answer.complete) == ([b"one", b"two"], b"onetwo", True)


async def test_a_message_can_be_awaited_before_the_app_gets_more_to_do() -> None:
    """The test sees each chunk while the app is still waiting for the next piece of the body."""
    async with drive(echo, http_scope("POST"), body=None) as client:
        client.feed(b"one")
        assert (await client.message(1))["body"] == b"one"
        await client.receiving(2)
        assert not client.done
        client.feed(b"two", more=False)
        await client.completed()
    assert client.chunks == [b"one", b"two"]


async def test_a_held_send_does_not_return_until_it_is_let() -> None:
    """A slow client keeps the app in its first send; each step lets exactly one more message out."""
    async with drive(echo, http_scope("POST"), body=[b"one", b"two"], held=True) as client:
        await client.message(0)
        assert client.receive_calls == 0
        client.step()
        await client.message(1)
        assert (len(client.messages), client.receive_calls) == (2, 1)
        client.release()
        await client.completed()


async def test_a_disconnect_reaches_the_app_after_the_pieces_sent_before() -> None:
    """The app gets what the client had sent, then learns that it left."""
    async with drive(echo, http_scope("POST"), body=None) as client:
        client.feed(b"one")
        client.disconnect()
        failure = await client.failed()
    assert isinstance(failure, ConnectionResetError)
    assert (client.body, client.complete) == (b"one", False)


async def test_an_exception_nobody_asked_for_comes_out() -> None:
    """A test can't overlook that the app failed."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        async with drive(broken, http_scope()) as client:
            await client.ended()


async def test_waiting_for_a_message_that_never_comes_fails_at_once() -> None:
    """When the app has ended, nobody waits for its next message."""
    async with drive(echo, http_scope("POST")) as client:
        with pytest.raises(AssertionError, match="ended after 2 messages"):
            await client.message(2)


async def test_a_cancelled_app_shows_its_cancellation() -> None:
    """Cancelling reaches the app where it stands, and is seen as such."""
    async with drive(echo, http_scope("POST"), body=None) as client:
        await client.receiving()
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)


async def test_what_still_runs_at_the_end_is_cancelled() -> None:
    """Leaving the block ends an app that would wait for ever, without an error."""
    async with drive(echo, http_scope("POST"), body=None) as client:
        await client.receiving()
    assert client.done
