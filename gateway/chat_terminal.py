"""A person at a terminal, and the chat service of a gateway in this process.

The main thread reads the keyboard, writes the screen and gets Ctrl-C; gateway and turns run in `gateway.loop_thread`,
so that what works for a chat goes on while the person types. Ctrl-C ends a turn and keeps what was said of it; a second
one, or one at the prompt, ends the command, as the end of the input does.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import aclosing, contextmanager, suppress
from queue import SimpleQueue
from types import FrameType
from typing import Final, Literal, NamedTuple, TypeAlias

from gateway.app import create_app
from gateway.chat.content import text_of
from gateway.chat.errors import ChatError, NotRunningHere
from gateway.chat.events import ChatEvent, MessageAdded, StatusChanged
from gateway.chat.routing import RoutingError
from gateway.chat.service import ChatService, ChatView
from gateway.chat.store import Message, UnknownChat
from gateway.chat_screen import Screen, one_line
from gateway.loop_thread import LoopThread
from gateway.settings import Settings
from gateway.settings_error import SettingsError
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from providers.secret import Secret
from recorders.stores.base import StoreError

PROMPT: Final = "you> "
HISTORY: Final = 10
"""Messages of a chat that are shown when it goes on."""

HELP: Final = "/quit or Ctrl-D leaves, Ctrl-C ends an answer, anything else is said."

Outcome: TypeAlias = Literal["answered", "failed", "interrupted"]
STATUS: Final[dict[Outcome, int]] = {"answered": 0, "failed": 1, "interrupted": 130}


class Wish(NamedTuple):
    """What the command line asks for."""

    chat_id: str | None = None
    system: str = ""
    question: str | None = None
    """Asked once; None for a conversation."""
    only_list: bool = False
    color: bool = True


def run(settings: Settings, token: Secret, wish: Wish) -> int:
    """The exit status. `settings` have the chat service on. Raises `SettingsError`, `StoreError`, `OSError`."""
    app = create_app(settings)
    if app.chat is None:
        raise SettingsError("the chat service is off")
    try:
        with LoopThread(app.lifespan()) as loop, _ended_by(signal.SIGTERM, signal.SIGHUP):
            caller = loop.run(app.authenticator.authenticate(token))
            return _fulfil(wish, loop, app.chat, caller)
    except Unauthorized:
        return _fail("the gateway token is not accepted: it is wrong, or has ended")
    except AuthorityUnreachable as error:
        return _fail(error.message)
    except (ChatError, RoutingError, UnknownChat) as error:
        return _fail(str(error))
    except BrokenPipeError:  # the person has seen enough, in `less` or `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fulfil(wish: Wish, loop: LoopThread, service: ChatService, caller: Identity) -> int:
    alone = wish.question is not None or wish.only_list
    color = wish.color and sys.stderr.isatty() and (alone or sys.stdout.isatty())
    screen = Screen(sys.stdout, sys.stderr, alone=alone, color=color)
    if wish.only_list:
        return _list(screen, loop, service, caller)
    talk = Talk(loop, service, caller, screen, system=wish.system)
    if wish.chat_id is not None:
        talk.resume(wish.chat_id, shown=not alone)
    try:
        return _converse(talk, screen) if wish.question is None else STATUS[talk.say(wish.question)]
    finally:
        if talk.chat_id is not None:
            screen.note(f"Go on with it: ai-gateway chat --chat {talk.chat_id}")


def _list(screen: Screen, loop: LoopThread, service: ChatService, caller: Identity) -> int:
    chats = loop.run(service.chats(caller))
    for chat in chats:
        screen.line(
            f"{chat.id}  {chat.updated_at:%Y-%m-%d %H:%M}  {chat.model}  {one_line(chat.title or '-', 80)}"
        )
    if not chats:
        screen.note("You have no chats yet.")
    return 0


def _converse(talk: Talk, screen: Screen) -> int:
    """Until the person leaves."""
    with suppress(ImportError):  # line editing, where the system has it
        import readline  # noqa: F401, PLC0415
    screen.note(HELP)
    while (line := _typed(screen)) is not None:
        command = line.strip()
        if command == "/quit":
            break
        if command == "/help":
            screen.note(HELP)
        elif re.fullmatch(r"/[a-z]+", command):
            screen.note(f"There is no {command}. {HELP}")
        elif command:
            try:
                talk.say(line)
            except (ChatError, StoreError) as error:
                screen.note(f"ai-gateway: {error}")
    return 0


def _typed(screen: Screen) -> str | None:
    """A line of the person's; None when they leave."""
    prompt = PROMPT
    if not sys.stdout.isatty():  # the prompt is not part of what is kept of the answers
        sys.stderr.write(PROMPT)
        sys.stderr.flush()
        prompt = ""
    try:
        return input(prompt)
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        return None
    except UnicodeDecodeError:
        screen.note("ai-gateway: that was not text in UTF-8")
        return ""


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
        self._interrupted = False
        turn = self._loop.begin(self._turn_in_loop(text, events))
        turn.add_done_callback(lambda _: events.put(None))

        def interrupt() -> None:
            self._interrupted = True
            self._loop.begin(self._interrupt_in_loop()).add_done_callback(
                lambda ended: ended.exception() and turn.cancel()
            )

        with _once_on_interrupt(interrupt):
            while (event := events.get()) is not None:
                self._screen.show(event)
        try:
            error = turn.result()
        except CancelledError:
            error = str(NotRunningHere())
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
            if self._interrupted:
                await self._interrupt_in_loop()
            entry = sent.message or sent.queued
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

    async def _interrupt_in_loop(self) -> None:
        if self.chat_id is not None:
            await self._service.interrupt(self._caller, self.chat_id)

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


@contextmanager
def _ended_by(*numbers: signal.Signals) -> Iterator[None]:
    """For the block these signals end the command in order, so that no turn is left behind as if it ran."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(sentence: str) -> int:
    sys.stderr.write(f"ai-gateway: {sentence}\n")
    return 1
