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
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.chat.agents import agent_tools
from gateway.chat.content import MAX_TEXT, Ask, ModelError, Speaker, Text
from gateway.chat.errors import EmptyMessage, MessageTooLong, NoModel, NotRunningHere, Stopping, TooManyAgents
from gateway.chat.events import ChatEvent, Delta, MessageAdded, QueueChanged, StatusChanged, TitleChanged
from gateway.chat.generation import advisor_ask, clean_title, quick_ask, title_ask, whole_text
from gateway.chat.hub import Feed, Hub
from gateway.chat.models import speaker_for as vendors_speaker_for
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import (
    ActiveKeyMissing,
    Model,
    ModelName,
    ModelOptions,
    ModelRequest,
    ModelRouting,
    Purpose,
    RoutingError,
)
from gateway.chat.routing.requests import RecordHttp
from gateway.chat.runner import Means, Runner, identity_of
from gateway.chat.store import Chat, ChatStore, Message, NewMessage, Queued, UnknownChat
from gateway.chat.tools import Tool, ToolBox, Turning
from gateway.chat.views import added
from middleware.exchange import Identity, new_id
from recorders.stores.base import StoreError
from recorders.tasks import end

log = logging.getLogger("ai_gateway.chat")

POLL_S: Final = 1.0
"""How soon what another process does in a chat is seen here."""

IDLE_POLLS: Final = 5
"""How many times as rarely a chat is looked at that nobody runs."""

MAX_AGENTS: Final = 16
"""Agents of one chat that are at work at once."""

