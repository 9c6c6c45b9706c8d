"""An application behind an httpx seam: streaming both ways, in step with the caller, ending when the caller does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.asgi_transport import AsgiTransport
from tests.upstream import CUT, ConnectionCut, Received, Reply, Upstream
from tests.waiting import PATIENCE_S

each_library = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def client_of(library: Any, app: ASGIApp, **options: Any) -> Any:
    """A client of either library; `Any`, because nothing in their types says that they are alike."""
    return library.AsyncClient(
        transport=AsgiTransport(app, **options), base_url="http://app.test", timeout=None
    )


@each_library
async def test_an_answer_comes_back_in_the_classes_of_the_library(library: Any) -> None:
    """Status, headers in order with duplicates, and body; what the app saw is what the client sent."""
    headers = [(b"content-type", b"text/plain"), (b"vary", b"one"), (b"vary", b"two")]
    upstream = Upstream(Reply(418, headers, [b"short and ", b"stout"]))
    async with client_of(library, upstream) as client:
        answer = await client.post("/a%20b/c?d=%2F", content=b"body", headers={"X-One": "1"})
    assert isinstance(answer, library.Response)
    assert (answer.status_code, answer.content, answer.headers.raw) == (418, b"short and stout", headers)
    (request,) = upstream.requests
    assert (request.method, request.path, request.raw_path) == ("POST", "/a b/c", b"/a%20b/c")
    assert (request.query, request.body, request.header("x-one")) == (b"d=%2F", b"body", "1")
    assert request.header("host") == "app.test"


@each_library
async def test_chunks_come_one_by_one_as_they_are_made(library: Any) -> None:
    """None is merged, and none waits for the next."""
    chunks = [b"one", b"two", b"three"]
    gates = [asyncio.Event() for _ in chunks]
    steps = [step for pair in zip(chunks, gates, strict=True) for step in pair]
    async with (
        client_of(library, Upstream(Reply(200, [], steps))) as client,
        client.stream("GET", "/") as answer,
    ):
        arriving = answer.aiter_raw()
        for chunk, gate in zip(chunks, gates, strict=True):
            assert await anext(arriving) == chunk
            gate.set()
        assert [rest async for rest in arriving] == []


@each_library
async def test_a_body_streams_in_while_the_answer_streams_out(library: Any) -> None:
    """The app answers to each piece before the caller makes the next."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"after " + await heard.get()

    async with client_of(library, echo) as client, client.stream("POST", "/", content=pieces()) as answer:
        arriving = answer.aiter_raw()
        heard.put_nowait(await anext(arriving))
        assert await anext(arriving) == b"after one"
        assert [rest async for rest in arriving] == []


@each_library
async def test_a_slow_reader_slows_the_application(library: Any) -> None:
    """A chunk is only asked for when the one before was taken: nothing piles up in between."""
    sent: list[int] = []

    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(100):
            sent.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": number < 99})

    async with client_of(library, eager) as client, client.stream("GET", "/") as answer:
        arriving = answer.aiter_raw()
        for number in range(10):
            assert await anext(arriving) == b"%d" % number
            assert len(sent) <= number + 2


@each_library
async def test_closing_the_answer_early_tells_the_application_that_its_client_left(library: Any) -> None:
    """As a server would: `http.disconnect`, and sends that go nowhere."""
    upstream = Upstream(Reply(200, [], [b"one", asyncio.Event(), b"two"]))
    async with client_of(library, upstream) as client, client.stream("GET", "/") as answer:
        assert await anext(answer.aiter_raw()) == b"one"
    await asyncio.wait_for(upstream.requests[0].disconnected.wait(), PATIENCE_S)
    assert not upstream.requests[0].answered.is_set()


@each_library
@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "in mid-answer"])
async def test_cancelling_the_caller_tells_the_application_too(library: Any, begun: bool) -> None:
    """Whether it waits for the answer to begin or for a chunk."""
    asked = asyncio.Event()
    left = asyncio.Event()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    async with client_of(library, silent) as client:
        caller = asyncio.create_task(client.get("/"))
        await asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.wait_for(left.wait(), PATIENCE_S)


