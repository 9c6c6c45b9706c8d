"""One chat, as a person has it: a message goes in, and the turn that answers it is shown until it ends.

It stands between the keyboard of `gateway.chat_terminal`, in the main thread, and the chat service, in the loop. Ctrl-C
while a turn runs ends the turn and not the command; a message that still waits for another's turn is taken back.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Final, Literal, TypeAlias

from gateway.chat.content import text_of
from gateway.chat.events import ChatEvent, MessageAdded, StatusChanged
from gateway.chat.service import ChatService, ChatView
from gateway.chat.store import Message
from gateway.chat.views import Sent
from gateway.chat_screen import Screen, one_line
from gateway.loop_thread import LoopThread
from middleware.exchange import Identity

PROMPT: Final = "you> "
TAKEN_BACK: Final = "another process runs this chat: the message that waited there is taken back"
HISTORY: Final = 10
"""Messages of a chat that are shown when it goes on."""

Outcome: TypeAlias = Literal["answered", "failed", "interrupted"]


class Talk:
    """One chat, new unless it is resumed. Called in the main thread; names with `_in_loop` run in the loop."""

    def __init__(
        self, loop: LoopThread, service: ChatService, caller: Identity, screen: Screen, *, system: str = ""
    ) -> None:
        self.chat_id: str | None = None
        self._loop = loop
        self._service = service
        self._caller = caller
        self._screen = screen
        self._system = system
        self._seen = -1
        self._interrupted = False
        self._sent: Sent | None = None

    def resume(self, chat_id: str, *, shown: bool) -> None:
        """Go on with a chat of the caller's. Raises `UnknownChat`."""
        view = self._loop.run(self._service.view(self._caller, chat_id))
        self.chat_id = view.chat.id
        self._seen = max((message.position for message in view.messages), default=-1)
        if shown:
            self._show(view)

    def say(self, text: str) -> Outcome:
        """A message and the turn that answers it, shown as it goes. Raises `ChatError`, `StoreError`."""
        events: SimpleQueue[ChatEvent | None] = SimpleQueue()
        self._screen.begin()
        self._interrupted, self._sent = False, None
        turn = self._loop.begin(self._turn_in_loop(text, events))
        turn.add_done_callback(lambda _: events.put(None))

        interruptions: list[Future[bool]] = []

        def interrupt() -> None:
            self._interrupted = True
            interruption = self._loop.begin(self._interrupt_in_loop())
            interruptions.append(interruption)
            interruption.add_done_callback(lambda it: (it.exception() or it.result()) and turn.cancel())

        with _once_on_interrupt(interrupt):
            while (event := events.get()) is not None:
                self._screen.show(event)
        try:
            error = turn.result()
        except CancelledError:
            error = TAKEN_BACK
            for interruption in interruptions:
                interruption.result()  # it may have failed
        self._screen.end(interrupted=self._interrupted)
        if error:
            self._screen.note(f"ai-gateway: {error}")
            return "failed"
        return "interrupted" if self._interrupted else "answered"

    async def _turn_in_loop(self, text: str, events: SimpleQueue[ChatEvent | None]) -> str:
        """The error that ended the turn, empty when all went well."""
        if self.chat_id is None:
            self.chat_id = (await self._service.create(self._caller, system=self._system)).id
        chat = self._service.events(self._caller, self.chat_id, after=self._seen)
        async with aclosing(chat):
            await anext(chat)  # from here on it listens, and how the chat was before is no matter
            sent = await self._service.send(self._caller, self.chat_id, text)
            entry = sent.message or sent.queued
            self._sent = sent
            if self._interrupted and await self._interrupt_in_loop():
                return TAKEN_BACK
            begun = False
            async for event in chat:
                events.put(event)
                if isinstance(event, MessageAdded):
                    self._seen = event.position
                    begun = begun or (entry is not None and event.id == entry.id)
                elif isinstance(event, StatusChanged) and (
                    event.status == "error" or (begun and event.status == "waiting")
                ):
                    return event.error
        return ""

    async def _interrupt_in_loop(self) -> bool:
        """Whether the message was taken back; else its turn ends. Before it is sent there is nothing to do yet."""
        sent, self._sent = self._sent, None
        if self.chat_id is None or sent is None:
            return False
        if sent.queued and await self._service.unqueue(self._caller, self.chat_id, sent.queued.id):
            return True
        await self._service.interrupt(self._caller, self.chat_id)
        return False

    def _show(self, view: ChatView) -> None:
        """The chat and its last messages, briefly."""
        screen, chat, messages = self._screen, view.chat, view.messages
        screen.note(f"{one_line(chat.title or 'A chat')} · {chat.model}")
        if len(messages) > HISTORY:
            screen.note(f"... {len(messages) - HISTORY} earlier messages")
        for message in messages[-HISTORY:]:
            self._show_message(message)

    def _show_message(self, message: Message) -> None:
        text = one_line(text_of(message.parts))
        if text and message.role != "tool":
            self._screen.line(f"{PROMPT}{text}" if message.role == "user" else text)


@contextmanager
def _once_on_interrupt(call: Callable[[], None]) -> Iterator[None]:
    """For the block the first Ctrl-C calls, between two steps of the main thread; the next does what it did before."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        call()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
