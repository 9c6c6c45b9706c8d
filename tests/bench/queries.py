"""How long the questions of the management API take on a database with a history, and by which plans.

    python -m tests.bench.queries --database sqlite:////tmp/history.db

Each question is asked `--times` times with parameters drawn from what is in the database; the times are those of the
whole answer as a handler gets it, all its queries together. The plan of every query that was sent is shown once
(`--plans`) and looked through: exit status 1 when one reads a table without an index, or when the 99th percentile
of a question is above `--limit-ms`.

Fill the database with `python -m tests.bench.history`. Nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.history.answers import InterceptionCursor, SessionCursor
from gateway.history.filters import Filters
from gateway.history.interceptions import list_clients, list_interceptions, list_models, list_providers
from gateway.history.session import get_session
from gateway.history.sessions import list_sessions
from gateway.history.strata import Stratum, find_strata
from recorders.stores.database import Database, Row, Value, read_time
from recorders.stores.urls import database_for

SHORT: Final = timedelta(days=7)

_WITHOUT_INDEX: Final = re.compile(
    r"Seq Scan on (aibridge_\w+|users)|\bSCAN (i|e|n|u|aibridge_\w+|users)\b(?! USING)"
)


def watch(database: Database) -> dict[str, tuple[Value, ...]]:
    """From now on the database remembers each different query it is asked, with one set of its parameters."""
    seen: dict[str, tuple[Value, ...]] = {}
    fetch = database.fetch

    async def watched(sql: str, *parameters: Value) -> list[Row]:
        seen.setdefault(sql, parameters)
        return await fetch(sql, *parameters)

    vars(database)["fetch"] = watched
    return seen


@dataclass(frozen=True, slots=True)
class World:
    """What there is to ask about."""

    users: Sequence[str]
    busiest: str
    strata: Sequence[Stratum]
    sessions: Sequence[Row]
    first: datetime
    last: datetime


async def explore(database: Database, pick: random.Random) -> World:
    users = [row["id"] for row in await database.fetch("SELECT id FROM users LIMIT 5000")]
    [span] = await database.fetch(
        "SELECT MIN(started_at) AS a, MAX(started_at) AS z FROM aibridge_interceptions"
    )
    first, last = read_time(span["a"]), read_time(span["z"])
    sessions: list[Row] = []
    for _ in range(40):
        before = first + (last - first) * pick.random()
        sessions += await database.fetch(
            "SELECT session_id, initiator_id, id FROM aibridge_interceptions WHERE started_at < ? "
            "ORDER BY started_at DESC, id DESC LIMIT 5",
            before.isoformat().replace("+00:00", "Z"),
        )
    [(busiest, _)] = Counter(row["initiator_id"] for row in sessions).most_common(1)
    return World(users, busiest, await find_strata(database), sessions, first, last)


Question = Callable[[Database, World, random.Random], Awaitable[object]]


def _window(world: World, pick: random.Random) -> dict[str, Any]:
    after = world.first + (world.last - world.first) * pick.random()
    return {"started_after": after, "started_before": after + SHORT}


async def _sessions_first_page(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters())


async def _sessions_deep_page(database: Database, world: World, pick: random.Random) -> object:
    row = pick.choice(world.sessions)
    after = SessionCursor(after_session_id=row["session_id"], after_initiator=row["initiator_id"])
    return await list_sessions(database, Filters(), after=after)


async def _sessions_of_user(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters(initiator_id=pick.choice(world.users)))


async def _sessions_of_busiest(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(
        database, Filters(initiator_id=world.busiest, model=pick.choice(world.strata).model)
    )


async def _sessions_of_model(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters(model=pick.choice(world.strata).model))


async def _sessions_of_client(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters(client=pick.choice(world.strata).client))


async def _sessions_of_stratum(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters(**pick.choice(world.strata)._asdict()))


async def _sessions_of_no_stratum(database: Database, world: World, pick: random.Random) -> object:
    return await list_sessions(database, Filters(provider="openai", client="Claude Code"))


async def _sessions_user_model_time(database: Database, world: World, pick: random.Random) -> object:
    filters = Filters(
        initiator_id=pick.choice(world.users), model=pick.choice(world.strata).model, **_window(world, pick)
    )
    return await list_sessions(database, filters)


async def _one_session(database: Database, world: World, pick: random.Random) -> object:
    row = pick.choice(world.sessions)
    whose = pick.choice((None, row["initiator_id"]))
    return await get_session(database, row["session_id"], initiator_id=whose)


async def _interceptions_first_page(database: Database, world: World, pick: random.Random) -> object:
    return await list_interceptions(database, Filters())


async def _interceptions_deep_page(database: Database, world: World, pick: random.Random) -> object:
    after = InterceptionCursor(after_id=pick.choice(world.sessions)["id"])
    return await list_interceptions(database, Filters(), after=after)


async def _interceptions_user_model_time(database: Database, world: World, pick: random.Random) -> object:
    filters = Filters(
        initiator_id=pick.choice(world.users), model=pick.choice(world.strata).model, **_window(world, pick)
    )
    return await list_interceptions(database, filters)


async def _interceptions_provider_time(database: Database, world: World, pick: random.Random) -> object:
    filters = Filters(provider_name=pick.choice(world.strata).provider_name, **_window(world, pick))
    return await list_interceptions(database, filters)


async def _models(database: Database, world: World, pick: random.Random) -> object:
    return await list_models(database)


async def _clients_of_user(database: Database, world: World, pick: random.Random) -> object:
    return await list_clients(database, pick.choice(world.users))


async def _providers(database: Database, world: World, pick: random.Random) -> object:
    return await list_providers(database)


QUESTIONS: Final[dict[str, Question]] = {
    "sessions, first page": _sessions_first_page,
    "sessions, any page": _sessions_deep_page,
    "sessions of a user": _sessions_of_user,
    "sessions of the busiest user, a model": _sessions_of_busiest,
    "sessions of a model": _sessions_of_model,
    "sessions of a client": _sessions_of_client,
    "sessions, rare combinations": _sessions_of_stratum,
    "sessions, a combination there isn't": _sessions_of_no_stratum,
    "sessions by user, model, time": _sessions_user_model_time,
    "a session": _one_session,
    "interceptions, first page": _interceptions_first_page,
    "interceptions, any page": _interceptions_deep_page,
    "interceptions by user, model, time": _interceptions_user_model_time,
    "interceptions by provider, time": _interceptions_provider_time,
    "models": _models,
    "clients of a user": _clients_of_user,
    "providers": _providers,
}


async def measure(database: Database, times: int, seed: int = 1) -> dict[str, list[float]]:
    """Milliseconds of each asking, sorted, by question. What the first asking warms up isn't hidden: it is counted."""
    pick = random.Random(seed)
    world = await explore(database, pick)
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for _ in range(times):
        for name, question in QUESTIONS.items():
            began = time.perf_counter()
            await question(database, world, pick)
            taken[name].append((time.perf_counter() - began) * 1000)
    return {name: sorted(values) for name, values in taken.items()}