@each_library
async def test_an_application_that_breaks_in_mid_answer_is_an_error_and_not_an_end(library: Any) -> None:
    """What came before is there; then the library's own error for a cut connection."""
    upstream = Upstream(Reply(200, [], [b"one", CUT]))
    async with client_of(library, upstream) as client, client.stream("GET", "/") as answer:
        arriving = answer.aiter_raw()
        assert await anext(arriving) == b"one"
        with pytest.raises(library.RemoteProtocolError, match="ConnectionCut") as broken:
            await anext(arriving)
    assert isinstance(broken.value.__cause__, ConnectionCut)


@each_library
async def test_an_application_that_ends_in_mid_answer_is_an_error_too(library: Any) -> None:
    """It returned without its last message: that is no end."""

    async def forgetful(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})

    async with client_of(library, forgetful) as client:
        with pytest.raises(library.RemoteProtocolError, match="ended in mid-answer"):
            await client.get("/")


@each_library
async def test_an_application_that_never_answers_can_not_be_connected_to(library: Any) -> None:
    """It raised, or it returned without a word."""

    async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("a secret that must not show")

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    for app, words in ((breaking, "LookupError"), (silent, "RuntimeError")):
        async with client_of(library, app) as client:
            with pytest.raises(library.ConnectError, match=words) as refused:
                await client.get("/")
            assert "secret" not in str(refused.value)


async def test_an_error_behind_a_whole_answer_changes_nothing_for_the_caller() -> None:
    """Applications answer 500 and then raise, for their server's log; the caller has its 500."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise LookupError("for the server's log")

    async with client_of(httpx, failing) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (500, b"sorry")


async def test_messages_that_are_no_answer_yet_and_empty_chunks_are_left_out() -> None:
    """Early hints have no place in this seam, and an empty chunk would look like an end to some."""

    async def chatty(scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = [
            {"type": "http.response.early_hint", "links": []},
            {"type": "http.response.start", "status": 200, "headers": []},
            {"type": "http.response.body", "body": b"", "more_body": True},
            {"type": "http.response.body", "body": b"one", "more_body": True},
            {"type": "http.response.body"},
        ]
        for message in messages:
            await send(message)

    async with client_of(httpx, chatty) as client, client.stream("GET", "/") as answer:
        assert [chunk async for chunk in answer.aiter_raw()] == [b"one"]


async def test_the_scope_can_be_rewritten_before_the_application_sees_it() -> None:
    """What is put there only code can put there."""

    def as_admin(scope: Scope) -> Scope:
        return {**scope, "root_path": "/mounted", "path": "/mounted" + scope["path"], "user": "admin"}

    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with client_of(httpx, app, rewrite=as_admin) as client:
        await client.get("/page")
    assert (seen[0]["path"], seen[0]["user"], seen[0]["client"]) == ("/mounted/page", "admin", None)


async def test_many_calls_at_once_share_nothing() -> None:
    """Each has its own body, answer and end."""

    def answer(request: Received) -> Reply:
        return Reply(200, [], [request.body, b"!"])

    async with client_of(httpx, Upstream(answer)) as client:
        calls = (client.post("/", content=b"%d" % number) for number in range(50))
        answers = await asyncio.gather(*calls)
    assert [one.content for one in answers] == [b"%d!" % number for number in range(50)]


@each_library
async def test_a_caller_that_leaves_while_its_body_stalls_is_seen_to_leave(library: Any) -> None:
    """The rest of the body will never come: the application is told, instead of waiting for it for ever."""
    stalled, told = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        stalled.set()
        await asyncio.Event().wait()

    async with client_of(library, app) as client:
        asking = asyncio.create_task(client.post("/", content=body()))
        await stalled.wait()
        asking.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await told.wait()
        await asyncio.wait([asking])
