"""`ai-gateway sessions` and `ai-gateway session ID`: what was recorded, on the command line.

Straight from the configured database, so whoever may read it sees everything. Standard output carries the result,
as text for a person or with `--json` as the management API would answer. What clients and models wrote is shown
without its control characters: a terminal would obey them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.accounts import Accounts, UnknownUser
from gateway.durations import format_duration
from gateway.history.answers import (
    AgenticAction,
    Session,
    SessionCursor,
    SessionPage,
    SessionThreads,
    Thread,
    ThreadCursor,
    Tokens,
)
from gateway.history.filters import Filters
from gateway.history.session import UnknownSession, get_session
from gateway.history.sessions import SharedSessionID, UnknownCursor, list_sessions
from gateway.settings import Settings
from recorders.stores.base import StoreError
from recorders.stores.database import Database
from recorders.stores.urls import database_for

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

MAX_SESSIONS: Final = 1000
THREADS_A_PAGE: Final = 50
SHOWN_CHARACTERS: Final = 300
"""How much of a prompt, a thought or a tool's input is shown; `--full` and `--json` show all of it."""

_TEXT_FILTERS: Final = (
    ("provider", "TYPE", "type of the provider"),
    ("provider_name", "NAME", "name of the provider instance"),
    ("model", "MODEL", "model, as the client named it"),
    ("client", "CLIENT", "the program that asked, such as 'Claude Code'"),
    ("session_id", "ID", "ID of the session"),
)


