"""What one process does in a chat that another one runs: two services on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.chat.content import text_of
from gateway.chat.events import Delta, MessageAdded
from gateway.chat.routing import Model
from recorders.stores.base import StoreError
from recorders.stores.urls import database_for
from tests.gateway.chat.stage import ADA, Line, Stage, says
from tests.waiting import PATIENCE_S


@dataclass
class Acting:
    """A turn, as tools see it."""

    chat_id: str
    owner_id: str = ADA.user_id
    api_key_id: str | None = ADA.api_key_id


class Two:
    """`near` is asked, `far` runs the chats and looks for what others wish whenever a `beat` lets it."""

    def __init__(self, near: Stage, far: Stage, beats: asyncio.Semaphore) -> None:
        self.near = near
        self.far = far
        self._beats = beats

    def beat(self) -> None:
        self._beats.release()


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    """Once for each kind of database."""
    beats, never = asyncio.Semaphore(0), asyncio.Event()

    async def pause(seconds: float) -> None:
        await (beats.acquire() if seconds == PATIENCE_S else never.wait())

    async with _on(database_url) as near, _on(database_url, pause=pause) as far:
        yield Two(near, far, beats)


@asynccontextmanager
async def _on(database_url: str, **options: Any) -> AsyncIterator[Stage]:
    """A service with a connection of its own."""
    database = database_for(database_url)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(database.close)
        await database.open()
        stage = await Stage.on(database, **options)
        await opened.enter_async_context(stage.service.running())
        yield stage


async def begun(stage: Stage, chat_id: str) -> None:
    """Return when the model has said something."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in stage.service.events(ADA, chat_id):
            if isinstance(event, Delta):
                return


async def test_a_turn_of_another_process_is_interrupted(two: Two) -> None:
    """What was said of it stays there, and the chat takes the next message from anybody."""
    two.far.script(says("Once upon", asyncio.Event()))
    chat = await two.far.service.create(ADA, text="Tell me a story")
    await begun(two.far, chat.id)

    assert await two.near.service.interrupt(ADA, chat.id)
    two.beat()

    assert (await two.far.ended(chat.id)).error == ""
    assert await two.near.said(chat.id) == [("user", "Tell me a story"), ("assistant", "Once upon")]
    assert not await two.near.service.interrupt(ADA, chat.id)
    two.near.script(says("Fine."))
    await two.near.service.send(ADA, chat.id, "Stop there")
    assert (await two.near.ended(chat.id)).error == ""


async def test_what_is_queued_goes_on_after_an_interruption_from_afar(two: Two) -> None:
    """And is not interrupted by the same wish."""
    gate = asyncio.Event()
    two.far.script(says("Once upon", asyncio.Event()), says("Knock ", gate, "knock"))
    chat = await two.far.service.create(ADA, text="Tell me a story")
    await begun(two.far, chat.id)
    await two.near.service.send(ADA, chat.id, "No, a joke")

    assert await two.near.service.interrupt(ADA, chat.id)
    two.beat()
    async with asyncio.timeout(PATIENCE_S):
        async for event in two.far.service.events(ADA, chat.id):
            if isinstance(event, MessageAdded) and text_of(event.parts) == "No, a joke":
                break
    two.beat()
    gate.set()

    await two.far.ended(chat.id)
    assert (await two.near.said(chat.id))[-1] == ("assistant", "Knock knock")


async def test_to_interrupt_a_chat_from_afar_is_to_interrupt_its_agents(two: Two) -> None:
    """Each of them is known by the chat that spawned it."""

    def answer(model: Model, ask: object) -> Line:
        return says("Counting", asyncio.Event())

    two.far.answer = answer
    chat = await two.far.service.create(ADA, text="Hi")
    agent = await two.far.service.spawn(Acting(chat.id), "Count")
    await begun(two.far, chat.id)
    await begun(two.far, agent.id)

    assert await two.near.service.interrupt(ADA, chat.id)
    two.beat()

    assert (await two.far.ended(chat.id)).error == ""
    assert (await two.far.ended(agent.id)).error == ""


async def test_wishes_are_looked_for_again_when_the_database_is_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to wish twice."""
    look, tried = two.far.store.interrupted, asyncio.Event()

    async def away() -> list[tuple[str, str]]:
        tried.set()
        raise StoreError("the database is away")

    monkeypatch.setattr(two.far.store, "interrupted", away)
    two.far.script(says("Once upon", asyncio.Event()))
    chat = await two.far.service.create(ADA, text="Tell me a story")
    await begun(two.far, chat.id)
    assert await two.near.service.interrupt(ADA, chat.id)
    await tried.wait()
    monkeypatch.setattr(two.far.store, "interrupted", look)
    two.beat()
    assert (await two.far.ended(chat.id)).error == ""
