from __future__ import annotations

import argparse
import asyncio
import re
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.account_commands import add_commands, run
from gateway.accounts import Accounts, DatabaseAuthenticator
from gateway.settings import GatewayOptions, Settings
from providers.secret import Secret
from recorders.stores.urls import database_for

TOKEN_LINE = re.compile(r"[A-Za-z0-9]{10}-[A-Za-z0-9]{22,}\n")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


class Terminal:
    """Runs a command line and shows what it printed."""

    def __init__(self, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.database_url = database_url
        self.capsys = capsys
        self.parser = argparse.ArgumentParser(prog="ai-gateway")
        add_commands(self.parser.add_subparsers(required=True))

    def __call__(self, line: str) -> Outcome:
        settings = Settings(gateway=GatewayOptions(database_url=Secret(self.database_url)))
        status = run(self.parser.parse_args(line.split()), settings)
        return Outcome(status, *self.capsys.readouterr())

    def token(self, line: str) -> str:
        outcome = self(line)
        assert TOKEN_LINE.fullmatch(outcome.out)
        return outcome.out.strip()


@pytest.fixture
def terminal(database_url: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Once for each kind of database."""
    return Terminal(database_url, capsys)


def test_a_created_key_prints_its_token_alone_and_the_token_works(terminal: Terminal) -> None:
    """`TOKEN=$(ai-gateway keys create --user anna)` is all one needs."""
    assert terminal("users create anna --role auditor").status == 0
    outcome = terminal("keys create --user anna --lifetime 90d")

    assert outcome.status == 0
    assert TOKEN_LINE.fullmatch(outcome.out)
    assert outcome.out.strip() not in outcome.err
    assert outcome.out.strip()[11:] not in outcome.err

    async def who() -> tuple[str, str, int]:
        database = database_for(terminal.database_url)
        await database.open()
        identity = await DatabaseAuthenticator(database).authenticate(Secret(outcome.out.strip()))
        key = await Accounts(database).get_key(identity.api_key_id)
        await database.close()
        assert key.expires_at is not None
        return identity.username, identity.role, (key.expires_at - key.created_at).days

    assert asyncio.run(who()) == ("anna", "auditor", 90)


def test_what_is_said_to_the_person_goes_to_standard_error(terminal: Terminal) -> None:
    """Standard output is for programs."""
    outcome = terminal("users create anna")

    assert outcome.out == ""
    assert outcome.err == "Created anna, member. A key: ai-gateway keys create --user anna\n"


def test_keys_are_listed_without_secrets(terminal: Terminal) -> None:
    """A table that a person can read, with what became of each key."""
    terminal("users create anna")
    terminal("users create benedict")
    tokens = [
        terminal.token("keys create --user anna"),
        terminal.token("keys create --user benedict --lifetime 1d12h"),
        terminal.token("keys create --user anna"),
    ]
    terminal(f"keys revoke {tokens[0][:10]}")
    terminal("users suspend benedict")

    outcome = terminal("keys list")

    heading, *lines = outcome.out.splitlines()
    assert heading.split() == ["ID", "USER", "STATE", "CREATED", "EXPIRES"]
    assert [line.split()[:3] for line in lines] == [
        [tokens[0][:10], "anna", "revoked"],
        [tokens[1][:10], "benedict", "user"],
        [tokens[2][:10], "anna", "good"],
    ]
    columns = {len(re.split(r"\d{4}-\d\d-\d\d", line)[0]) for line in lines}
    assert columns == {heading.index("CREATED")}
    assert "user suspended" in lines[1]
    assert lines[1].endswith(" UTC")
    assert lines[2].endswith(" never")
    assert not [token for token in tokens if token[11:] in outcome.out + outcome.err]
    assert len(terminal("keys list --user benedict").out.splitlines()) == 2


def test_a_deleted_key_is_not_listed_any_more(terminal: Terminal) -> None:
    """Other than a revoked one; the help says what else deleting does."""
    terminal("users create anna")
    deleted, revoked = (terminal.token("keys create --user anna")[:10] for _ in range(2))

    assert terminal(f"keys delete {deleted}") == (0, "", f"Deleted key {deleted} of anna.\n")
    assert terminal(f"keys revoke {revoked}") == (0, "", f"Revoked key {revoked} of anna.\n")

    assert [line.split()[0] for line in terminal("keys list").out.splitlines()[1:]] == [revoked]
    with pytest.raises(SystemExit):
        terminal("keys delete --help")
    assert "To end a key, revoke it." in " ".join(terminal.capsys.readouterr().out.split())


def test_an_expired_key_is_listed_as_expired(terminal: Terminal) -> None:
    """Though nobody revoked it."""
    terminal("users create anna")
    terminal("keys create --user anna --lifetime 1ms")

    assert "expired" in terminal("keys list").out


def test_users_are_listed_suspended_activated_and_deleted(terminal: Terminal) -> None:
    """With what became of each."""
    terminal("users create anna")
    terminal("users create ben --role admin")
    for line, said in (
        ("users suspend ANNA", "Suspended anna.\n"),
        ("users activate anna", "Activated anna.\n"),
        ("users suspend anna", "Suspended anna.\n"),
        ("users delete ben", "Deleted ben.\n"),
    ):
        assert terminal(line) == (0, "", said)

    heading, line = terminal("users list").out.splitlines()
    assert heading.split() == ["NAME", "ROLE", "STATUS", "CREATED"]
    assert line.split()[:3] == ["anna", "member", "suspended"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keys create --user nobody", "There is no user 'nobody'."),
        ("keys list --user nobody", "There is no user 'nobody'."),
        ("keys revoke AAAAAAAAAA", "There is no key 'AAAAAAAAAA'."),
        ("keys delete AAAAAAAAAA", "There is no key 'AAAAAAAAAA'."),
        ("users suspend nobody", "There is no user 'nobody'."),
        ("users create anna", "There is already a user 'anna'."),
        ("users create _x", "'_x' can't be the name of a user: "),
        ("keys create --user anna --lifetime 0", "The lifetime of a key must be longer"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(terminal: Terminal, line: str, said: str) -> None:
    """No traceback, and nothing on standard output."""
    terminal("users create anna")

    outcome = terminal(line)

    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith(f"ai-gateway: {said}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "users create anna --role root",
        "keys create --user anna --lifetime soon",
        "keys create --user anna --lifetime 999999999999d",
        "keys create",
        "users",
    ],
)
def test_a_command_line_that_cannot_be_read_is_status_2(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As argparse says it, before any database is opened."""
    terminal = Terminal(f"sqlite:///{tmp_path}/gateway.db", capsys)
    with pytest.raises(SystemExit) as caught:
        terminal(line)

    assert caught.value.code == 2
    assert "usage: ai-gateway" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_database_that_cannot_be_opened_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator sees which file."""
    (tmp_path / "file").touch()

    outcome = Terminal(f"sqlite:///{tmp_path}/file/x.db", capsys)("keys list")

    assert outcome.status == 1
    assert "file/x.db" in outcome.err


@pytest.mark.parametrize("reason", ["refused", "unreadable"])
def test_a_server_that_cannot_be_reached_is_one_sentence_without_the_password(
    capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    """Whether it isn't there or its URL can't be read."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        query = "" if reason == "refused" else "?no_such_parameter=1"
        url = f"postgresql://anna:hunter2@127.0.0.1:{port}/x{query}"

        outcome = Terminal(url, capsys)("keys list")

    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith(
        f"ai-gateway: PostgreSQL at 127.0.0.1:{port}: "
        if reason == "refused"
        else "ai-gateway: the PostgreSQL URL"
    )
    assert outcome.err.count("\n") == 1
    assert "hunter2" not in outcome.err
