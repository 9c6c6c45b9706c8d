"""The turns that run in this process: a message begins one or waits for it, and at the end all of them are ended.

The end is a winding-down, which goes on beside whoever asked for it: nothing new begins, what runs may end by itself
for a while, and is then interrupted, early enough for who listens to hear of it before the server cuts them off.

Everything here runs in tasks of its own. Who asked may leave at any moment, also between taking a chat and beginning
its turn: the chat isn't left behind as if it ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from gateway.chat.content import Text
from gateway.chat.errors import NotRunningHere, Stopping
from gateway.chat.events import QueueChanged, StatusChanged
from gateway.chat.generation import Generation
from gateway.chat.means import Means
from gateway.chat.runner import Runner
from gateway.chat.store import Chat, Message, NewMessage
from gateway.chat.views import Sent, added
from gateway.chat.watch import Watch
from middleware.exchange import new_id
from recorders.tasks import AGAIN_S, end

MARGIN_S: Final = 2.0
"""Of the time that a server gives its answers to end: to write down what was said, and to tell who listens."""

_TRIES: Final = 100
_DELIVERY: Final = "chat delivery"
_RUN: Final = "chat run"
_TITLE: Final = "chat title"

T = TypeVar("T")


class Turns:
    """`generation` names chats at their first message; None leaves them without a name."""

    def __init__(self, means: Means, generation: Generation | None) -> None:
        self.stopping = False
        self.busy = asyncio.Event()
        """Something runs here."""
        self._means = means
        self._generation = generation
        self._runners: dict[str, Runner] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watch = Watch(means, self)
        self._winding_down: asyncio.Task[None] | None = None

    def open(self) -> None:
        self.stopping, self._winding_down = False, None
        self._watch.open()

    def refuse(self, *, grace_s: float | None = None) -> None:
        """From now on nothing new begins; turns that run may end, and who listens is let go after them.

        With `grace_s` those are interrupted that still run shortly before it is over. The first that is given counts.
        """
        self.stopping = True
        self._means.hub.wake()
        if grace_s is not None and self._winding_down is None:
            alone_s = max(grace_s - MARGIN_S, grace_s / 2)
            self._winding_down = asyncio.create_task(self._wind_down(alone_s), name="end of the chats")

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Return when no turn runs any more; see `refuse`."""
        self.refuse(grace_s=grace_s)
        if self._winding_down is not None:
            await self._winding_down
        await self._watch.close()
        for task in self._named(_TITLE):
            await end(task)

    async def _wind_down(self, alone_s: float) -> None:
        while deliveries := self._named(_DELIVERY):
            await asyncio.wait(deliveries)
        if runs := self._named(_RUN):
            await asyncio.wait(runs, timeout=alone_s)
        while runs := self._named(_RUN):  # each writes down what was said
            for runner in self._runners.values():
                runner.interrupt(closing=True)
            await asyncio.wait(runs, timeout=AGAIN_S)

    def runs(self, chat_id: str) -> bool:
        """Whether the chat runs in this process."""
        return chat_id in self._runners

    async def interrupt(self, chat: Chat) -> bool:
        """End the turn of a chat and those of its agents, wherever they run; whether the chat had one.

        What is queued goes on after it.
        """
        interrupted = await self._interrupt(chat)  # first, or it might spawn another agent
        await self._interrupt_agents(chat.id)
        return interrupted

    async def interrupt_run(self, chat_id: str, runner_id: str) -> None:
        """As another process wished it, if it is here that this runner runs."""
        runner = self._runners.get(chat_id)
        if runner is None or runner.id != runner_id:
            return
        if await self._means.store.take_interrupt(chat_id, runner_id):
            runner.interrupt()
            await self._interrupt_agents(chat_id)

    async def _interrupt(self, chat: Chat) -> bool:
        runner = self._runners.get(chat.id)
        if runner is None:
            return chat.status == "running" and await self._means.store.ask_interrupt(chat.id)
        runner.interrupt()
        return True

    async def _interrupt_agents(self, chat_id: str) -> None:
        for agent in await self._means.store.children(chat_id):
            await self._interrupt(agent)

    async def end(self, chat_ids: Iterable[str]) -> None:
        """Return when nothing runs in these chats any more, nor goes on by itself."""
        runners = [self._runners[one] for one in chat_ids if one in self._runners]
        for runner in runners:
            runner.interrupt(closing=True)
        for runner in runners:
            await runner.ended.wait()

    async def deliver(self, chat: Chat, text: str, api_key_id: str | None) -> Sent:
        """Begin a turn with the message, or queue it. Raises `Stopping`, `UnknownChat`, `NotRunningHere`."""
        return await asyncio.shield(self._start(self._deliver(chat, text, api_key_id), _DELIVERY))

    async def _deliver(self, chat: Chat, text: str, api_key_id: str | None) -> Sent:
        """The two are tried until one holds, since turns begin and end."""
        store = self._means.store
        for _ in range(_TRIES):
            if self.stopping:
                raise Stopping
            runner = Runner(chat, new_id(), self._means)
            if await runner.claim():
                return Sent(message=await self._begin(runner, text, api_key_id))
            queued = await store.queue(chat.id, text, api_key_id)
            if queued is not None:
                waiting = len(await store.queued(chat.id))
                self._means.hub.publish(chat.id, QueueChanged(waiting=waiting))
                return Sent(queued=queued)
            chat = await store.chat(chat.id)  # or it is gone
        raise NotRunningHere

    async def _begin(self, runner: Runner, text: str, api_key_id: str | None) -> Message:
        """The chat is claimed. What still waited from before an error comes first, as it was said first."""
        store, hub, chat = self._means.store, self._means.hub, runner.chat
        try:
            while (waited := await store.promote(chat.id, runner.id)) is not None:
                hub.publish(chat.id, added(waited))
            (message,) = await store.append(chat.id, NewMessage("user", (Text(text),), api_key_id=api_key_id))
        except BaseException:
            await store.finish(chat.id, runner.id, error="the message could not be stored; send it again")
            raise
        hub.publish(chat.id, StatusChanged(status="running"))
        hub.publish(chat.id, added(message))
        self._runners[chat.id] = runner
        self.busy.set()
        self._start(self._run(runner), _RUN)
        if self._generation and chat.parent_id is None and not chat.title and message.position == 0:
            self._start(self._name(self._generation, runner, text, api_key_id), _TITLE)
        return message

    async def _run(self, runner: Runner) -> None:
        try:
            await runner.run()
        finally:
            if self._runners.get(runner.chat_id) is runner:
                del self._runners[runner.chat_id]
            if not self._runners:
                self.busy.clear()
            runner.ended.set()
            if self.stopping:
                self._means.hub.wake(runner.chat_id)

    async def _name(self, generation: Generation, runner: Runner, text: str, api_key_id: str | None) -> None:
        """After the answer has begun, so that the first thing on record of a chat is what its owner asked."""
        await runner.answering.wait()
        await generation.name(runner.chat, text, api_key_id)

    def _named(self, name: str) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if task.get_name() == name]

    def _start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to who waits for it; when nobody does any more, it is nobody's
