from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.database import Statement
from recorders.stores.migrations import Migration
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
