"""How many records a second the drain stores, in SQLite and in PostgreSQL.

    python -m tests.bench.drain --records 100000

Each interception is a turn of an agent: a start that answers the call of the turn before, a prompt, a usage, two
tool calls, a thought, an end. Twenty agents take turns, so threads are linked all the time. The records wait in a
journal in memory; measured is from the first batch to the last commit.

Everything, the database's own processes too, runs on one core (`--cores`). PostgreSQL is the wheel's, with its
settings as they come, fsync included; or the server that TEST_POSTGRES_URL names, wherever that runs.

The second figure is what that core could do without waiting for the disk or for others who use the machine: records
by seconds of CPU time, of this process and of all processes of the wheel's server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import uuid_utils
import uvloop
from psycopg.conninfo import conninfo_to_dict

from recorders.drain import Drain
from recorders.journal import MemoryJournal
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)
from recorders.stores.urls import database_for, store_on
from tests.postgres import new_database, running_server

AGENTS = 20
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
PROMPT = "Please find out why the build fails on a clean checkout, and mend it. " * 4
INPUT = '{"command": "git status --short && make test 2>&1 | tail -40", "timeout": 120000}'
THOUGHT = "The test fails because the fixture is created after the server has been started. " * 4


def records() -> Iterator[Record]:
    """Turns of agents, for ever."""
    answered: dict[int, str] = {}
    turn = 0
    while True:
        agent = turn % AGENTS
        at = BEGIN + timedelta(milliseconds=turn)
        yield from _turn(_id(), f"user-{agent}", answered.get(agent), at)
        answered[agent] = f"toolu_{turn}_1"
        turn += 1


def _turn(own_id: str, user: str, answers: str | None, at: datetime) -> Iterator[Record]:
    call = f"toolu_{round((at - BEGIN) / timedelta(milliseconds=1))}"
    yield InterceptionStart(
        interception_id=own_id,
        initiator_id=user,
        api_key_id="k123456789",
        provider="anthropic",
        provider_name="anthropic-corp",
        model="claude-sonnet-4-5",
        client="Claude Code",
        client_session_id=None,
        started_at=at,
        metadata={"username": user, "request_user_agent": "claude-cli/2.0.14 (external, cli)"},
        correlating_tool_call_id=answers,
        credential_kind="centralized",
        credential_hint="sk-a...0001",
    )
    common: dict[str, Any] = {"interception_id": own_id, "created_at": at, "metadata": {}}
    yield PromptUsage(id=_id(), msg_id=f"msg_{call}", prompt=PROMPT, **common)
    yield TokenUsage(
        id=_id(),
        msg_id=f"msg_{call}",
        input_tokens=12,
        output_tokens=345,
        cache_read_input_tokens=67_890,
        cache_write_input_tokens=1_234,
        **common,
    )
    for number in range(2):
        yield ToolUsage(
            id=_id(),
            msg_id=f"msg_{call}",
            tool_call_id=f"{call}_{number}",
            tool="Bash",
            input=INPUT,
            server_url=None,
            injected=False,
            invocation_error=None,
            **common,
        )
    yield ModelThought(id=_id(), content=THOUGHT, **common)
    yield InterceptionEnd(
        interception_id=own_id,
        ended_at=at + timedelta(seconds=4),
        outcome="completed",
        status=200,
        credential_hint="sk-a...0001",
    )


class Rates(NamedTuple):
    by_the_clock: float
    by_cpu_time: float


async def measure(url: str, number: int, batch_records: int) -> Rates:
    """Records a second into the empty database of `url`."""
    journal = MemoryJournal(max_bytes=1 << 40)
    for record in islice(records(), number):
        journal.append(record)
    database = database_for(url)
    drain = Drain(journal, store_on(database), linger_s=0.0, batch_records=batch_records)
    await database.open()
    try:
        begin, cpu_begin = time.perf_counter(), cpu_seconds(url)
        drain.start()
        if not await drain.flush(3600):
            raise RuntimeError("the drain did not get through")
        seconds, cpu = time.perf_counter() - begin, cpu_seconds(url) - cpu_begin
        if drain.stats.failures or drain.stats.stored != number:
            raise RuntimeError(f"not all was stored at once: {drain.stats}")
        await _check(url, number)
        return Rates(number / seconds, number / cpu)
    finally:
        await drain.stop(0)
        await database.close()


def cpu_seconds(url: str) -> float:
    """Spent so far by this process, and by the server when its processes can be seen from here."""
    seconds = time.process_time()
    folder = Path(str(conninfo_to_dict(url).get("host", ""))) if url.startswith("postgres") else Path()
    try:
        postmaster = (folder / "data" / "postmaster.pid").read_text().split()[0]
    except OSError:
        return seconds
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if path.parent.name == postmaster:
                ticks += sum(map(int, fields[11:15]))  # its own, and those of its children that have ended
            elif fields[1] == postmaster:
                ticks += sum(map(int, fields[11:13]))
    return seconds + ticks / os.sysconf("SC_CLK_TCK")


async def _check(url: str, number: int) -> None:
    """Each turn but the first of each agent has found its thread."""
    database = database_for(url)
    await database.open()
    (row,) = await database.fetch(
        "SELECT count(*) AS n FROM aibridge_interceptions WHERE thread_root_id <> ''"
    )
    await database.close()
    if row["n"] != -(-number // 7) - AGENTS:
        raise RuntimeError(f"{row['n']} of {-(-number // 7)} interceptions have found their thread")


def _id() -> str:
    return str(uuid_utils.uuid7())


@contextmanager
def _databases() -> Iterator[dict[str, str]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server() as server,
        new_database(server) as postgres,
    ):
        yield {"SQLite": f"sqlite:///{folder}/records.db", "PostgreSQL": postgres}


def main() -> None:
    parser = argparse.ArgumentParser(description="Records a second that the drain stores.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=256, help="records a batch")
    parser.add_argument("--cores", type=int, default=1)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    with _databases() as urls:
        for name, url in urls.items():
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rates = runner.run(measure(url, args.records, args.batch))
            print(f"{name:<12}{rates.by_the_clock:>10,.0f} records/s{rates.by_cpu_time:>10,.0f} by CPU time")


if __name__ == "__main__":
    main()
