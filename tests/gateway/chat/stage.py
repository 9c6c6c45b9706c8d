"""A chat service whose model says what a test wrote, on a real store, without a gateway or a provider.

    stage = await Stage.on(database)
    stage.script(says("Hello"))
    chat = await stage.service.create(ADA, text="Hi")
    await stage.ended(chat.id)

Each call of the model takes the next line of the script; a line may hold events to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from gateway.ai_providers import AiProvider
from gateway.chat.content import (
    Answer,
    AnswerEvent,
    Ask,
    Part,
    Text,
    TextDelta,
    Tokens,
    ToolCall,
    text_of,
)
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import Ends, Mode, Model, ModelName, ModelRouting
from gateway.chat.service import ChatService
from gateway.chat.store import Chat, ChatStore
from gateway.chat.tools import Tool
from middleware.exchange import Identity
from recorders.stores.database import Database, time_value
from tests.waiting import PATIENCE_S

MODEL = ModelName("local", "scripted")
ADA = Identity("user-ada", "ada", "adakey0001")
BOB = Identity("user-bob", "bob", "bobkey0001")

Line: TypeAlias = Sequence[str | Part | asyncio.Event | Exception]


def says(*steps: str | Part | asyncio.Event | Exception) -> Line:
    """Texts are deltas, parts are said at the end, an event is waited for, an exception is raised."""
    return steps


def calls(name: str, arguments: str = "{}", call_id: str = "call-1") -> ToolCall:
    return ToolCall(call_id=call_id, name=name, arguments=arguments)


class ScriptedSpeaker:
    """Says the lines that are left, one a call; `asked` has what it was shown, and as which model."""

    stop: Literal["end", "tools", "length", "refusal"] | None = None

    def __init__(self, choose: Callable[[Ask], Line]) -> None:
        self._choose = choose

    async def stream(self, ask: Ask) -> AsyncGenerator[AnswerEvent, None]:
        parts: list[Part] = []
        for step in self._choose(ask):
            match step:
                case str():
                    parts.append(Text(step))
                    yield TextDelta(step)
                case asyncio.Event():
                    await step.wait()
                case Exception():
                    raise step
                case _:
                    parts.append(step)
        tools = any(isinstance(part, ToolCall) for part in parts)
        stop = self.stop or ("tools" if tools else "end")
        yield Answer(parts=tuple(parts), tokens=Tokens(input=3, output=5), stop=stop)


class Rows:
    """Providers by name; `asked` counts."""

    def __init__(self, *providers: AiProvider) -> None:
        self.by_name = {provider.name: provider for provider in providers}

    async def find(self, name: str) -> AiProvider | None:
        return self.by_name.get(name)


@dataclass(slots=True)
class Stage:
    database: Database
    store: ChatStore
    mode: Mode = "gateway"
    lines: list[Line] = field(default_factory=list)
    asked: list[tuple[Model, Ask]] = field(default_factory=list)
    answer: Callable[[Model, Ask], Line] | None = None
    """Instead of the lines, for models that are called in no known order."""
    service: ChatService = field(init=False)

    @staticmethod
    async def on(
        database: Database, *, tools: Sequence[Tool] = (), models: ModelChoices | None = None, **options: Any
    ) -> Stage:
        """`database` is open and has the keys of ADA and BOB."""
        for one in (ADA, BOB):
            await add_key(database, one)
        stage = Stage(database, ChatStore(database))
        routing = ModelRouting(
            mode=lambda: stage.mode,
            providers=Rows(AiProvider("p1", "local", "openai", True, "http://provider.test/v1")),
            ends=Ends(gateway=_nowhere, direct=None),
        )
        stage.service = ChatService(
            store=stage.store,
            routing=routing,
            models=models or ModelChoices(chat=MODEL),
            tools=tools,
            speaker_for=stage._speaker,
            **{"titles": False, "poll_s": PATIENCE_S, **options},
        )
        return stage

    def script(self, *lines: Line) -> None:
        self.lines += lines

    def _speaker(self, model: Model) -> ScriptedSpeaker:
        def choose(ask: Ask) -> Line:
            self.asked.append((model, ask))
            if self.answer is not None:
                return self.answer(model, ask)
            return self.lines.pop(0)

        return ScriptedSpeaker(choose)

    async def ended(self, chat_id: str) -> Chat:
        """The chat, once it waits for a message or has failed."""
        with self.service.feed(chat_id) as feed:
            async with asyncio.timeout(PATIENCE_S):
                while (chat := await self.store.chat(chat_id)).status == "running":
                    await feed.changed(PATIENCE_S)
                    feed.take()
        return chat

    async def said(self, chat_id: str) -> list[tuple[str, str]]:
        """(role, text) of the messages."""
        return [(one.role, text_of(one.parts)) for one in await self.store.messages(chat_id)]


async def add_key(database: Database, identity: Identity) -> None:
    now = time_value(datetime.now(UTC))
    await database.execute(
        "INSERT INTO users (id, name, role, status, is_system, created_at, updated_at) "
        "VALUES (?, ?, 'member', 'active', ?, ?, ?) ON CONFLICT DO NOTHING",
        *(identity.user_id, identity.username, False, now, now),
    )
    await database.execute(
        "INSERT INTO api_keys (id, user_id, hashed_secret, created_at) VALUES (?, ?, 'x', ?) "
        "ON CONFLICT DO NOTHING",
        *(identity.api_key_id, identity.user_id, now),
    )


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("a scripted model calls nobody")
