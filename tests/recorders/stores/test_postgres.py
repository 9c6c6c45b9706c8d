"""What is PostgreSQL's own; what it shares with SQLite stands in `test_database`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import psycopg
import pytest

from recorders.drain import Backoff, Drain
from recorders.journal import MemoryJournal
from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.lineage import POSTGRES_LIST, lineage_of
from recorders.stores.numbered import numbered
from recorders.stores.postgres import LOCKS, PostgresDatabase
from recorders.stores.postgres_store import TAKE_TURNS, PostgresStore
from recorders.stores.statements import table_by_table
from recorders.stores.tables import rows_of
from tests.recorders import samples
from tests.recorders.stores.kept import Kept
from tests.recorders.stores.line import Line, line_to

SHORT_S = 0.3
DEADLINE_S = 30.0


@pytest.fixture
async def line(postgres_url: str) -> AsyncIterator[Line]:
    async with line_to(postgres_url) as line:
        yield line


@pytest.fixture
async def database(line: Line) -> AsyncIterator[PostgresDatabase]:
    """Open, at the other end of the line, and not patient."""
    database = impatient(line.url)
    await database.open()
    yield database
    await line.mend()
    await database.close()


def impatient(url: str) -> PostgresDatabase:
    return PostgresDatabase(
        url, connect_timeout_s=SHORT_S, statement_timeout_s=SHORT_S, grace_s=SHORT_S, max_connections=4
    )


# -- at the start -----------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_is_one_sentence_without_the_password(line: Line) -> None:
    """Host, port and reason are all an operator needs; and when it is there, opening works."""
    await line.cut()
    database = PostgresDatabase(line.url.replace("postgres@", "postgres:hunter2@"), connect_timeout_s=SHORT_S)

    with pytest.raises(StoreError, match=r"^PostgreSQL at 127\.0\.0\.1:\d+: .*refused") as caught:
        await database.open()

    assert "hunter2" not in str(caught.value)
    await line.mend()
    await database.open()
    await database.close()


async def test_a_server_that_never_answers_is_given_up(line: Line) -> None:
    """It takes the connection and nothing else."""
    line.hold()
    database = PostgresDatabase(line.url, connect_timeout_s=SHORT_S)

    with pytest.raises(StoreError, match="timeout"):
        await database.open()


async def test_what_is_no_server_is_an_error_of_the_store() -> None:
    """A wrong port, for example."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StoreError, match=rf"PostgreSQL at 127\.0\.0\.1:{port}"):
            await PostgresDatabase(f"postgresql://x@127.0.0.1:{port}/x").open()


async def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    """As the server says it."""
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        await PostgresDatabase(urlsplit(postgres_url)._replace(path="/nowhere").geturl()).open()


def test_what_the_url_says_wins_over_our_defaults(postgres_url: str) -> None:
    """An operator knows the network."""
    given = f"{postgres_url}{'&' if '?' in postgres_url else '?'}application_name=theirs"

    async def who() -> str:
        database = PostgresDatabase(given, migrations=[])
        await database.open()
        (row,) = await database.fetch("SELECT current_setting('application_name') AS name")
        await database.close()
        return str(row["name"])

    assert asyncio.run(who()) == "theirs"


# -- trouble ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_went_away_is_an_error_until_it_is_back(
    line: Line, database: PostgresDatabase
) -> None:
    """Each call says so within its time, and why; the first call after the outage works."""
    await line.cut()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"PostgreSQL at 127\.0\.0\.1.*refused") as caught:
            await database.fetch("SELECT 1")
        assert not isinstance(caught.value, RecordsRefused)

    await line.mend()

    assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_connections_that_broke_in_the_pool_are_no_callers_error(
    database: PostgresDatabase, postgres_url: str
) -> None:
    """After a restart of the server nobody pays for what lay in the pool."""
    await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(4)))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    for _ in range(4):
        assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize("wait", ["in the middle", "between calls"])
async def test_a_server_that_hangs_is_left(line: Line, database: PostgresDatabase, wait: str) -> None:
    """Whether it stops before a call or during one; and when it goes on, the next call works."""
    await database.fetch("SELECT 1")
    if wait == "in the middle":
        call = asyncio.create_task(database.fetch("SELECT pg_sleep(0.1)"))
        while not await running(database):
            pass
        line.hold()
    else:
        line.hold()
        call = asyncio.create_task(database.fetch("SELECT 1"))

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(StoreError):
            await call

    await line.mend()
    assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def running(database: PostgresDatabase) -> bool:
    rows = await database.fetch(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    )
    return bool(rows)


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(database: PostgresDatabase) -> None:
    """And it is no word against the records."""
    with pytest.raises(StoreError, match="statement timeout") as caught:
        await database.execute("SELECT pg_sleep(60)")

    assert not isinstance(caught.value, RecordsRefused)


async def test_a_cancelled_call_leaves_a_database_that_works(database: PostgresDatabase) -> None:
    """Whoever waits for an answer may stop to."""
    for _ in range(5):
        call = asyncio.create_task(database.fetch("SELECT pg_sleep(60)"))
        while not await running(database):
            pass
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_more_callers_than_connections_take_turns(database: PostgresDatabase) -> None:
    """The pool is bounded; the server has others to serve."""
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"

    answers = await asyncio.gather(*(database.fetch(query) for _ in range(50)))

    assert max(rows[0]["n"] for rows in answers) <= 4


