"""What holds of every database behind the seam, and how times are kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from recorders.stores.base import RecordsRefused, SchemaTooNew, StoreError
from recorders.stores.database import Database, Statement, read_time, read_time_or_none, time_value
from recorders.stores.migrations import Migration, known_migrations
from tests.recorders.stores.databases import database_at

CET = timezone(timedelta(hours=1))
INSERT = "INSERT INTO things (id) VALUES (?)"
THINGS = Migration(1, "things", ("CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY)",))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = database_at(database_url, migrations=[THINGS])
    await database.open()
    yield database
    await database.close()


async def ids(database: Database) -> list[str]:
    return [row["id"] for row in await database.fetch("SELECT id FROM things ORDER BY id")]


# -- times ----------------------------------------------------------------------------------------------------------


def test_times_are_kept_in_utc_with_a_fixed_width_so_that_text_sorts_by_time() -> None:
    """A time without a fraction is as long as one with."""
    earlier = datetime(2026, 1, 2, 3, 4, 5, tzinfo=CET)
    later = datetime(2026, 1, 2, 2, 4, 5, 1, tzinfo=UTC)

    assert time_value(earlier) == "2026-01-02T02:04:05.000000Z"
    assert time_value(earlier) < time_value(later)


@pytest.mark.parametrize(
    "value", ["2026-01-02T02:04:05.000006Z", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=CET)]
)
def test_a_time_is_read_as_utc_from_text_and_from_what_a_driver_made(value: object) -> None:
    """Two databases, one answer."""
    time = read_time(value)

    assert time == datetime(2026, 1, 2, 2, 4, 5, 6, tzinfo=UTC)
    assert time.tzinfo is UTC
    assert read_time_or_none(value) == time


def test_no_time_is_none() -> None:
    """Of a key that never expires, for example."""
    assert read_time_or_none(None) is None


async def test_times_come_out_as_they_went_in(database_url: str) -> None:
    """As text of fixed width, in UTC, whatever the driver or the server prefers."""
    spans = Migration(1, "spans", ("CREATE TABLE spans (begin_at TIMESTAMPTZ, end_at TIMESTAMPTZ)",))
    database = database_at(database_url, migrations=[spans])
    await database.open()
    time = time_value(datetime(2026, 7, 2, 3, 4, 5, tzinfo=CET))
    await database.execute("INSERT INTO spans (begin_at) VALUES (?)", time)

    rows = await database.fetch("SELECT begin_at, end_at FROM spans WHERE begin_at <= ?", time)

    assert rows == [{"begin_at": "2026-07-02T02:04:05.000000Z", "end_at": None}]
    await database.close()


# -- the schema -----------------------------------------------------------------------------------------------------


async def test_migrations_run_once_however_often_the_database_is_opened(database_url: str) -> None:
    """Opening again changes nothing."""
    for _ in range(2):
        database = database_at(database_url)
        await database.open()
        await database.open()
        versions = await database.fetch("SELECT version, name FROM schema_migrations ORDER BY version")
        await database.close()

        assert [(row["version"], row["name"]) for row in versions] == [
            (migration.version, migration.name) for migration in known_migrations()
        ]


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(database_url: str) -> None:
    """Not half of it, and not the ones before it."""
    broken = Migration(2, "broken", ("CREATE TABLE more (id TEXT)", "CREATE NONSENSE"))
    database = database_at(database_url, migrations=[THINGS, broken])
    with pytest.raises(StoreError, match="NONSENSE"):
        await database.open()
    await database.close()

    repaired = database_at(database_url, migrations=[THINGS, Migration(2, "more", broken.statements[:1])])
    await repaired.open()
    assert await ids(repaired) == []
    await repaired.close()


async def test_a_newer_schema_stops_the_program_and_stays_untouched(database_url: str) -> None:
    """An old version after a roll-back says what is wrong."""
    later = Migration(99, "later", ("CREATE TABLE later (id TEXT)",))
    newer = database_at(database_url, migrations=[*known_migrations(), later])
    await newer.open()
    await newer.close()

    older = database_at(database_url)
    with pytest.raises(SchemaTooNew, match="has schema version 99"):
        await older.open()
    await older.close()


async def test_an_update_brings_an_old_schema_up_to_date(database_url: str) -> None:
    """With the rows that were there."""
    more = Migration(2, "more", ("ALTER TABLE things ADD COLUMN size BIGINT",))
    old = database_at(database_url, migrations=[THINGS])
    await old.open()
    await old.execute(INSERT, "a")
    await old.close()

    new = database_at(database_url, migrations=[THINGS, more])
    await new.open()
    assert await new.fetch("SELECT id, size FROM things") == [{"id": "a", "size": None}]
    await new.close()


def test_several_processes_may_start_at_once(database_url: str) -> None:
    """One migrates, the others wait for it and find it done."""
    program = (
        "import asyncio, sys\n"
        "from recorders.stores.urls import database_for\n"
        "async def main():\n"
        "    sys.stdin.readline()\n"
        "    database = database_for(sys.argv[1])\n"
        "    await database.open()\n"
        "    print(len(await database.fetch('SELECT * FROM schema_migrations')))\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert answers == [str(len(known_migrations()))] * 4


# -- statements -----------------------------------------------------------------------------------------------------


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    """A batch with one bad record leaves none of it."""
    with pytest.raises(RecordsRefused, match=r"NOT NULL.*things\.id|null value in column \"id\""):
        await database.transaction([Statement(INSERT, ("a",)), Statement(INSERT, (None,))])

    assert await ids(database) == []
    await database.transaction([Statement(INSERT, ("b",))])
    assert await ids(database) == ["b"]


@pytest.mark.parametrize("value", ["\ud800", 2**64])
async def test_a_value_that_no_column_takes_is_refused_and_nothing_breaks(
    database_url: str, value: str | int
) -> None:
    """It isn't an outage, so trying again would be in vain."""
    kind = "BIGINT" if isinstance(value, int) else "TEXT"
    database = database_at(database_url, migrations=[Migration(1, "x", (f"CREATE TABLE x (y {kind})",))])
    await database.open()

    with pytest.raises(RecordsRefused):
        await database.transaction([Statement("INSERT INTO x (y) VALUES (?)", (value,))])

    assert await database.fetch("SELECT * FROM x") == []
    await database.close()