async def plan(database: Database, sql: str, parameters: Sequence[Value], *, sqlite: bool) -> list[str]:
    rows = await database.fetch(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{sql}", *parameters)
    return [str(list(row.values())[-1]) for row in rows]


def without_index(lines: Sequence[str]) -> list[str]:
    """The steps of a plan that read a table from one end to the other."""
    return [line.strip() for line in lines if _WITHOUT_INDEX.search(line)]


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values, by nearest rank."""
    return values[math.ceil(len(values) * share) - 1]


async def run(options: argparse.Namespace) -> int:
    database = database_for(options.database)
    await database.open()
    slow = scanning = False
    try:
        [count] = await database.fetch("SELECT COUNT(*) AS n FROM aibridge_interceptions")
        print(
            f"{count['n']:,} interceptions, {options.times} askings each; {platform.machine()}, {os.cpu_count()} cores"
        )
        seen = watch(database)
        taken = await measure(database, options.times, options.seed)
        print(f"{'question':42} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
        for name, values in taken.items():
            high = percentile(values, 0.99)
            slow |= high > options.limit_ms
            mark = "  above the limit" if high > options.limit_ms else ""
            print(f"{name:42} {percentile(values, 0.5):8.1f} {high:8.1f} {values[-1]:8.1f}{mark}")
        sqlite = options.database.startswith("sqlite")
        own = {
            sql: given
            for sql, given in list(seen.items())
            if "COUNT(*) AS n" not in sql and " AS a," not in sql and "FROM users" not in sql
        }
        for sql, given in own.items():
            lines = await plan(database, sql, given, sqlite=sqlite)
            if options.plans:
                print("", " ".join(sql.split())[:300], *(f"    {line}" for line in lines), sep="\n")
            for bad in without_index(lines):
                scanning = True
                print(f"reads without an index: {bad}\n    {' '.join(sql.split())[:500]}")
        print(
            f"{len(own)} different queries, "
            + ("not every one uses an index" if scanning else "each uses an index")
        )
    finally:
        await database.close()
    return 1 if slow or scanning else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.queries", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--database", required=True, metavar="URL", help="sqlite:///<path> or postgresql://..."
    )
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-ms", type=float, default=100.0)
    parser.add_argument("--plans", action="store_true", help="show the plan of each query")
    return asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
