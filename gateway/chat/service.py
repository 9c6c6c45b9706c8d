"""The chat service: create a chat, say something in it, follow what happens, spawn agents, ask an advisor.

    service = ChatService(store=ChatStore(database), routing=routing, models=ModelChoices(chat=...), tools=[...])
    async with service.running():
        chat = await service.create(caller, text="What is here?")
        async for event in service.events(caller, chat.id): ...

Whoever calls is named by an `Identity`; a chat is its owner's alone, and to anyone else there is no such chat. Each
message carries the key it came with, and the turn that answers it acts for that key. Turns run beside their callers:
who leaves doesn't stop them.

Its mistakes are in `gateway.chat.errors`. Beside these: `UnknownChat`, `RoutingError` where a rule of routing
forbids it, `StoreError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Final

from gateway.accounts import utc_now
from gateway.chat.agency import MAX_AGENTS, Agency
from gateway.chat.agents import agent_tools
from gateway.chat.content import MAX_TEXT, Speaker
from gateway.chat.errors import EmptyMessage, MessageTooLong, NoModel
from gateway.chat.events import ChatEvent, QueueChanged
from gateway.chat.following import follow
from gateway.chat.generation import Generation, quick_ask
from gateway.chat.hub import Feed, Hub
from gateway.chat.means import Means
from gateway.chat.models import speaker_for as vendors_speaker_for
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import Model, ModelName, ModelRouting, Purpose
from gateway.chat.routing.requests import RecordHttp
from gateway.chat.store import Chat, ChatStore
from gateway.chat.tools import Tool, ToolBox, Turning
from gateway.chat.turns import Turns
from gateway.chat.views import ChatView, Sent
from middleware.exchange import Identity

__all__ = ["MAX_AGENTS", "ChatService", "ChatView", "Sent"]

POLL_S: Final = 1.0
"""How soon what another process does in a chat is seen here."""

LEAVE_S: Final = 5.0
"""How long a turn that is interrupted may take to end, before it is left behind: a tool may not heed it."""


class ChatService:
    """`tools` are the host's; the service adds `spawn_agent`, `message_agent`, `wait_agent` and `ask_advisor`."""

    def __init__(
        self,
        *,
        store: ChatStore,
        routing: ModelRouting,
        models: ModelChoices,
        tools: Iterable[Tool] = (),
        system: str = "",
        titles: bool = True,
        speaker_for: Callable[[Model], Speaker] = vendors_speaker_for,
        record_http: RecordHttp | None = None,
        max_steps: int = 100,
        lease_s: float = 60.0,
        poll_s: float = POLL_S,
        leave_s: float = LEAVE_S,
        clock: Callable[[], datetime] = utc_now,
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.models = models
        self._system = system
        self._means = Means(
            store=store,
            routing=routing,
            hub=Hub(),
            tools=ToolBox([*tools, *agent_tools(self)]),
            speaker_for=speaker_for,
            clock=clock,
            pause=pause,
            record_http=record_http,
            max_steps=max_steps,
            lease_s=lease_s,
            poll_s=poll_s,
            leave_s=leave_s,
        )
        self._generation = Generation(self._means, models)
        self._turns = Turns(self._means, self._generation if titles else None)
        self._agency = Agency(self._means, self._turns, self._generation, models)

    # -- the life of the service ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ChatService]:
        """At the end of the block as `close` says."""
        self._turns.open()
        try:
            yield self
        finally:
            await self.close()

    def refuse_new_messages(self, *, grace_s: float | None = None) -> None:
        """From now on nothing new begins; turns that run may end, and who listens is let go after them.

        `grace_s` is when a server cuts its answers off: a turn that runs until shortly before is interrupted then, and
        who listens hears of it. Without one turns go on until `close`.
        """
        self._turns.refuse(grace_s=grace_s)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Return when no turn runs any more. Turns that don't end within about `grace_s` seconds, or within what
        `refuse_new_messages` was given before, are interrupted, and what they said is kept."""
        await self._turns.close(grace_s=grace_s)

    # -- for callers ----------------------------------------------------------------------------------------------

    async def create(
        self, caller: Identity, *, text: str | None = None, model: ModelName | None = None, system: str = ""
    ) -> Chat:
        """A new chat and, with `text`, its first turn."""
        model = model or self.models.chat
        if model is None:
            raise NoModel
        if text is not None:
            _check(text)
        chat = await self._means.store.create_chat(
            owner_id=caller.user_id,
            owner_name=caller.username,
            model=model,
            system=system or self._system,
            api_key_id=caller.api_key_id,
        )
        if text is not None:
            await self._turns.deliver(chat, text, caller.api_key_id)
        return await self._means.store.chat(chat.id)

    async def send(self, caller: Identity, chat_id: str, text: str) -> Sent:
        """Say something: it begins a turn, or waits in line for the one that runs."""
        _check(text)
        chat = await self._means.store.chat(chat_id, owner_id=caller.user_id)
        return await self._turns.deliver(chat, text, caller.api_key_id)

    async def chats(self, caller: Identity, *, limit: int = 50, before: str | None = None) -> list[Chat]:
        """The caller's own, newest first, without the agents' chats."""
        return await self._means.store.chats(caller.user_id, limit=limit, before=before)

    async def view(self, caller: Identity, chat_id: str) -> ChatView:
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        messages = [one for one in await store.messages(chat_id) if one.visible in ("both", "user")]
        return ChatView(chat, messages, await store.queued(chat_id), await store.children(chat_id))

    async def interrupt(self, caller: Identity, chat_id: str) -> bool:
        """End the turn that runs, and those of its agents; False when none runs.

        One of another process ends when that process sees that it is to, after a second or so.
        """
        return await self._turns.interrupt(await self._means.store.chat(chat_id, owner_id=caller.user_id))

    async def unqueue(self, caller: Identity, chat_id: str, queued_id: str) -> bool:
        """Take back a message that waits; False when there is none of that ID, or none any more."""
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        taken = await store.unqueue(chat.id, queued_id)
        if taken:
            self._means.hub.publish(chat.id, QueueChanged(waiting=len(await store.queued(chat.id))))
        return taken

    async def delete(self, caller: Identity, chat_id: str) -> None:
        """A chat with its agents' chats, for good. Turns in it end first; those of another process lose it."""
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        ids = [chat.id, *(agent.id for agent in await store.children(chat.id))]
        await self._turns.end(ids)
        await store.delete_chat(chat.id)
        for one in ids:
            self._means.hub.wake(one)

    def events(self, caller: Identity, chat_id: str, *, after: int = -1) -> AsyncGenerator[ChatEvent, None]:
        """What is in the chat behind position `after`, then what happens, until the caller closes the iterator.

        Begins with a `StatusChanged`. Deltas come from this process alone; messages from wherever the chat runs. It
        ends by itself when the chat is deleted, and when the service ends and the chat doesn't run here any more.
        """
        return follow(self._means, self._turns, chat_id, caller.user_id, after=after)

    async def quick(self, caller: Identity, chat_id: str, instruction: str, text: str) -> str:
        """A short text about `text`, as `instruction` says. Raises `ModelError` too."""
        chat = await self._means.store.chat(chat_id, owner_id=caller.user_id)
        ask = quick_ask(instruction, text)
        return await self._generation.generate(chat, Purpose.QUICK, ask, caller.api_key_id)

    def feed(self, chat_id: str) -> AbstractContextManager[Feed]:
        """What happens in a chat, for who has a right to know; `events` is for everyone else."""
        return self._means.hub.feed(chat_id)

    # -- for tools ------------------------------------------------------------------------------------------------

    async def spawn(self, turn: Turning, prompt: str, *, title: str = "", kind: str = "subagent") -> Chat:
        """A chat below the one of `turn`, which runs at once and carries the key of `turn`."""
        _check(prompt)
        return await self._agency.spawn(turn, prompt, title=title, kind=kind)

    async def message(self, turn: Turning, agent_id: str, text: str) -> Sent:
        """Say something to an agent of this chat, with the key of `turn`."""
        _check(text)
        return await self._agency.message(turn, agent_id, text)

    async def wait(self, turn: Turning, agent_id: str, *, timeout_s: float) -> ChatView:
        """Until the agent waits for a message, or `timeout_s` is over; then it may still be running."""
        return await self._agency.wait(turn, agent_id, timeout_s=timeout_s)

    async def advise(self, turn: Turning, question: str) -> str:
        """What the advisor's model says about the conversation so far."""
        return await self._agency.advise(turn, question)


def _check(text: str) -> None:
    if not text.strip():
        raise EmptyMessage
    if len(text) > MAX_TEXT:
        raise MessageTooLong
