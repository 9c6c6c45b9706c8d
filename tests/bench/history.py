"""Fills a database with a history: what a company of developers might have left behind.

    python -m tests.bench.history --interceptions 1000000 --database sqlite:////tmp/history.db

The same number and seed give the same rows. Users differ in how much they do; three in four sessions are agents'
(a prompt, then calls that answer tools, with another prompt now and then; most with a client's session ID), the
others single calls. Models come and go with providers and clients; one of a hundred calls is an odd combination.

The rows are those that the store would write, past the store, because ten million shall take minutes: in bulk, with
the indexes made afterwards when the database was empty.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

import psycopg
from psycopg import sql as pg

from recorders.stores.database import time_value
from recorders.stores.tables import (
    INTERCEPTIONS,
    MODEL_THOUGHTS,
    TABLES,
    TOKEN_USAGES,
    TOOL_USAGES,
    USER_PROMPTS,
    Table,
)
from recorders.stores.urls import database_for

NEWEST: Final = datetime(2026, 6, 30, tzinfo=UTC)
DAYS: Final = 180
BATCH: Final = 20_000

KINDS: Final = (
    ("anthropic", "anthropic", "claude-opus-4-6", "Claude Code", 30),
    ("anthropic", "anthropic", "claude-sonnet-4-6", "Claude Code", 20),
    ("anthropic", "anthropic-eu", "claude-sonnet-4-6", "Claude Code", 8),
    ("openai", "openai", "gpt-5.3-codex", "Codex", 15),
    ("openai", "azure-openai", "gpt-5.3-codex", "Codex", 5),
    ("anthropic", "anthropic", "claude-sonnet-4-6", "opencode", 6),
    ("openai", "openai", "gpt-5-mini", "Unknown", 10),
    ("copilot", "copilot", "gpt-5.3", "GitHub Copilot (VS Code)", 6),
)
"""Provider, instance, model, client, weight."""

SMALL_MODELS: Final = {"anthropic": "claude-haiku-4-5", "openai": "gpt-5-nano", "copilot": "gpt-5-mini"}
TOOLS: Final = ("Bash", "Read", "Edit", "Grep", "Write", "Task", "mcp__tickets__search")
WORDS: Final = [
    "please",
    "find",
    "out",
    "why",
    "the",
    "build",
    "fails",
    "on",
    "a",
    "clean",
    "checkout",
    "then",
    "mend",
    "it",
    "and",
    "add",
    "a",
    "test",
    "for",
    "the",
    "case",
    "that",
    "was",
    "missed",
    "keep",
    "the",
    "change",
    "small",
    "explain",
    "each",
    "step",
    "name",
    "the",
    "files",
    "measure",
    "before",
    "and",
    "after",
    "the",
    "cache",
    "the",
    "parser",
    "the",
    "index",
    "the",
    "session",
    "the",
    "queue",
    "a",
    "race",
    "between",
    "two",
    "writers",
]

Rows = dict[Table, list[tuple[Any, ...]]]


class _Call(NamedTuple):
    """Which call it is, and whose."""

    id: str
    at: datetime
    user: str
    username: str
    client_session_id: str | None
    root: str | None
    parent: str | None
    answers: str | None


class History:
    """Rows of sessions, in no particular order of time, as tuples in the order of a table's columns."""

    def __init__(self, interceptions: int, *, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.interceptions = interceptions
        self.users = [f"{UUID(int=self._random.getrandbits(128))}" for _ in range(user_count(interceptions))]
        self._weights = [1 / (rank + 5) for rank in range(len(self.users))]

    def batches(self) -> Iterator[Rows]:
        sessions = self._sessions()
        left = self.interceptions
        while left > 0:
            batch: Rows = {table: [] for table in TABLES}
            while left > 0 and len(batch[INTERCEPTIONS]) < BATCH:
                left -= self._session(next(sessions), batch, left)
            yield batch

    def _sessions(self) -> Iterator[tuple[int, str]]:
        """Number and user of each session."""
        number = 0
        while True:
            for user in self._random.choices(range(len(self.users)), self._weights, k=1000):
                yield user, self.users[user]
                number += 1

    def _session(self, who: tuple[int, str], batch: Rows, left: int) -> int:
        pick = self._random
        (*kind, _), user = pick.choices(KINDS, [kind[-1] for kind in KINDS])[0], who[1]
        calls = 1 if pick.random() < 0.25 else min(1 + int(pick.lognormvariate(2.3, 0.9)), 400)
        calls = min(calls, left)
        at = NEWEST - timedelta(seconds=pick.random() * DAYS * 86_400)
        own = str(UUID(int=pick.getrandbits(128))) if calls > 1 and pick.random() < 0.8 else None
        root: str | None = None
        parent: str | None = None
        answers: str | None = None
        for _ in range(calls):
            at += timedelta(seconds=0.5 + pick.expovariate(1 / 20))
            if answers is not None and pick.random() < 0.12:  # the person says something
                root = parent = answers = None
            this = _id_at(at, pick)
            self._call(batch, _Call(this, at, user, f"dev-{who[0]}", own, root, parent, answers), kind)
            root, parent, answers = root or this, this, f"toolu_{this}"
        return calls

    def _call(self, batch: Rows, call: _Call, kind: Sequence[str]) -> None:
        this, at, user, username, own, root, parent, answers = call
        pick = self._random
        provider, instance, model, client = kind
        chance = pick.random()
        if chance < 0.1:
            model = SMALL_MODELS[provider]
        elif chance < 0.11:
            client = pick.choice(("Zed", "Mux", "Unknown"))
        start, until = time_value(at), time_value(at + timedelta(seconds=1 + pick.random() * 20))
        fine = pick.random() > 0.02
        message = f"msg_{this}"
        batch[INTERCEPTIONS].append(
            (
                *(
                    this,
                    user,
                    f"k{user[:9]}",
                    provider,
                    instance,
                    model,
                    client,
                    own,
                    own or root or this,
                    start,
                ),
                f'{{"username":"{username}","request_user_agent":"{client.lower()}/2.1"}}',
                *(answers, parent, root, "centralized", until),
                *(
                    ("completed", 200, None, None)
                    if fine
                    else ("upstream_failed", 529, "overloaded", "try later")
                ),
                "sk-a...0001",
            )
        )
        batch[TOKEN_USAGES].append(
            (
                *(_id_at(at, pick), this, message, pick.randrange(2, 900), pick.randrange(20, 3000)),
                *(pick.randrange(0, 120_000), pick.randrange(0, 6000), "{}", until),
            )
        )
        if parent is None:
            text = " ".join(pick.choices(WORDS, k=pick.randrange(8, 60)))
            batch[USER_PROMPTS].append((_id_at(at, pick), this, message, text, "{}", start))
        text = f'{{"command":"{" ".join(pick.choices(WORDS, k=8))}"}}'
        batch[TOOL_USAGES].append(
            (
                *(_id_at(at, pick), this, message, f"toolu_{this}", pick.choice(TOOLS), text),
                *(None, False, None, "{}", until),
            )
        )
        if pick.random() < 0.3:
            thought = " ".join(pick.choices(WORDS, k=30))
            batch[MODEL_THOUGHTS].append((_id_at(at, pick), this, thought, '{"source":"thinking"}', until))


def user_count(interceptions: int) -> int:
    return max(3, min(2000, interceptions // 2000))


def _id_at(at: datetime, pick: random.Random) -> str:
    """A UUID of version 7."""
    milliseconds = round(at.timestamp() * 1000)
    return str(
        UUID(int=milliseconds << 80 | 7 << 76 | pick.getrandbits(12) << 64 | 2 << 62 | pick.getrandbits(62))
    )


# -- in bulk --------------------------------------------------------------------------------------------------------


def fill(url: str, history: History) -> None:
    """Migrate the database and add the history to it."""
    asyncio.run(_migrate(url))
    if urlsplit(url).scheme == "sqlite":
        _fill_sqlite(unquote(urlsplit(url).path.removeprefix("/")), history)
    else:
        _fill_postgres(url, history)


async def _migrate(url: str) -> None:
    database = database_for(url)
    try:
        await database.open()
    finally:
        await database.close()


def _fill_sqlite(path: str, history: History) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    empty = connection.execute(f"SELECT 1 FROM {INTERCEPTIONS.name} LIMIT 1").fetchone() is None
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name LIKE 'aibridge_%'"
    ).fetchall()
    for name, _ in indexes if empty else ():
        connection.execute(f"DROP INDEX {name}")
    for batch in _told(history):
        for table, rows in batch.items():
            marks = ", ".join("?" for _ in table.columns)
            names = ", ".join(table.columns)
            connection.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)
    for _, create in indexes if empty else ():
        connection.execute(create)
    for user in _users(history):
        connection.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", user)
    connection.execute("COMMIT")
    connection.close()


def _fill_postgres(url: str, history: History) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        empty = connection.execute("SELECT 1 FROM aibridge_interceptions LIMIT 1").fetchone() is None
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'aibridge_%%' "
            "AND indexname NOT LIKE '%%_pkey' AND %s",
            (empty,),
        ).fetchall()
        for name, _ in indexes:
            connection.execute(pg.SQL("DROP INDEX {}").format(pg.Identifier(name)))
        for batch in _told(history):
            for table, rows in batch.items():
                _copy(connection, table, rows)
        for _, create in indexes:
            connection.execute(create.encode())
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO users VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                _users(history),
            )
    with psycopg.connect(url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(pg.SQL("VACUUM ANALYZE {}").format(pg.Identifier(table.name)))


def _copy(connection: psycopg.Connection[Any], table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    names = pg.SQL(", ").join(map(pg.Identifier, table.columns))
    into = pg.SQL("COPY {} ({}) FROM STDIN").format(pg.Identifier(table.name), names)
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)


def _users(history: History) -> list[tuple[Any, ...]]:
    now = time_value(NEWEST)
    return [(user, f"dev-{n}", "member", "active", False, now, now) for n, user in enumerate(history.users)]


def _told(history: History) -> Iterator[Rows]:
    began, done = time.monotonic(), 0
    for number, batch in enumerate(history.batches(), 1):
        yield batch
        done += len(batch[INTERCEPTIONS])
        if number % 10 == 0:
            print(f"{done:,} interceptions, {done / (time.monotonic() - began):,.0f}/s", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.history", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--interceptions", type=int, required=True, metavar="N")
    parser.add_argument(
        "--database", required=True, metavar="URL", help="sqlite:///<path> or postgresql://..."
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    fill(options.database, History(options.interceptions, seed=options.seed))
    print(f"{options.interceptions:,} interceptions in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