def add_commands(subparsers: _SubParsers, *, flags: argparse.ArgumentParser | None = None) -> None:
    """Add `sessions` and `session`; what they parse goes to `run`. Each also takes the flags of `flags`."""
    parents = [flags] if flags is not None else []
    listing = subparsers.add_parser(
        "sessions", help="what was recorded, newest first", parents=parents, allow_abbrev=False
    )
    listing.add_argument("--initiator", metavar="USER", help="name or ID of a user")
    for name, metavar, line in _TEXT_FILTERS:
        listing.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=line)
    listing.add_argument(
        "--started-after", type=_time, metavar="TIME", help="such as 2026-01-02 or 2026-01-02T15:04Z"
    )
    listing.add_argument("--started-before", type=_time, metavar="TIME", help="a time without a zone is UTC")
    listing.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help=f"1 to {MAX_SESSIONS}; default: 20"
    )
    listing.add_argument("--after-session-id", metavar="ID", help="those after this session")
    listing.add_argument(
        "--after-initiator", metavar="ID", help="the user of that session, where several have it"
    )
    listing.add_argument("--json", action="store_true", help="as the management API answers")
    listing.set_defaults(session_command=_list_sessions)
    one = subparsers.add_parser(
        "session", help="one session: prompts, tools, tokens", parents=parents, allow_abbrev=False
    )
    one.add_argument("id", metavar="ID")
    one.add_argument(
        "--initiator", metavar="USER", help="name or ID of a user, where several have the session"
    )
    one.add_argument("--full", action="store_true", help="show long texts whole")
    one.add_argument("--json", action="store_true", help="as the management API answers, all threads in one")
    one.set_defaults(session_command=_show_session)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Show what was parsed. The exit status: 0, or 1 after one sentence on why not."""
    try:
        database = database_for(settings.gateway.database_url.reveal_secret_value())
        asyncio.run(_run(args, database))
    except UnknownSession:
        return _fail(f"There is no session {args.id!r}.")
    except SharedSessionID:
        return _fail("Several users have a session of this ID: add --after-initiator.")
    except (StoreError, ValueError) as error:
        return _fail(str(error))
    except BrokenPipeError:  # the person has seen enough, in `less` or `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _run(args: argparse.Namespace, database: Database) -> None:
    try:
        await database.open()
        lines = await args.session_command(database, args)
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    finally:
        await database.close()


# -- the list -------------------------------------------------------------------------------------------------------


async def _list_sessions(database: Database, args: argparse.Namespace) -> Iterator[str]:
    filters = Filters(
        initiator_id=await _user_id(database, args.initiator),
        started_after=args.started_after,
        started_before=args.started_before,
        **{name: getattr(args, name) for name, _, _ in _TEXT_FILTERS},
    )
    after = None
    if args.after_session_id:
        after = SessionCursor(
            after_session_id=args.after_session_id, after_initiator=args.after_initiator or ""
        )
    try:
        page = await list_sessions(database, filters, limit=args.limit, after=after)
    except UnknownCursor as error:
        raise ValueError(f"--after-session-id: {error}") from error
    return iter([_json(page)]) if args.json else _table(page)


def _table(page: SessionPage) -> Iterator[str]:
    heading = (
        "SESSION",
        "STARTED (UTC)",
        "USER",
        "CLIENT",
        "MODELS",
        "CALLS",
        "TOKENS IN/OUT",
        "FIRST PROMPT",
    )
    rows = [heading, *map(_cells, page.sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if page.next is not None:
        after = page.next
        given = ("--after-session-id", after.after_session_id, "--after-initiator", after.after_initiator)
        # Clients choose session IDs, and a person may paste the line.
        sys.stderr.write(f"There are more: {printable(shlex.join(given))}\n")


def _cells(session: Session) -> tuple[str, ...]:
    usage = session.token_usage
    return (
        printable(session.id),
        f"{session.started_at:%Y-%m-%d %H:%M}",
        printable(session.initiator.username or session.initiator.id),
        printable(", ".join(session.clients)),
        printable(", ".join(session.models)),
        str(session.interceptions),
        f"{_all_input(usage):,}/{usage.output_tokens:,}",
        _short(session.first_prompt or "-", 50),
    )


# -- one session ----------------------------------------------------------------------------------------------------


async def _show_session(database: Database, args: argparse.Namespace) -> Iterator[str]:
    whose = await _user_id(database, args.initiator)
    threads: list[Thread] = []
    after: ThreadCursor | None = None
    while True:
        page = await get_session(database, args.id, initiator_id=whose, limit=THREADS_A_PAGE, after=after)
        threads += page.threads
        after = page.next
        if after is None:
            break
    session = SessionThreads(id=args.id, threads=threads, next=None)
    return iter([_json(session)]) if args.json else _told(session, whole=args.full)


def _told(session: SessionThreads, *, whole: bool) -> Iterator[str]:
    people = dict.fromkeys(thread.initiator.username or thread.initiator.id for thread in session.threads)
    calls = sum(thread.interceptions for thread in session.threads)
    total = sum((thread.token_usage for thread in session.threads), Tokens())
    yield f"Session {printable(session.id)} of {printable(', '.join(people))}"
    yield f"{_count(len(session.threads), 'thread')}, {_count(calls, 'call')}, {_tokens(total)}"
    for number, thread in enumerate(session.threads, 1):
        yield ""
        began = f"{thread.started_at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"Thread {number}  {began}  {_count(thread.interceptions, 'call')}, {_tokens(thread.token_usage)}"
        for action in thread.agentic_actions:
            yield from _action(action, thread.started_at, whole=whole)
        if thread.truncated:
            yield f"  ... {thread.interceptions - len(thread.agentic_actions)} more calls are not shown"


def _action(action: AgenticAction, began: datetime, *, whole: bool) -> Iterator[str]:
    after = (
        format_duration(round((action.started_at - began).total_seconds()))
        if action.started_at > began
        else "0s"
    )
    provider = f"{action.model} at {action.provider.name}, {action.client}"
    yield f"  +{after}  {printable(provider)}  {_outcome(action)}  {_tokens(action.token_usage)}"
    for prompt in action.prompts:
        yield from _text("prompt", prompt, whole=whole)
    for thought in action.thinking:
        yield from _text("thinks", thought.content, whole=whole)
    for call in action.tool_calls:
        yield from _text("calls", f"{call.tool} {call.input}", whole=whole)
        if call.invocation_error:
            yield from _text("failed", call.invocation_error, whole=whole)


def _outcome(action: AgenticAction) -> str:
    if action.outcome is None:
        return "running"
    status = "" if action.status in (None, 200) else f" {action.status}"
    words = f": {_short(action.error_message, 80)}" if action.error_message else ""
    return f"{action.outcome}{status}{words}"


def _text(label: str, text: str, *, whole: bool) -> Iterator[str]:
    if not whole:
        yield f"      {label:7} {_short(text, SHOWN_CHARACTERS)}"
        return
    first, *others = text.splitlines() or [""]
    yield f"      {label:7} {printable(first)}"
    for line in others:
        yield f"      {'':7} {printable(line)}"


def _tokens(usage: Tokens) -> str:
    cached = usage.cache_read_input_tokens
    note = f" ({cached:,} cached)" if cached else ""
    return f"{_all_input(usage):,} tokens in{note}, {usage.output_tokens:,} out"


def _all_input(usage: Tokens) -> int:
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# -- both -----------------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """`text` on one line, without what a terminal would act on: control characters, escapes, turned writing."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _short(text: str, characters: int) -> str:
    """The beginning on one line."""
    line = " ".join(text[: 4 * characters].split())
    return printable(line if len(line) <= characters else f"{line[: characters - 3]}...")


async def _user_id(database: Database, given: str | None) -> str | None:
    """The ID of the user of that name; what is no name of ours is taken for an ID."""
    if given is None:
        return None
    try:
        return (await Accounts(database).get_user(given)).id
    except UnknownUser:
        return given


def _json(answer: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else datetime.fromisoformat(f"{time.isoformat()}+00:00")
    except ValueError:
        raise argparse.ArgumentTypeError("write it as 2026-01-02 or 2026-01-02T15:04Z") from None


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_SESSIONS:
        return int(text)
    raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_SESSIONS}")


def _fail(message: str) -> int:
    sys.stderr.write(f"ai-gateway: {message}\n")
    return 1
