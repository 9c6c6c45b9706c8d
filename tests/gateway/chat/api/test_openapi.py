"""The OpenAPI document of the chat service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from schemathesis import GenerationMode

from gateway.api.openapi import describe
from gateway.chat.api.operations import CHAT
from recorders.stores.urls import database_for
from tests.gateway.api.conformance import ask_all, askings, calls_of, send
from tests.gateway.chat.api.client import Client
from tests.gateway.chat.stage import Stage, says

CALLS = calls_of(describe(CHAT, server="/api/v2/ai-gateway"))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def talkative(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service whose model has an answer to everything."""
    stack = AsyncExitStack()

    async def begin() -> Client:
        database = database_for(f"sqlite:///{tmp_path_factory.mktemp('openapi')}/chats.db")
        await database.open()
        stack.push_async_callback(database.close)
        stage = await Stage.on(database)
        stage.answer = lambda model, ask: says("Hello")
        return Client(await stack.enter_async_context(stage.service.running()))

    yield runner.run(begin())
    runner.run(stack.aclose())


@pytest.mark.parametrize(("operation", "mode"), askings(CALLS))
def test_every_answer_is_one_that_the_document_allows(
    runner: asyncio.Runner, talkative: Client, operation: Any, mode: GenerationMode
) -> None:
    """No request makes a failure of our own."""
    ask_all(operation, mode, lambda case: runner.run(send(talkative.app, case, "ada")))


async def test_every_route_is_described(client: Client) -> None:
    """The document stands below the path where it was asked for, and has each route once."""
    document = await client.told("GET", "/chats/openapi.json")

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {("GET", CHAT.document), *((one.method, one.path) for one in CHAT.operations)}
    assert document["servers"] == [{"url": "/api/v2/ai-gateway"}]


async def test_the_stream_is_described_by_its_events(client: Client) -> None:
    """Each kind of event by name."""
    document = await client.told("GET", "/chats/openapi.json")

    answer = document["paths"]["/chats/{chat_id}/stream"]["get"]["responses"]["200"]["content"]
    schema = answer["text/event-stream"]["schema"]
    assert set(schema["discriminator"]["mapping"]) == {
        "model",
        "delta",
        "message",
        "queue",
        "status",
        "title",
    }