_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message: it is answered now, or waits until the turn that runs has ended."""

    message: Message | None = None
    queued: Queued | None = None


@dataclass(frozen=True, slots=True)
class ChatView:
    chat: Chat
    messages: list[Message]
    queued: list[Queued]
    agents: list[Chat]


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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.models = models
        self._system = system
        self._titles = titles
        self._poll_s = poll_s
        self._runners: dict[str, Runner] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
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
        )

    # -- the life of the service ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ChatService]:
        """At the end of the block turns are interrupted, and what they said is kept."""
        self._stopping = False
        try:
            yield self
        finally:
            await self.close()

    def refuse_new_messages(self) -> None:
        """From now on nothing new begins; turns that run may end, and who listens is let go after them."""
        self._stopping = True
        self._means.hub.wake()

    async def close(self) -> None:
        """Interrupt the turns that run, and keep what they said."""
        self.refuse_new_messages()
        for runner in self._runners.values():
            runner.interrupt(closing=True)
        for task in list(self._tasks):
            if task.get_name() == _RUN:
                await asyncio.wait({task})  # it writes down what was said
            else:
                await end(task)

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
            await self._deliver(chat, text, caller.api_key_id)
        return await self._means.store.chat(chat.id)

    async def send(self, caller: Identity, chat_id: str, text: str) -> Sent:
        """Say something: it begins a turn, or waits in line for the one that runs."""
        chat = await self._means.store.chat(chat_id, owner_id=caller.user_id)
        return await self._deliver(chat, text, caller.api_key_id)

    async def chats(self, caller: Identity, *, limit: int = 50, before: str | None = None) -> list[Chat]:
        """The caller's own, newest first, without the agents' chats."""
        return await self._means.store.chats(caller.user_id, limit=limit, before=before)

    async def view(self, caller: Identity, chat_id: str) -> ChatView:
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        messages = [one for one in await store.messages(chat_id) if one.visible in ("both", "user")]
        return ChatView(chat, messages, await store.queued(chat_id), await store.children(chat_id))

    async def interrupt(self, caller: Identity, chat_id: str) -> bool:
        """End the turn that runs, and those of its agents; False when none runs."""
        chat = await self._means.store.chat(chat_id, owner_id=caller.user_id)
        for agent in await self._means.store.children(chat.id):
            if runner := self._runners.get(agent.id):
                runner.interrupt()
        if runner := self._runners.get(chat.id):
            runner.interrupt()
            return True
        if chat.status == "running":
            raise NotRunningHere
        return False

    async def unqueue(self, caller: Identity, chat_id: str, queued_id: str) -> bool:
        """Take back a message that waits; False when there is none of that ID, or none any more."""
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        taken = await store.unqueue(chat.id, queued_id)
        if taken:
            self._publish(chat.id, QueueChanged(waiting=len(await store.queued(chat.id))))
        return taken

    async def delete(self, caller: Identity, chat_id: str) -> None:
        """A chat with its agents' chats, for good. Turns in it end first; those of another process lose it."""
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        ids = [chat.id, *(agent.id for agent in await store.children(chat.id))]
        runners = [self._runners[one] for one in ids if one in self._runners]
        for runner in runners:
            runner.interrupt(closing=True)
        for runner in runners:
            await runner.ended.wait()
        await store.delete_chat(chat.id)
        for one in ids:
            self._means.hub.wake(one)

    async def events(
        self, caller: Identity, chat_id: str, *, after: int = -1
    ) -> AsyncGenerator[ChatEvent, None]:
        """What is in the chat behind position `after`, then what happens, until the caller closes the iterator.

        Begins with a `StatusChanged`. Deltas come from this process alone; messages from wherever the chat runs. It
        ends by itself when the chat is deleted, and when the service ends and the chat doesn't run here any more.
        """
        store = self._means.store
        chat = await store.chat(chat_id, owner_id=caller.user_id)
        with self._means.hub.feed(
            chat_id
        ) as feed:  # first listen, then look: nothing happens unseen in between
            status = _status(chat)
            yield status
            while True:
                feed.lost = False
                for message in await store.messages(chat_id, after=after):
                    after = message.position
                    if message.visible in ("both", "user"):
                        yield added(message)
                try:
                    looked = _status(await store.chat(chat_id, owner_id=caller.user_id))
                except UnknownChat:
                    return
                if chat_id not in self._runners and looked != status:
                    status = looked
                    yield status
                quiet = False
                while not (feed.lost or quiet):
                    if self._stopping and chat_id not in self._runners and not feed.waiting:
                        return
                    await feed.changed(
                        self._poll_s if status.status == "running" else IDLE_POLLS * self._poll_s
                    )
                    happened = feed.take()
                    for event in _without_known(happened, after):
                        if isinstance(event, MessageAdded):
                            after = event.position
                        elif isinstance(event, StatusChanged):
                            status = event
                        yield event
                    quiet = not happened and chat_id not in self._runners  # another process may be at it

    async def quick(self, caller: Identity, chat_id: str, instruction: str, text: str) -> str:
        """A short text about `text`, as `instruction` says. Raises `ModelError` too."""
        chat = await self._means.store.chat(chat_id, owner_id=caller.user_id)
        return await self._generate(chat, Purpose.QUICK, quick_ask(instruction, text), caller.api_key_id)

    def feed(self, chat_id: str) -> AbstractContextManager[Feed]:
        """What happens in a chat, for who has a right to know; `events` is for everyone else."""
        return self._means.hub.feed(chat_id)

    # -- for tools ------------------------------------------------------------------------------------------------

    async def spawn(self, turn: Turning, prompt: str, *, title: str = "", kind: str = "subagent") -> Chat:
        """A chat below the one of `turn`, which runs at once and carries the key of `turn`."""
        self._accountable(turn)
        _check(prompt)
        parent = await self._means.store.chat(turn.chat_id)
        agents = await self._means.store.children(parent.id)
        if sum(agent.status == "running" for agent in agents) >= MAX_AGENTS:
            raise TooManyAgents(MAX_AGENTS)
        purpose = Purpose.COMPUTER_USE if kind == "computer_use" else Purpose.SUBAGENT
        child = await self._means.store.create_chat(
            owner_id=parent.owner_id,
            owner_name=parent.owner_name,
            model=self.models.for_purpose(purpose, parent.model),
            title=title,
            system=parent.system,
            kind="computer_use" if kind == "computer_use" else "subagent",
            parent=parent,
            api_key_id=turn.api_key_id,
        )
        await self._deliver(child, prompt, turn.api_key_id)
        return child

    async def message(self, turn: Turning, agent_id: str, text: str) -> Sent:
        """Say something to an agent of this chat, with the key of `turn`."""
        self._accountable(turn)
        return await self._deliver(await self._agent(turn, agent_id), text, turn.api_key_id)

    async def wait(self, turn: Turning, agent_id: str, *, timeout_s: float) -> ChatView:
        """Until the agent waits for a message, or `timeout_s` is over; then it may still be running.

        It listens before it looks, and looks again in any case after a while: an agent that ends between the two is
        heard, and one that another process runs is seen.
        """
        agent = await self._agent(turn, agent_id)
        store = self._means.store
        with self._means.hub.feed(agent.id) as feed:
            try:
                async with asyncio.timeout(timeout_s):
                    while (agent := await store.chat(agent.id)).status == "running":
                        await feed.changed(self._poll_s)
                        feed.take()
            except TimeoutError:
                pass
        return ChatView(agent, await store.messages(agent.id), await store.queued(agent.id), [])

    async def advise(self, turn: Turning, question: str) -> str:
        """What the advisor's model says about the conversation so far."""
        self._accountable(turn)
        chat = await self._means.store.chat(turn.chat_id)
        ask = advisor_ask(await self._means.store.messages(chat.id), question)
        return await self._generate(chat, Purpose.ADVISOR, ask, turn.api_key_id)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _accountable(self, turn: Turning) -> None:
        if not turn.api_key_id and self._means.routing.mode == "gateway":
            raise ActiveKeyMissing

    async def _agent(self, turn: Turning, agent_id: str) -> Chat:
        agent = await self._means.store.chat(agent_id, owner_id=turn.owner_id)
        if agent.parent_id != turn.chat_id:
            raise UnknownChat
        return agent

    async def _deliver(self, chat: Chat, text: str, api_key_id: str | None) -> Sent:
        """Begin a turn with the message, or queue it; the two are tried until one holds, since turns begin and end."""
        _check(text)
        store = self._means.store
        for _ in range(_TRIES):
            if self._stopping:
                raise Stopping
            runner = Runner(chat, new_id(), self._means)
            if await runner.claim():
                return Sent(message=await self._begin(runner, text, api_key_id))
            queued = await store.queue(chat.id, text, api_key_id)
            if queued is not None:
                self._publish(chat.id, QueueChanged(waiting=len(await store.queued(chat.id))))
                return Sent(queued=queued)
        raise NotRunningHere

    async def _begin(self, runner: Runner, text: str, api_key_id: str | None) -> Message:
        """The chat is claimed. What still waited from before an error comes first, as it was said first."""
        store, chat = self._means.store, runner.chat
        try:
            while (waited := await store.promote(chat.id, runner.id)) is not None:
                self._publish(chat.id, added(waited))
            (message,) = await store.append(chat.id, NewMessage("user", (Text(text),), api_key_id=api_key_id))
        except BaseException:
            await asyncio.shield(store.finish(chat.id, runner.id, error="the message could not be stored"))
            raise
        self._publish(chat.id, StatusChanged(status="running"))
        self._publish(chat.id, added(message))
        self._run(runner)
        if self._titles and chat.parent_id is None and not chat.title and message.position == 0:
            self._start(self._name(runner, text, api_key_id), _TITLE)
        return message

    def _run(self, runner: Runner) -> None:
        self._runners[runner.chat_id] = runner

        async def run() -> None:
            try:
                await runner.run()
            finally:
                if self._runners.get(runner.chat_id) is runner:
                    del self._runners[runner.chat_id]
                runner.ended.set()
                if self._stopping:
                    self._means.hub.wake(runner.chat_id)

        self._start(run(), _RUN)

    def _start(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _name(self, runner: Runner, text: str, api_key_id: str | None) -> None:
        """By a model or, where it can't (some refuse an answer that is begun), by how the chat begins.

        After the answer has begun, so that the first thing on record of a chat is what its owner asked.
        """
        await runner.answering.wait()
        chat = runner.chat
        try:
            try:
                title = clean_title(await self._generate(chat, Purpose.TITLE, title_ask(text), api_key_id))
            except (RoutingError, ModelError) as error:
                log.info("no model names the chat %s: %s", chat.id, error)
                title = ""
            title = title or clean_title(text)
            await self._means.store.set_title(chat.id, title)
            self._publish(chat.id, TitleChanged(title=title))
        except (StoreError, UnknownChat) as error:
            log.info("the chat %s gets no title: %s", chat.id, error)

    async def _generate(self, chat: Chat, purpose: Purpose, ask: Ask, api_key_id: str | None) -> str:
        request = ModelRequest(identity_of(chat), self.models.for_purpose(purpose, chat.model), purpose)
        options = ModelOptions(api_key_id, self._means.record_http)
        async with self._means.routing.model(request, options) as model:
            return await whole_text(self._means.speaker_for(model), ask)

    def _publish(self, chat_id: str, event: ChatEvent) -> None:
        self._means.hub.publish(chat_id, event)


_RUN: Final = "chat run"
_TITLE: Final = "chat title"


def _status(chat: Chat) -> StatusChanged:
    return StatusChanged(status=chat.status, error=chat.error)


def _without_known(happened: list[ChatEvent], after: int) -> list[ChatEvent]:
    """What happened, but for messages that were seen in the store already, and the deltas that led to them."""
    known = [isinstance(event, MessageAdded) and event.position <= after for event in happened]
    seen = len(known) - known[::-1].index(True) if True in known else 0
    return [event for event in happened[:seen] if not isinstance(event, MessageAdded | Delta)] + happened[
        seen:
    ]


def _check(text: str) -> None:
    if not text.strip():
        raise EmptyMessage
    if len(text) > MAX_TEXT:
        raise MessageTooLong
