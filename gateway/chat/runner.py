"""Runs the turns of one chat: the model is called, its tools run, until it ends; then the next queued message.

A runner holds the chat by a lease in the store, so that one process at a time runs it, and another may go on when this
one died. Each turn acts for the key of its last user message, read anew when the turn begins. What ends a turn badly
is told in the chat, and the chat takes the next message; nothing here tries again (the gateway does, where it is safe).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from typing import Final

from gateway.chat.content import (
    Answer,
    Ask,
    ModelError,
    ReasoningDelta,
    Said,
    Speaker,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
)
from gateway.chat.endings import INTERRUPTED, LEFT, UNREACHABLE, TooManySteps, told
from gateway.chat.events import Delta, QueueChanged, StatusChanged, Turn
from gateway.chat.means import Means, identity_of
from gateway.chat.routing import Model, ModelOptions, ModelRequest, Purpose
from gateway.chat.store import Chat, Message, NewMessage, UnknownChat
from gateway.chat.views import added
from recorders.stores.base import StoreError
from recorders.tasks import end

log = logging.getLogger("ai_gateway.chat")

PURPOSES: Final = {
    "chat": Purpose.CHAT,
    "subagent": Purpose.SUBAGENT,
    "computer_use": Purpose.COMPUTER_USE,
}


def shown_to_model(messages: list[Message]) -> tuple[Said, ...]:
    return tuple(Said(one.role, one.parts) for one in messages if one.visible in ("both", "model"))


class Runner:
    """One run, under an ID of its own: `claim`, then `run`, which returns when the chat waits again or is another's."""

    def __init__(self, chat: Chat, runner_id: str, means: Means) -> None:
        self.chat = chat
        self.api_key_id: str | None = None
        self.id = runner_id
        self.answering = asyncio.Event()
        """The model has begun to answer, or the turn is over."""
        self.ended = asyncio.Event()
        self._means = means
        self._interrupted = asyncio.Event()
        """The turn that runs is to end."""
        self._said: list[str] = []
        self._speaking: Model | None = None
        self._closing = False
        self._lost = False

    @property
    def chat_id(self) -> str:
        return self.chat.id

    @property
    def owner_id(self) -> str:
        return self.chat.owner_id

    def interrupt(self, *, closing: bool = False) -> None:
        """End the turn that runs; queued messages go on after it, unless everything is `closing`."""
        self._closing = self._closing or closing
        self._interrupted.set()

    async def claim(self) -> bool:
        """Whether the chat is this runner's now."""
        return await self._means.store.claim(self.chat.id, self.id, self._lease_end())

    def _lease_end(self) -> datetime:
        return self._means.clock() + timedelta(seconds=self._means.lease_s)

    async def run(self) -> None:
        lease = asyncio.create_task(self._keep_lease(), name="chat lease")
        try:
            while await self._next():
                pass
        except StoreError as error:
            log.warning("the chat %s stops: %s", self.chat.id, error)
            self._publish_status(UNREACHABLE)
        except UnknownChat:
            log.info("the chat %s was deleted while it ran", self.chat.id)
        finally:
            self.answering.set()
            self._means.hub.forget(self.chat.id)
            await end(lease)

    async def _next(self) -> bool:
        """Run a turn and say how it ended; true when another message is in line."""
        if not (self._closing or self._lost):
            self._interrupted.clear()
        turn = asyncio.create_task(self._answer(), name="chat turn")
        turn.add_done_callback(_seen)
        await self._end_of(turn)
        self.answering.set()
        if self._lost or (_ended(turn) and isinstance(turn.exception(), UnknownChat)):
            return False  # somebody else has the chat, or nobody any more
        error = self._why(turn)
        await self._keep_partial()
        if await self._means.store.finish(self.chat.id, self.id, error=error):
            self._publish_status(error)
            return False
        if error:
            return False  # it is somebody else's by now
        return await self._promoted()

    async def _end_of(self, turn: asyncio.Task[None]) -> None:
        """Return when the turn has ended, or should have.

        A host's tool may not heed a cancellation. Such a turn is left behind: as the chat isn't this run's any more
        then, it can write nothing when its tool returns.
        """
        interrupted = asyncio.create_task(self._interrupted.wait(), name="chat interruption")
        await asyncio.wait({turn, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        await end(interrupted)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._means.leave_s):
                await end(turn)
        if not turn.done():
            log.error(
                "a tool of the chat %s goes on %g s after its turn was interrupted: the turn is left behind",
                self.chat.id,
                self._means.leave_s,
            )

    def _why(self, turn: asyncio.Task[None]) -> str:
        """What is told in the chat about the end of a turn; empty when all is well."""
        if not turn.done():
            return LEFT
        if turn.cancelled():
            return INTERRUPTED if self._closing else ""
        error = turn.exception()
        return "" if error is None else told(self.chat.id, error)

    async def _promoted(self) -> bool:
        message = await self._means.store.promote(self.chat.id, self.id)
        if message is None:
            return False
        self._publish_message(message)
        waiting = len(await self._means.store.queued(self.chat.id))
        self._means.hub.publish(self.chat.id, QueueChanged(waiting=waiting))
        return True

    async def _answer(self) -> None:
        """One turn: from the last message until the model asks for nothing more."""
        store = self._means.store
        self._said.clear()
        self.api_key_id = await store.active_key(self.chat.id)
        for _ in range(self._means.max_steps):
            calls = await self._call_model()
            if not calls:
                return
            results = [await self._call_tool(call) for call in calls]
            await self._append(NewMessage("tool", tuple(results)))
        raise TooManySteps(self._means.max_steps)

    async def _call_model(self) -> list[ToolCall]:
        means, chat = self._means, self.chat
        request = ModelRequest(identity_of(chat), chat.model, PURPOSES[chat.kind])
        options = ModelOptions(self.api_key_id, means.record_http)
        ask = Ask(
            system=chat.system,
            messages=shown_to_model(await means.store.messages(chat.id)),
            tools=means.tools.of(chat.kind),
        )
        async with means.routing.model(request, options) as model:
            self._speaking = model
            means.hub.publish(chat.id, turn_event(model, request.purpose))
            answer = await self._listen(means.speaker_for(model), ask)
            message = NewMessage(
                "assistant",
                answer.parts,
                model=model.name,
                credential_kind=model.credential_kind,
                tokens=answer.tokens,
            )
        self._said.clear()
        await self._append(message)
        if answer.stop != "tools":
            return []  # a call that was cut off is not to be run
        return [part for part in answer.parts if isinstance(part, ToolCall)]

    async def _call_tool(self, call: ToolCall) -> ToolResult:
        """A tool can swallow the cancellation of its turn; then the turn ends when the tool does."""
        result = await self._means.tools.call(call, self, self.chat.kind)
        if self._interrupted.is_set():
            raise asyncio.CancelledError
        return result

    async def _listen(self, speaker: Speaker, ask: Ask) -> Answer:
        async with contextlib.aclosing(speaker.stream(ask)) as events:
            async for event in events:
                self.answering.set()
                match event:
                    case TextDelta(text):
                        self._said.append(text)
                        self._means.hub.publish(self.chat.id, Delta(kind="text", text=text))
                    case ReasoningDelta(text):
                        self._means.hub.publish(self.chat.id, Delta(kind="reasoning", text=text))
                    case Answer():
                        return event
        raise ModelError("the model's answer ended too early")

    async def _keep_partial(self) -> None:
        """What a person has read of an answer that was interrupted, or broke off, stays in the chat."""
        text, model = "".join(self._said), self._speaking
        self._said.clear()
        if text and model is not None:
            partial = NewMessage(
                "assistant", (Text(text),), model=model.name, credential_kind=model.credential_kind
            )
            with contextlib.suppress(UnknownChat):
                await self._append(partial)

    async def _append(self, message: NewMessage) -> None:
        for one in await self._means.store.append(self.chat.id, message, runner_id=self.id):
            self._publish_message(one)

    def _publish_message(self, message: Message) -> None:
        if message.visible in ("both", "user"):
            self._means.hub.publish(self.chat.id, added(message))

    def _publish_status(self, error: str) -> None:
        status = StatusChanged(status="error" if error else "waiting", error=error)
        self._means.hub.publish(self.chat.id, status)

    async def _keep_lease(self) -> None:
        """A database that is away doesn't end the turn; another runner that has the chat does."""
        lease_s = self._means.lease_s
        while not self._lost:
            await self._means.pause(lease_s / 3)
            try:
                self._lost = not await self._means.store.renew(self.chat.id, self.id, self._lease_end())
            except StoreError as error:
                log.warning("the chat %s may be taken over: %s", self.chat.id, error)
        log.warning("the chat %s was taken over by another process", self.chat.id)
        self.interrupt()


def _ended(turn: asyncio.Task[None]) -> bool:
    """By itself, well or not."""
    return turn.done() and not turn.cancelled()


def _seen(turn: asyncio.Task[None]) -> None:
    """How a turn ends that was left behind is nobody's any more."""
    if not turn.cancelled():
        turn.exception()


def turn_event(model: Model, purpose: Purpose) -> Turn:
    return Turn(
        purpose=purpose.name.lower(),
        provider=model.name.provider,
        model=model.name.model,
        credential_kind=model.credential_kind,
        routed=model.routed,
    )