async def test_a_refusal_does_not_repeat_what_was_refused(database: Database) -> None:
    """Values are prompts; errors are for logs."""
    with pytest.raises(RecordsRefused) as caught:
        await database.execute(
            "INSERT INTO things (id) VALUES (CASE WHEN ? = 'canary' THEN NULL END)", "canary"
        )

    assert "canary" not in str(caught.value)


async def test_executing_tells_how_many_rows_changed(database: Database) -> None:
    """A conflict that is ignored counts as none."""
    once_more = f"{INSERT} ON CONFLICT DO NOTHING"

    assert await database.execute(once_more, "a") == 1
    assert await database.execute(once_more, "a") == 0


async def test_parameters_are_values_and_never_sql(database: Database) -> None:
    """Whatever a token or a name holds."""
    evil = "x'); DROP TABLE things; -- $1 %s ?"
    await database.execute(INSERT, evil)

    assert await database.fetch("SELECT id FROM things WHERE id = ?", evil) == [{"id": evil}]


async def test_a_question_mark_in_a_string_is_no_parameter(database: Database) -> None:
    """Nor a percent sign or a dollar anything."""
    rows = await database.fetch("SELECT 'a?b' AS \"what?\", '%s $1' AS b WHERE 'x' = ?", "x")

    assert rows == [{"what?": "a?b", "b": "%s $1"}]


async def test_a_commit_that_fails_leaves_nothing_behind(database_url: str) -> None:
    """What is checked only at the end is refused as a whole, and the next transaction begins afresh."""
    later = "CREATE TABLE parts (thing TEXT REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)"
    database = database_at(database_url, migrations=[THINGS, Migration(2, "parts", (later,))])
    await database.open()
    part = Statement("INSERT INTO parts (thing) VALUES (?)", ("a",))

    with pytest.raises(RecordsRefused, match=r"FOREIGN KEY|foreign key"):
        await database.transaction([part])
    assert await database.fetch("SELECT * FROM parts") == []
    await database.transaction([part, Statement(INSERT, ("a",))])

    assert await database.fetch("SELECT * FROM parts") == [{"thing": "a"}]
    await database.close()


async def test_a_table_that_is_missing_is_no_word_against_the_records(database: Database) -> None:
    """Trying again helps once it is there; refused records would be gone."""
    with pytest.raises(StoreError, match="nowhere") as caught:
        await database.transaction([Statement("INSERT INTO nowhere (id) VALUES (?)", ("a",))])

    assert not isinstance(caught.value, RecordsRefused)


# -- closing --------------------------------------------------------------------------------------------------------


async def test_closing_twice_is_closing_once(database_url: str) -> None:
    """Whoever shares a database may each close it."""
    database = database_at(database_url)
    await database.close()
    await database.close()


async def test_a_closed_database_says_so(database_url: str) -> None:
    """As any other trouble of a store, so that who uses it handles it alike."""
    database = database_at(database_url)
    await database.close()

    with pytest.raises(StoreError, match=": closed"):
        await database.fetch("SELECT 1")


async def test_a_closed_database_can_be_opened_again(database: Database) -> None:
    """An application may be started twice in one process."""
    await database.execute(INSERT, "a")
    await database.close()

    await database.open()

    assert await ids(database) == ["a"]
