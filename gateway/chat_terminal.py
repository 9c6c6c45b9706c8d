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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NamedTuple

from gateway.app import create_app
from gateway.chat.errors import ChatError
from gateway.chat.routing import RoutingError
from gateway.chat.service import ChatService
from gateway.chat.store import UnknownChat
from gateway.chat_screen import Screen, one_line
from gateway.chat_talk import PROMPT, Outcome, Talk
from gateway.loop_thread import LoopThread
from gateway.settings import Settings
from gateway.settings_error import SettingsError
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from providers.secret import Secret
from recorders.stores.base import StoreError

LISTED: Final = 100
"""Chats that are listed."""

HELP: Final = "/quit or Ctrl-D leaves, Ctrl-C ends an answer, anything else is said."

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
    app = create_app(settings, is_guest=True)
    if app.chat is None:
        raise SettingsError("the chat service is off")
    try:
        with LoopThread(app.lifespan()) as loop, _ended_by(signal.SIGTERM, signal.SIGHUP):
            caller = loop.run(app.authenticator.authenticate(token))
            return _fulfil(wish, loop, app.chat, caller)
    except Unauthorized:
        return _fail("the gateway token is not accepted: it is wrong, has ended, or is of another database")
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
    chats = loop.run(service.chats(caller, limit=LISTED + 1))
    for chat in chats[:LISTED]:
        screen.line(
            f"{chat.id}  {chat.updated_at:%Y-%m-%d %H:%M}  {chat.model}  {one_line(chat.title or '-', 80)}"
        )
    if not chats:
        screen.note("You have no chats yet.")
    if len(chats) > LISTED:
        screen.note(f"These are the newest {LISTED}; the others are kept too.")
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
