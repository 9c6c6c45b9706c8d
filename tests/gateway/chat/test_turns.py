"""What is left of a turn when those around it go away: its caller, its process, its database, its provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.chat.content import ModelError
from gateway.chat.endings import ABANDONED, INTERRUPTED, LEFT
from gateway.chat.errors import Stopping
from gateway.chat.events import Delta, MessageAdded, StatusChanged
from gateway.chat.store import Chat, ChatStore, UnknownChat
from gateway.chat.tools import Tool
from recorders.stores.base import StoreError
from recorders.stores.database import Database
from recorders.stores.urls import database_for
from tests.gateway.chat.stage import ADA, Stage, calls, says
from tests.waiting import PATIENCE_S


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = database_for(f"sqlite:///{tmp_path}/chats.db")
    await database.open()
    yield database
    await database.close()


class Slow:
    """Holds up one method of the store, after it has done its work."""

    def __init__(self, store: ChatStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = asyncio.Event()
        self.go_on = asyncio.Event()
        work = getattr(store, name)

        async def held(*args: Any, **given: Any) -> Any:
            result = await work(*args, **given)
            self.done.set()
            await self.go_on.wait()
            return result

        monkeypatch.setattr(store, name, held)


async def first_delta(stage: Stage, chat: Chat) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for event in stage.service.events(ADA, chat.id):
            if isinstance(event, Delta):
                return


@pytest.mark.parametrize("step", ["claim", "append"])
async def test_a_caller_that_leaves_while_it_sends_leaves_a_turn_and_no_dead_chat(
    database: Database, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was on its way: it is answered, and the chat waits for the next."""
    stage = await Stage.on(database)
    stage.script(says("Hello"))
    async with stage.service.running():
        chat = await stage.service.create(ADA)
        slow = Slow(stage.store, step, monkeypatch)
        sending = asyncio.create_task(stage.service.send(ADA, chat.id, "Hi"))
        await slow.done.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        slow.go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            async for event in stage.service.events(ADA, chat.id):
                if isinstance(event, MessageAdded) and event.role == "assistant":
                    break
        assert (await stage.ended(chat.id)).status == "waiting"
    assert await stage.said(chat.id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_turn_that_begins_while_the_service_ends_is_told_and_not_left_running(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end waits for the message that was on its way."""
    stage = await Stage.on(database)
    stage.script(says(asyncio.Event()))
    async with stage.service.running():
        chat = await stage.service.create(ADA)
        slow = Slow(stage.store, "claim", monkeypatch)
        sending = asyncio.create_task(stage.service.send(ADA, chat.id, "Hi"))
        await slow.done.wait()
        closing = asyncio.create_task(stage.service.close())
        slow.go_on.set()
        await sending
        await closing
    ended = await stage.store.chat(chat.id)
    assert (ended.status, ended.error) == ("error", INTERRUPTED)
    assert await stage.said(chat.id) == [("user", "Hi")]


async def test_a_chat_that_is_deleted_while_a_message_comes_is_unknown(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't said to run elsewhere."""
    stage = await Stage.on(database)
    async with stage.service.running():
        chat = await stage.service.create(ADA)
        slow = Slow(stage.store, "chat", monkeypatch)
        sending = asyncio.create_task(stage.service.send(ADA, chat.id, "Hi"))
        await slow.done.wait()
        await stage.store.delete_chat(chat.id)
        slow.go_on.set()
        with pytest.raises(UnknownChat):
            await sending


async def test_what_was_read_of_an_answer_that_broke_off_stays_in_the_chat(database: Database) -> None:
    """With the model that said it and whose credential it used, as whole answers have it."""
    stage = await Stage.on(database)
    stage.script(says("Once upon", ModelError("the connection broke off")))
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Tell me a story")
        ended = await stage.ended(chat.id)
    assert (ended.status, ended.error) == ("error", "the connection broke off")
    partial = (await stage.store.messages(chat.id))[-1]
    assert (await stage.said(chat.id))[-1] == ("assistant", "Once upon")
    assert (partial.model, partial.credential_kind) == (chat.model, "centralized")


async def test_a_chat_whose_process_died_is_told_to_be_abandoned(database: Database) -> None:
    """As soon as another one looks; one that is merely late keeps its chat."""
    beats = asyncio.Semaphore(0)
    stage = await Stage.on(database, pause=lambda seconds: beats.acquire(), lease_s=60.0)
    dead, late = await stage.service.create(ADA), await stage.service.create(ADA)
    now = datetime.now(UTC)
    assert await stage.store.claim(dead.id, "a dead process", now - timedelta(minutes=2))
    assert await stage.store.claim(late.id, "a late process", now - timedelta(seconds=5))
    async with stage.service.running():
        ended = await stage.ended(dead.id)
        assert (await stage.store.chat(late.id)).status == "running"
    assert (ended.status, ended.error) == ("error", ABANDONED)


async def test_looking_for_abandoned_chats_survives_a_database_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again after a while."""
    beats = asyncio.Semaphore(0)
    stage = await Stage.on(database, pause=lambda seconds: beats.acquire())
    chat = await stage.service.create(ADA)
    assert await stage.store.claim(chat.id, "a dead process", datetime.now(UTC) - timedelta(minutes=3))
    look, tried = stage.store.abandoned, asyncio.Event()

    async def away(for_s: float) -> Any:
        tried.set()
        raise StoreError("the database is away")

    monkeypatch.setattr(stage.store, "abandoned", away)
    async with stage.service.running():
        await tried.wait()
        monkeypatch.setattr(stage.store, "abandoned", look)
        beats.release()
        assert (await stage.ended(chat.id)).error == ABANDONED


async def test_nothing_is_remembered_of_a_turn_that_another_process_took(database: Database) -> None:
    """Who listens later isn't told words that are in no message."""
    beats = asyncio.Semaphore(0)
    stage = await Stage.on(database, pause=lambda seconds: beats.acquire())
    stage.script(says("Once", asyncio.Event()))
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Hi")
        await first_delta(stage, chat)
        await database.execute("UPDATE chats SET runner_id = 'somebody else' WHERE id = ?", chat.id)
        runs = [task for task in asyncio.all_tasks() if task.get_name() == "chat run"]
        for _ in ("the lease", "abandoned chats", "interrupted chats"):
            beats.release()
        await asyncio.wait(runs, timeout=PATIENCE_S)
        with stage.service.feed(chat.id) as feed:
            assert feed.take() == []


# -- a service that ends ------------------------------------------------------------------------------------------


async def test_a_turn_that_ends_within_the_grace_ends_well(database: Database) -> None:
    """Nobody has to listen for that."""
    stage = await Stage.on(database)
    gate = asyncio.Event()
    stage.script(says("Once ", gate, "upon a time"))
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Tell me a story")
        await first_delta(stage, chat)
        stage.service.refuse_new_messages(grace_s=PATIENCE_S)
        closing = asyncio.create_task(stage.service.close())
        with pytest.raises(Stopping):
            await stage.service.send(ADA, chat.id, "And then?")
        gate.set()
        await closing
    assert (await stage.store.chat(chat.id)).status == "waiting"
    assert (await stage.said(chat.id))[-1] == ("assistant", "Once upon a time")


async def test_a_turn_that_outlasts_the_grace_is_told_to_who_listens(database: Database) -> None:
    """What was said, how it ended, and then the end of the stream, while the service waits to be closed."""
    stage = await Stage.on(database)
    stage.script(says("Once upon", asyncio.Event()))
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Tell me a story")
        await first_delta(stage, chat)
        heard = stage.service.events(ADA, chat.id)
        await anext(heard)
        stage.service.refuse_new_messages(grace_s=0.02)
        async with asyncio.timeout(PATIENCE_S):
            events = [event async for event in heard]
    assert events[-1] == StatusChanged(status="error", error=INTERRUPTED)
    assert (await stage.said(chat.id))[-1] == ("assistant", "Once upon")


async def test_a_service_is_closed_when_its_last_turn_has_ended(database: Database) -> None:
    """The grace is the longest wait, and not the shortest."""
    stage = await Stage.on(database)
    async with stage.service.running(), asyncio.timeout(PATIENCE_S):
        await stage.service.close(grace_s=10 * PATIENCE_S)


# -- a tool that doesn't heed ---------------------------------------------------------------------------------------


class Deaf:
    """A tool that goes on until it is released, or swallows just one cancellation."""

    def __init__(self, *, for_ever: bool) -> None:
        self.begun, self.released = asyncio.Event(), asyncio.Event()
        self._for_ever = for_ever

    def tool(self) -> Tool:
        return Tool("dig", "Dig.", {"type": "object"}, self._dig)

    async def _dig(self, turn: object, arguments: dict[str, Any]) -> str:
        self.begun.set()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                if not self._for_ever:
                    break
        return "deep"


async def digging(stage: Stage, deaf: Deaf) -> Chat:
    stage.script(says(calls("dig")), says("A hole."))
    chat = await stage.service.create(ADA, text="Dig")
    await deaf.begun.wait()
    return chat


async def test_a_tool_that_swallows_its_cancellation_ends_the_turn_when_it_returns(
    database: Database,
) -> None:
    """The model isn't asked what to do next."""
    deaf = Deaf(for_ever=False)
    stage = await Stage.on(database, tools=[deaf.tool()])
    async with stage.service.running():
        chat = await digging(stage, deaf)
        await stage.service.interrupt(ADA, chat.id)
        ended = await stage.ended(chat.id)
    assert (ended.status, ended.error) == ("waiting", "")
    assert len(stage.asked) == 1


@pytest.mark.parametrize("end", ["close", "interrupt", "delete"])
async def test_a_tool_that_does_not_stop_is_left_behind(
    database: Database, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The chat says so, the log too; and when the tool returns in the end, nothing comes of it."""
    deaf = Deaf(for_ever=True)
    stage = await Stage.on(database, tools=[deaf.tool()], leave_s=0.01)
    async with stage.service.running(), asyncio.timeout(PATIENCE_S):
        chat = await digging(stage, deaf)
        (turn,) = [task for task in asyncio.all_tasks() if task.get_name() == "chat turn"]
        match end:
            case "close":
                await stage.service.close()
            case "interrupt":
                await stage.service.interrupt(ADA, chat.id)
                await stage.ended(chat.id)
            case "delete":
                await stage.service.delete(ADA, chat.id)
        if end != "delete":
            ended = await stage.store.chat(chat.id)
            assert (ended.status, ended.error) == ("error", LEFT)
        said = await stage.said(chat.id)
        deaf.released.set()
        await asyncio.wait({turn})
    assert f"a tool of the chat {chat.id} goes on 0.01 s after its turn was interrupted" in caplog.text
    assert await stage.said(chat.id) == said
    assert len(stage.asked) == 1
