from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorders.stores.base import RecordsRefused, SchemaTooNew, StoreError
from recorders.stores.database import Statement
from recorders.stores.migrations import Migration, known_migrations
from recorders.stores.sqlite import SQLiteDatabase, SQLiteStore
from tests.recorders import samples

INSERT = "INSERT INTO things (id) VALUES (?)"
THINGS = Migration(1, "things", ("CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY)",))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SQLiteDatabase]:
    database = SQLiteDatabase(tmp_path / "things.db", migrations=[THINGS], busy_timeout_s=0.0)
    await database.open()
    yield database
    await database.close()


async def ids(database: SQLiteDatabase) -> list[str]:
    return [row["id"] for row in await database.fetch("SELECT id FROM things ORDER BY id")]


async def test_a_store_keeps_records_beyond_its_own_life(tmp_path: Path) -> None:
    """What is written is in the file."""
    store = SQLiteStore(tmp_path / "records.db")
    await store.open()
    await store.write(samples.whole())
    await store.close()

    with sqlite3.connect(tmp_path / "records.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()
    connection.close()
    assert count == 1


async def test_opening_makes_the_file_for_its_owner_alone_and_the_folders_above(tmp_path: Path) -> None:
    """It holds prompts."""
    path = tmp_path / "a" / "b" / "records.db"
    database = SQLiteDatabase(path)
    await database.open()

    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await database.close()


async def test_migrations_run_once_however_often_the_database_is_opened(tmp_path: Path) -> None:
    """Opening again changes nothing."""
    for _ in range(2):
        database = SQLiteDatabase(tmp_path / "records.db")
        await database.open()
        await database.open()
        versions = await database.fetch("SELECT version, name FROM schema_migrations ORDER BY version")
        await database.close()

        assert [(row["version"], row["name"]) for row in versions] == [
            (migration.version, migration.name) for migration in known_migrations()
        ]


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    """Not half of it, and not the ones before it."""
    broken = Migration(2, "broken", ("CREATE TABLE more (id TEXT)", "CREATE NONSENSE"))
    database = SQLiteDatabase(tmp_path / "x.db", migrations=[THINGS, broken])
    with pytest.raises(StoreError, match=r"x\.db: .*NONSENSE"):
        await database.open()
    assert await database.fetch("SELECT name FROM sqlite_master") == []
    await database.close()

    repaired = SQLiteDatabase(tmp_path / "x.db", migrations=[THINGS])
    await repaired.open()
    assert await ids(repaired) == []
    await repaired.close()


async def test_a_newer_schema_stops_the_program_and_stays_untouched(tmp_path: Path) -> None:
    """An old version after a roll-back says what is wrong."""
    later = Migration(99, "later", ("CREATE TABLE later (id TEXT)",))
    newer = SQLiteDatabase(tmp_path / "x.db", migrations=[*known_migrations(), later])
    await newer.open()
    await newer.close()

    older = SQLiteDatabase(tmp_path / "x.db")
    with pytest.raises(SchemaTooNew, match=r"x\.db has schema version 99"):
        await older.open()
    await older.close()


async def test_an_update_brings_an_old_schema_up_to_date(tmp_path: Path) -> None:
    """With the rows that were there."""
    more = Migration(2, "more", ("ALTER TABLE things ADD COLUMN size BIGINT",))
    old = SQLiteDatabase(tmp_path / "x.db", migrations=[THINGS])
    await old.open()
    await old.execute(INSERT, "a")
    await old.close()

    new = SQLiteDatabase(tmp_path / "x.db", migrations=[THINGS, more])
    await new.open()
    assert await new.fetch("SELECT id, size FROM things") == [{"id": "a", "size": None}]
    await new.close()


def test_several_processes_may_start_at_once(tmp_path: Path) -> None:
    """One migrates, the others wait for it and find it done."""
    program = (
        "import asyncio, sys\n"
        "from recorders.stores.sqlite import SQLiteDatabase\n"
        "async def main():\n"
        "    sys.stdin.readline()\n"
        "    database = SQLiteDatabase(sys.argv[1], busy_timeout_s=30)\n"
        "    await database.open()\n"
        "    print(len(await database.fetch('SELECT * FROM schema_migrations')))\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
    )
    path = str(tmp_path / "x.db")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, path],
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


async def test_a_transaction_is_all_or_nothing(database: SQLiteDatabase) -> None:
    """A batch with one bad record leaves none of it."""
    with pytest.raises(RecordsRefused, match=r"things\.db: .*things\.id"):
        await database.transaction([Statement(INSERT, ("a",)), Statement(INSERT, (None,))])

    assert await ids(database) == []
    await database.transaction([Statement(INSERT, ("b",))])
    assert await ids(database) == ["b"]


@pytest.mark.parametrize("value", ["\ud800", 2**64])
async def test_a_value_that_no_column_takes_is_refused_and_nothing_breaks(
    database: SQLiteDatabase, value: str | int
) -> None:
    """It isn't an outage, so trying again would be in vain."""
    with pytest.raises(RecordsRefused):
        await database.transaction([Statement(INSERT, (value,))])

    assert await ids(database) == []


