"""Chunks that travelled together, for a server that takes one a message."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.app import create_app
from gateway.chunks import tell
from gateway.chunks.apart import apart, merged
from middleware.exchange import CHUNKS, takes_chunks
from recorders.stores.memory import MemoryStore
from tests.asgi import call, http_scope
from tests.gateway.rig import gateway_settings

THREE = [b"one", b"two", b"three"]
HEAD: Message = {"type": "http.response.start", "status": 200, "headers": []}


def together(*chunks: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": b"".join(chunks), "more_body": more, CHUNKS: list(chunks)}


def body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def sent(way: Any, *messages: Message) -> list[Message]:
    kept: list[Message] = []

    async def send(message: Message) -> None:
        kept.append(message)

    for message in messages:
        await way(send)(message)
    return kept


@pytest.mark.parametrize("more", [True, False])
async def test_each_chunk_has_a_message_of_its_own(more: bool) -> None:
    """The last one ends the answer if they were its end."""
    expected = [HEAD, body(b"one", more=True), body(b"two", more=True), body(b"three", more=more)]
    assert await sent(apart, HEAD, together(*THREE, more=more)) == expected


async def test_a_message_without_chunks_passes_as_it_is() -> None:
    """The same object, and an end that holds nothing stays an end."""
    end = body(b"", more=False)
    whole = body(b"x", more=True)
    assert await sent(apart, whole, end) == [whole, end]
    assert await sent(merged, whole, end) == [whole, end]


async def test_an_end_of_no_chunks_is_still_an_end() -> None:
    """A filter may have kept all of them."""
    (message,) = await sent(apart, together(more=False))
    assert (message["body"], message["more_body"]) == (b"", False)


@pytest.mark.parametrize("more", [True, False])
async def test_or_all_are_one(more: bool) -> None:
    """The bytes are the same, the boundaries are gone."""
    assert await sent(merged, HEAD, together(*THREE, more=more)) == [HEAD, body(b"onetwothree", more=more)]


def test_a_scope_is_told_and_its_other_extensions_stay() -> None:
    """Also where a server has none; what it may share among requests isn't touched."""
    shared: dict[str, Any] = {"http.response.trailers": {}}
    for extensions in (shared, None):
        scope: Scope = {"type": "http", "extensions": extensions}
        assert not takes_chunks(scope)
        tell(scope)
        assert takes_chunks(scope)
    scope = {"type": "http", "extensions": shared}
    tell(scope)
    assert scope["extensions"].keys() == {"http.response.trailers", CHUNKS}
    assert shared.keys() == {"http.response.trailers"}


class Teller:
    """In the place of the pipeline: sends three chunks together."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert takes_chunks(scope)
        await send(HEAD)
        await send(together(*THREE, more=False))


@pytest.mark.parametrize(
    ("extensions", "merge", "expected"),
    [
        ({CHUNKS: {}}, False, [together(*THREE, more=False)]),
        ({}, False, [body(b"one", more=True), body(b"two", more=True), body(b"three", more=False)]),
        ({}, True, [body(b"onetwothree", more=False)]),
    ],
    ids=["a server that takes them", "any other", "any other, merged"],
)
async def test_the_gateway_sends_what_its_server_takes(
    extensions: dict[str, Any],
    merge: bool,
    expected: list[Message],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever its layers do with them inside."""
    app = create_app(gateway_settings(merge_chunks=merge), store=MemoryStore())
    monkeypatch.setattr(app, "_app_for", lambda scope: Teller())
    async with app.lifespan():
        client = await call(app, {**http_scope("POST", "/x"), "extensions": extensions})
    assert client.messages[1:] == expected