async def test_the_drain_stores_everything_once_the_server_is_back(
    line: Line, database: PostgresDatabase
) -> None:
    """Refused, then hanging, then there: nothing is lost, nothing is doubled, nobody restarts anything."""
    journal = MemoryJournal()
    failed = asyncio.Event()

    async def pause(event: asyncio.Event, seconds: float) -> None:
        failed.set()
        await asyncio.sleep(0)

    drain = Drain(journal, PostgresStore(database), linger_s=0.0, backoff=Backoff(0.0, 0.0), pause=pause)
    for name, trouble in (("cut", line.cut), ("hold", hold(line))):
        await trouble()
        for number in range(10):
            for record in samples.whole(f"{name}-{number}"):
                journal.append(record)
        drain.start()
        failures = drain.stats.failures
        while drain.stats.failures == failures:
            failed.clear()
            await failed.wait()
        assert not drain.stats.refused
        await line.mend()
        assert await drain.flush(DEADLINE_S)
    await drain.stop(DEADLINE_S)

    assert drain.stats.stored == 120
    (row,) = await database.fetch(
        "SELECT count(*) AS n FROM aibridge_interceptions WHERE outcome IS NOT NULL"
    )
    assert row["n"] == 20


def hold(line: Line) -> Callable[[], Awaitable[None]]:
    async def hold() -> None:
        line.hold()

    return hold


def test_the_event_loop_that_we_serve_with_will_do(postgres_url: str) -> None:
    """A server that hangs, and one that is back, under uvloop."""
    uvloop = pytest.importorskip("uvloop")

    async def story() -> None:
        async with line_to(postgres_url) as line:
            database = impatient(line.url)
            await database.open()
            line.hold()
            with pytest.raises(StoreError):
                await database.fetch("SELECT 1")
            await line.mend()
            await PostgresStore(database).write(samples.whole())
            (row,) = await database.fetch("SELECT count(*) AS n FROM aibridge_interceptions")
            assert row["n"] == 1
            await database.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


# -- beside other replicas --------------------------------------------------------------------------------------------


async def test_a_thread_that_another_replica_is_just_linking_is_waited_for(postgres_url: str) -> None:
    """Else the root would be taken from a parent that is about to get another."""
    kept = Kept(postgres_url)
    await kept.store.open()
    await kept.write(
        samples.start("a"),
        samples.start("b", correlating_tool_call_id="call_a"),
        samples.tool("b", tool_call_id="call_b"),
    )
    theirs = rows_of([samples.tool("a", tool_call_id="call_a")])
    async with await psycopg.AsyncConnection.connect(
        postgres_url, cursor_factory=psycopg.AsyncRawCursor
    ) as other:
        await other.execute("SELECT pg_advisory_xact_lock($1)", (LOCKS + 2,))
        for sql, parameters in (*table_by_table(theirs), *lineage_of(theirs, POSTGRES_LIST)):
            await other.execute(numbered(sql), parameters)
        ours = asyncio.create_task(kept.write(samples.start("c", correlating_tool_call_id="call_b")))
        while not await kept.database.fetch(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        ):
            assert not ours.done()
        await other.commit()
    await ours

    assert await kept.threads() == {"a": (None, None, "a"), "b": ("a", "a", "a"), "c": ("b", "a", "a")}
    await kept.store.close()


async def test_a_lock_whose_holder_is_cut_off_is_free(line: Line, postgres_url: str) -> None:
    """A replica that dies leaves nothing behind; losing the line is an error of the store."""
    mine, theirs = impatient(line.url), PostgresDatabase(postgres_url)
    await mine.open()
    await theirs.open()
    async with contextlib.AsyncExitStack() as stack:
        assert await stack.enter_async_context(mine.lock("sweep"))
        await line.cut()
        while not await free(theirs):
            pass
        with pytest.raises(StoreError):
            await stack.aclose()
    await mine.close()
    await theirs.close()


async def test_who_is_cancelled_under_a_lock_stays_cancelled_when_the_line_is_gone(line: Line) -> None:
    """The end of the transaction fails as well; were that raised instead, the task would take it for a bad turn."""
    mine = impatient(line.url)
    await mine.open()
    held = asyncio.Event()

    async def sweep() -> None:
        async with mine.lock("sweep"):
            held.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(sweep())
    await held.wait()
    await line.cut()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await mine.close()


async def test_a_lock_outlives_the_limit_for_transactions_that_do_nothing(postgres_url: str) -> None:
    """Who holds it works elsewhere meanwhile; any other transaction that idles is ended by the server."""
    mine, theirs = impatient(postgres_url), PostgresDatabase(postgres_url)
    await mine.open()
    await theirs.open()

    async with mine.lock("sweep") as ours:
        assert ours
        await theirs.fetch(f"SELECT pg_sleep({3 * SHORT_S})")
        assert not await free(theirs)
    await mine.close()
    await theirs.close()


async def free(database: PostgresDatabase) -> bool:
    async with database.lock("sweep") as ours:
        return ours


# -- at any size ------------------------------------------------------------------------------------------------------


async def test_threads_are_linked_by_index_however_large_the_tables(postgres_url: str) -> None:
    """The plan under the store's own settings reads no table from end to end."""
    store = PostgresStore(PostgresDatabase(postgres_url))
    await store.open()
    rows = rows_of([samples.start("b", correlating_tool_call_id="call_1"), *samples.whole()])
    (lineage,) = lineage_of(rows, POSTGRES_LIST)
    async with await psycopg.AsyncConnection.connect(
        postgres_url, cursor_factory=psycopg.AsyncRawCursor
    ) as connection:
        await connection.execute(numbered(TAKE_TURNS.sql), TAKE_TURNS.parameters)
        cursor = await connection.execute(f"EXPLAIN {numbered(lineage.sql)}", lineage.parameters)
        plan = [str(row[0]) for row in await cursor.fetchall()]

    assert [line for line in plan if "Index Scan" in line]
    assert not [line for line in plan if "Seq Scan" in line or "Bitmap" in line or "Hash Join" in line]
    await store.close()