async def test_executing_tells_how_many_rows_changed(database: SQLiteDatabase) -> None:
    """A conflict that is ignored counts as none."""
    once_more = f"{INSERT} ON CONFLICT DO NOTHING"

    assert await database.execute(once_more, "a") == 1
    assert await database.execute(once_more, "a") == 0


async def test_parameters_are_values_and_never_sql(database: SQLiteDatabase) -> None:
    """Whatever a token or a name holds."""
    evil = "x'); DROP TABLE things; --"
    await database.execute(INSERT, evil)

    assert await database.fetch("SELECT id FROM things WHERE id = ?", evil) == [{"id": evil}]


async def test_a_reader_does_not_wait_for_a_writer(database: SQLiteDatabase, tmp_path: Path) -> None:
    """A key is looked up while another process holds the write lock; writing says that it can't, and then can."""
    await database.execute(INSERT, "a")
    other = sqlite3.connect(tmp_path / "things.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert await ids(database) == ["a"]
    with pytest.raises(StoreError, match=r"things\.db: database is locked") as caught:
        await database.execute(INSERT, "b")
    assert not isinstance(caught.value, RecordsRefused)
    other.close()
    await database.execute(INSERT, "b")

    assert await ids(database) == ["a", "b"]


async def test_a_reader_does_not_wait_for_a_batch_of_its_own_process(database: SQLiteDatabase) -> None:
    """While the writing thread is busy, the reading one answers."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> list[Statement]:
        begun.set()
        go_on.wait(10)
        return [Statement(INSERT, ("a",))]

    async def write() -> None:
        await database.transaction(statement for batch in (slowly,) for statement in batch())

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await asyncio.to_thread(begun.wait, 10)
        assert await ids(database) == []
        go_on.set()

    assert await ids(database) == ["a"]


@pytest.mark.parametrize("content", [b"this is no database, it only looks like a file" * 100])
async def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    """And it isn't overwritten."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    database = SQLiteDatabase(path)

    with pytest.raises(StoreError, match=r"notes\.txt: file is not a database"):
        await database.open()

    await database.close()
    assert path.read_bytes() == content


async def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """An operator sees which path, not only that one is wrong."""
    (tmp_path / "file").touch()
    database = SQLiteDatabase(tmp_path / "file" / "x.db")

    with pytest.raises(StoreError, match=r"file/x\.db"):
        await database.open()
    await database.close()


async def test_a_database_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    """An outage at the start isn't for ever."""
    (tmp_path / "data").touch()
    database = SQLiteDatabase(tmp_path / "data" / "x.db", migrations=[THINGS])
    with pytest.raises(StoreError):
        await database.open()
    (tmp_path / "data").unlink()

    await database.open()
    assert await ids(database) == []
    await database.close()


async def test_a_full_disk_is_an_error_that_names_the_path_and_goes_away(database: SQLiteDatabase) -> None:
    """Nothing of the batch is kept; when there is room again, it can be."""
    await database.fetch("SELECT 1")
    (pages,) = [row["page_count"] for row in await database.fetch("PRAGMA page_count")]
    await database.execute(f"PRAGMA max_page_count = {pages}")
    big = [Statement(INSERT, (f"{n}" * 5000,)) for n in range(10)]

    with pytest.raises(StoreError, match=r"things\.db: database or disk is full") as caught:
        await database.transaction(big)
    assert not isinstance(caught.value, RecordsRefused)
    assert await ids(database) == []
    await database.execute("PRAGMA max_page_count = 100000")
    await database.transaction(big)

    assert len(await ids(database)) == 10


async def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    """Whoever shares a database may each close it."""
    database = SQLiteDatabase(tmp_path / "x.db")
    await database.close()
    await database.close()


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """As any other trouble of a store, so that who uses it handles it alike."""
    database = SQLiteDatabase(tmp_path / "x.db")
    await database.close()

    with pytest.raises(StoreError, match=r"x\.db: closed"):
        await database.fetch("SELECT 1")


async def test_a_closed_database_can_be_opened_again(database: SQLiteDatabase) -> None:
    """An application may be started twice in one process."""
    await database.execute(INSERT, "a")
    await database.close()

    await database.open()

    assert await ids(database) == ["a"]


async def test_a_commit_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """What is checked only at the end is refused as a whole, and the next transaction begins afresh."""
    later = "CREATE TABLE parts (thing TEXT REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)"
    database = SQLiteDatabase(
        tmp_path / "x.db", migrations=[THINGS, Migration(2, "parts", (later,))], busy_timeout_s=0.0
    )
    await database.open()
    part = Statement("INSERT INTO parts (thing) VALUES (?)", ("a",))

    with pytest.raises(RecordsRefused, match=r"x\.db: FOREIGN KEY"):
        await database.transaction([part])
    assert await database.fetch("SELECT * FROM parts") == []
    await database.transaction([part, Statement(INSERT, ("a",))])

    assert await database.fetch("SELECT * FROM parts") == [{"thing": "a"}]
    await database.close()


async def test_waiting_for_another_process_to_set_up_the_file_has_an_end(tmp_path: Path) -> None:
    """And the error names the file."""
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    database = SQLiteDatabase(tmp_path / "x.db", migrations=[THINGS], busy_timeout_s=0.03)

    with pytest.raises(StoreError, match=r"x\.db: database is locked"):
        await database.open()
    other.close()

    await database.open()
    await database.close()
