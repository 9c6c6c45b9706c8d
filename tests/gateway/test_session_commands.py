"""`ai-gateway sessions` and `ai-gateway session`: what a person sees, and what a program does."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

import pytest

from gateway.accounts import Accounts
from gateway.session_commands import add_commands, printable, run
from gateway.settings import GatewayOptions, Settings
from providers.secret import Secret
from recorders.records import Record
from recorders.stores.urls import database_for, store_on
from tests.recorders import samples
from tests.recorders.samples import NOON


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


class Terminal:
    """Runs a command line on a database that holds what was recorded."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.capsys = capsys
        self.parser = argparse.ArgumentParser(prog="ai-gateway")
        add_commands(self.parser.add_subparsers(required=True))

    def __call__(self, *words: str) -> Outcome:
        settings = Settings(gateway=GatewayOptions(database_url=Secret(self.url)))
        status = run(self.parser.parse_args(words), settings)
        return Outcome(status, *self.capsys.readouterr())

    def record(self, records: Iterable[Record], user: str | None = None) -> str:
        """The ID of the user who was made."""

        async def write() -> str:
            database = database_for(self.url)
            store = store_on(database)
            await store.open()
            await store.write(list(records))
            made = (await Accounts(database).create_user(user)).id if user else ""
            await store.close()
            return made

        return asyncio.run(write())


@pytest.fixture
def terminal(database_url: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(database_url, capsys)


def two_sessions() -> list[Record]:
    """A whole one of two calls, and one that runs, an hour later, by another user."""
    later = NOON + timedelta(seconds=65)
    return [
        *samples.whole("i1"),
        samples.start("i2", started_at=later, correlating_tool_call_id="call_1", model="small"),
        samples.end("i2", outcome="upstream_failed", status=529, error_message="try\x1b[31m later"),
        samples.start(
            "i3", started_at=NOON + timedelta(hours=1), initiator_id="u2", metadata={"username": "ben"}
        ),
        samples.prompt("i3", prompt="x" * 500 + "\nsecond\x07 line"),
    ]


def test_sessions_are_listed_newest_first(terminal: Terminal) -> None:
    """One line each, in columns."""
    terminal.record(two_sessions())

    status, out, err = terminal("sessions")

    heading, first, second = out.splitlines()
    assert (status, err) == (0, "")
    assert heading.split()[:2] == ["SESSION", "STARTED"]
    assert first.split()[:4] == ["i3", "2026-01-02", "13:00", "ben"]
    assert "claude, small" in second
    assert "80/20" in second
    assert second.endswith("What is a monad?")


def test_a_list_can_be_narrowed_and_continued(terminal: Terminal) -> None:
    """By name, model and time; the line to type for more stands on standard error."""
    terminal.record(two_sessions())
    own_id = terminal.record([], user="carol")
    terminal.record([samples.start("i4", initiator_id=own_id, client_session_id="it's", metadata={})])

    def found(*words: str) -> list[str]:
        return [
            session["id"] for session in json.loads(terminal("sessions", "--json", *words).out)["sessions"]
        ]

    assert found("--model", "small") == ["i1"]
    assert found("--initiator", "Carol") == ["it's"]
    assert found("--initiator", "u2") == ["i3"]
    assert found("--started-after", "2026-01-02T12:30") == ["i3"]
    assert found("--started-before", "2026-01-02T13:30+01:00") == ["it's", "i1"]
    assert found("--started-before", "2026-01-02") == []
    outcome = terminal("sessions", "--limit", "2")
    assert outcome.err == f"There are more: --after-session-id 'it'\"'\"'s' --after-initiator {own_id}\n"
    assert found("--after-session-id", "it's", "--after-initiator", own_id) == ["i1"]


def test_a_session_is_told_as_it_happened(terminal: Terminal) -> None:
    """Threads, prompts, thoughts, tools, tokens and how each call ended."""
    terminal.record(two_sessions())

    status, out, err = terminal("session", "i1")

    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "Session i1 of anna",
        "1 thread, 2 calls, 80 tokens in (30 cached), 20 out",
        "",
        "Thread 1  2026-01-02 12:00:00 UTC  2 calls, 80 tokens in (30 cached), 20 out",
        "  +0s  claude at anthropic-corp, Claude Code  completed  80 tokens in (30 cached), 20 out",
        "      prompt  What is a monad?",
        "      thinks  Let me think.",
        '      calls   Bash {"command": "ls"}',
        "  +1m5s  small at anthropic-corp, Claude Code  upstream_failed 529: try\ufffd[31m later  0 tokens in, 0 out",
    ]


def test_long_texts_are_cut_unless_asked_for_whole(terminal: Terminal) -> None:
    """And no terminal is told what to do, either way."""
    terminal.record(two_sessions())

    short, whole = terminal("session", "i3").out, terminal("session", "i3", "--full").out

    assert "running" in short
    assert f"prompt  {'x' * 297}...\n" in short
    assert "x" * 500 in whole
    assert "second\ufffd line" in whole


def test_json_has_all_threads(terminal: Terminal) -> None:
    """However many pages they are."""
    terminal.record(
        samples.start(f"i{n:03}", started_at=NOON + timedelta(seconds=n), client_session_id="s")
        for n in range(120)
    )

    session = json.loads(terminal("session", "s", "--json").out)

    assert [thread["id"] for thread in session["threads"]] == [f"i{n:03}" for n in range(120)]
    assert session["next"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("session", "nope"), "There is no session 'nope'."),
        (("session", "i1", "--initiator", "u2"), "There is no session 'i1'."),
        (("sessions", "--after-session-id", "nope"), "--after-session-id: there is no such session"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    terminal: Terminal, words: tuple[str, ...], said: str
) -> None:
    """Nothing on standard output."""
    terminal.record(two_sessions())

    assert terminal(*words) == (1, "", f"ai-gateway: {said}\n")


@pytest.mark.parametrize("words", ["--limit 0", "--limit 1001", "--limit x", "--started-after soon"])
def test_a_command_line_that_cannot_be_read_is_status_2(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any database is opened."""
    with pytest.raises(SystemExit) as caught:
        Terminal("sqlite:////nowhere/x.db", capsys)("sessions", *words.split())

    assert caught.value.code == 2


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    """Escapes, bells, and marks that turn the direction of writing."""
    assert printable("a\x1b]0;x\x07b\u202ec\nd") == "a\ufffd]0;x\ufffdb\ufffdc\ufffdd"
