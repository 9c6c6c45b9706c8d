"""What holds processes on one SQLite file together, and what happens when it is taken away."""

from __future__ import annotations

import errno
import gc
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorders.stores.base import StoreError
from recorders.stores.database import Statement
from recorders.stores.migrations import Migration
from recorders.stores.sqlite import SQLiteDatabase
from tests.recorders.stores.other_process import lock_holders, run_sql, slow_writer, sql_shell

INSERT = "INSERT INTO things (id) VALUES (?)"
SELECT = "SELECT id FROM things ORDER BY id"
THINGS = Migration(1, "things", ("CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY)",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SQLiteDatabase]:
    """With both connections open, and a row that stands in the log."""
    database = SQLiteDatabase(path, migrations=[THINGS], busy_timeout_s=1.0)
    await database.open()
    await database.execute(INSERT, "first")
    assert await ids(database) == ["first"]
    yield database
    await database.close()


async def ids(database: SQLiteDatabase) -> list[str]:
    return [row["id"] for row in await database.fetch(SELECT)]


def seen_by_others(path: Path) -> list[str]:
    """And the file is whole."""
    rows, [[verdict]] = run_sql(path, SELECT, "PRAGMA integrity_check")
    assert verdict == "ok"
    return [row[0] for row in rows]


def move(path: Path, to: Path) -> None:
    path.rename(to)


def is_there(path: Path) -> bool:
    return path.exists()


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def remove_log(path: Path) -> None:
    """As a program does that takes itself for the last one."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


# -- nobody else may take himself for the last one ------------------------------------------------------------------


async def test_with_both_connections_open_the_locks_are_held(database: SQLiteDatabase, path: Path) -> None:
    """A process that opens and closes the file itself would have dropped them all."""
    assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}


async def test_opening_again_what_is_there_drops_no_locks(database: SQLiteDatabase, path: Path) -> None:
    """Another database on the same file comes and goes in this process."""
    second = SQLiteDatabase(path, migrations=[THINGS])
    await second.open()
    assert await ids(second) == ["first"]
    await second.close()

    assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}


async def test_a_program_that_comes_and_goes_leaves_the_log_in_its_place(
    database: SQLiteDatabase, path: Path
) -> None:
    """What is written after it is found by the next one, also if this process dies now."""
    log = log_of(path).stat().st_ino

    assert seen_by_others(path) == ["first"]
    await database.execute(INSERT, "second")

    assert log_of(path).stat().st_ino == log
    assert seen_by_others(path) == ["first", "second"]
    assert database.generation == 0


async def test_a_link_to_a_file_that_is_not_there_yet_makes_it_for_its_owner_alone(tmp_path: Path) -> None:
    """It is the file that must be private, not the link."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "volume" / "things.db")
    database = SQLiteDatabase(tmp_path / "link.db", migrations=[THINGS])
    await database.open()

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "volume").iterdir()}
    assert modes == dict.fromkeys(
        ["things.db", "things.db-wal", "things.db-shm", "things.db-log.lock"], 0o600
    )
    await database.check()
    assert database.trouble() is None
    await database.close()


# -- the log is taken away all the same -----------------------------------------------------------------------------


async def test_who_writes_notices_and_writes_where_others_find_it(
    database: SQLiteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once as an error, with the path; then it goes on."""
    seen_by_others(path)
    remove_log(path)

    await database.execute(INSERT, "second")

    assert seen_by_others(path) == ["first", "second"]
    assert database.generation == 1
    assert database.trouble() is None
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"{path}: its write-ahead log was removed or replaced while it was open"),
        ("WARNING", f"{path}: works again"),
    ]


async def test_who_reads_notices_and_sees_what_others_have_written_since(
    database: SQLiteDatabase, path: Path
) -> None:
    """A user that a command has suspended is suspended."""
    await database.sync()
    remove_log(path)
    run_sql(path, "INSERT INTO things VALUES ('theirs')")

    assert await ids(database) == ["first", "theirs"]
    assert database.generation == 1


async def test_who_is_idle_notices_when_he_looks(database: SQLiteDatabase, path: Path) -> None:
    """Then the locks are held again."""
    remove_log(path)

    await database.check()

    assert database.generation == 1
    assert database.trouble() is None
    assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}


async def test_what_stood_in_the_lost_log_alone_does_not_overwrite_what_others_wrote(path: Path) -> None:
    """It is gone; written into the database it would tear pages that others have changed since."""
    database = SQLiteDatabase(path, migrations=[THINGS])
    await database.open()
    await database.execute(INSERT, "a")
    await database.sync()
    for n in range(50):
        await database.execute(INSERT, f"{n:02}" * 2000)
    remove_log(path)
    run_sql(path, *(f"INSERT INTO things VALUES ('b{n:02}')" for n in range(50)))

    await database.close()

    assert seen_by_others(path) == ["a", *(f"b{n:02}" for n in range(50))]


async def test_closing_without_having_noticed_spares_the_log_of_others(
    database: SQLiteDatabase, path: Path
) -> None:
    """Their log has the name now."""
    await database.sync()
    remove_log(path)
    other = SQLiteDatabase(path, migrations=[THINGS])
    try:
        run_sql(path, "INSERT INTO things VALUES ('theirs')")
        await database.close()
    finally:
        await other.close()

    assert seen_by_others(path) == ["first", "theirs"]


async def test_a_transaction_that_went_into_a_lost_log_is_an_error(
    database: SQLiteDatabase, path: Path
) -> None:
    """Whoever asked knows that it may not be there, and what is asked again is stored."""
    await database.sync()

    def statements() -> Iterator[Statement]:
        yield Statement(INSERT, ("second",))
        remove_log(path)

    with pytest.raises(StoreError, match="removed or replaced while it was open and written to"):
        await database.transaction(statements())
    await database.transaction([Statement(f"{INSERT} ON CONFLICT DO NOTHING", ("second",))])

    assert seen_by_others(path) == ["first", "second"]


async def test_two_databases_on_one_file_in_one_process_both_find_back(
    database: SQLiteDatabase, path: Path
) -> None:
    """SQLite keeps one index for both, so neither has a new one before both have let go of the old one."""
    second = SQLiteDatabase(path, migrations=[THINGS])
    await second.open()
    await database.sync()
    remove_log(path)

    with pytest.raises(StoreError):
        await database.execute(INSERT, "second")
    assert database.trouble() == "the database's write-ahead log was removed or replaced"
    await second.execute(INSERT, "third")
    await database.execute(INSERT, "second")
    await database.check()

    assert database.trouble() is None
    assert seen_by_others(path) == ["first", "second", "third"]
    await second.close()


async def test_what_stood_in_the_lost_log_is_kept_as_long_as_nobody_has_begun_another(
    database: SQLiteDatabase, path: Path
) -> None:
    """A key that was made last week, and never moved since, isn't gone because somebody tidied up."""
    for n in range(50):
        await database.execute(INSERT, f"{n:02}")
    remove_log(path)

    await database.check()

    assert seen_by_others(path) == [*(f"{n:02}" for n in range(50)), "first"]


async def test_without_its_log_an_index_is_not_used_again_whoever_has_it_open(
    database: SQLiteDatabase, path: Path
) -> None:
    """It would find in a new log what stood in the old one."""
    with sql_shell(path) as shell:
        assert json.loads(shell.tell(SELECT)) == [["first"]]
        log_of(path).unlink()

        await database.check()
        await database.execute(INSERT, "second")

        assert await database.sync()
        assert await ids(database) == ["first", "second"]
    assert seen_by_others(path) == ["first", "second"]


async def test_a_lost_log_that_others_still_read_is_not_given_up(
    database: SQLiteDatabase, path: Path
) -> None:
    """A part of it may stand in the database already, which is whole only with the rest."""
    with sql_shell(path) as shell:
        for line in ("BEGIN", SELECT):
            shell.tell(line)
        await database.execute(INSERT, "second")
        remove_log(path)

        with pytest.raises(StoreError, match="others still use the log that was removed"):
            await database.check()
        assert database.trouble() == "the database's write-ahead log was removed or replaced"
        shell.tell("COMMIT")
        await database.check()

        assert database.trouble() is None
    assert seen_by_others(path) == ["first", "second"]


async def test_nobody_changes_over_while_another_gateway_is_in_the_middle_of_writing(
    database: SQLiteDatabase, path: Path
) -> None:
    """SQLite would write that one's log into the database afterwards, over what stands in the new one."""
    with slow_writer(path) as other:
        assert other.hear() == "begun"
        remove_log(path)

        with pytest.raises(StoreError, match=r"another process holds .*things\.db-log\.lock"):
            await database.execute(INSERT, "second")
        assert database.trouble() == "the database's write-ahead log was removed or replaced"
        assert "removed or replaced while it was open and written to" in other.tell("go on")
        await database.execute(INSERT, "second")

        assert "second" in await ids(database)
    assert "second" in seen_by_others(path)


async def test_nobody_begins_a_log_while_a_gateway_is_in_the_middle_of_writing_another(path: Path) -> None:
    """Whoever opens the database for the first time waits for it as well."""
    first = SQLiteDatabase(path, migrations=[THINGS], busy_timeout_s=0.1)
    await first.open()
    await first.close()
    with slow_writer(path) as other:
        assert other.hear() == "begun"
        remove_log(path)

        with pytest.raises(StoreError, match=r"another process holds .*things\.db-log\.lock"):
            await first.open()
        assert not is_there(log_of(path))
        assert "removed or replaced while it was open and written to" in other.tell("go on")
    await first.open()

    assert len(await ids(first)) == 3000
    await first.close()
    assert len(seen_by_others(path)) == 3000


async def test_who_opens_after_a_log_was_lost_waits_until_the_others_have_begun_another(
    database: SQLiteDatabase, path: Path
) -> None:
    """Two begun apart would be two truths; the message says for whom it waits."""
    second = SQLiteDatabase(path, migrations=[THINGS], busy_timeout_s=0.1)
    remove_log(path)

    with pytest.raises(StoreError, match=rf"log was removed while others had it open.*process {os.getpid()}"):
        await second.open()
    await database.check()
    await second.open()

    assert await ids(second) == ["first"]
    await second.close()


async def test_a_lost_log_is_not_saved_over_what_a_program_wrote_that_is_gone_with_its_own(
    database: SQLiteDatabase, path: Path
) -> None:
    """There is no log then either, but the database is younger than the loss."""
    await database.sync()
    await database.execute(INSERT, "second")
    remove_log(path)
    run_sql(path, "INSERT INTO things VALUES ('theirs')", "PRAGMA wal_checkpoint(TRUNCATE)")
    remove_log(path)

    await database.check()

    assert seen_by_others(path) == ["first", "theirs"]


@pytest.mark.parametrize("suffixes", [("-wal", "-shm"), ("-wal",)])
async def test_a_log_that_was_moved_away_is_lost_for_all_in_the_process(
    database: SQLiteDatabase, path: Path, suffixes: tuple[str, ...]
) -> None:
    """It has a name, only not the right one."""
    second = SQLiteDatabase(path, migrations=[THINGS], busy_timeout_s=1.0)
    await second.open()
    assert await ids(second) == ["first"]
    for suffix in suffixes:
        move(path.with_name(path.name + suffix), path.with_name(f"parked{suffix}"))

    with pytest.raises(StoreError):
        await database.execute(INSERT, "second")
    await second.execute(INSERT, "third")
    await database.execute(INSERT, "second")

    assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}
    assert await ids(database) == ["first", "second", "third"]
    await second.close()
    assert seen_by_others(path) == ["first", "second", "third"]


async def test_closing_ends_also_where_the_lost_log_cannot_be_spared(
    database: SQLiteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is left for it: then the connection is left alone, and others' log too."""
    await database.sync()
    await database.execute(INSERT, "second")
    remove_log(path)
    run_sql(path, "INSERT INTO things VALUES ('theirs')")

    def none_left(*arguments: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("recorders.stores.sqlite_files.os.open", none_left)
        await database.close()
    gc.collect()

    assert seen_by_others(path) == ["first", "theirs"]


def test_what_could_not_be_closed_stays_so_to_the_end_of_the_process(path: Path) -> None:
    """Python frees what is left of a process, and SQLite closes what is freed."""
    program = f"""
import asyncio, os
from recorders.stores import sqlite_files
from recorders.stores.migrations import Migration
from recorders.stores.sqlite import SQLiteDatabase
from tests.recorders.stores.other_process import run_sql

def none_left(*arguments):
    raise OSError(24, "Too many open files")

async def main():
    path = sqlite_files.Path({str(path)!r})
    database = SQLiteDatabase(path, migrations=[Migration(1, "things", ({THINGS.statements[0]!r},))])
    await database.open()
    for n in range(50):
        await database.execute({INSERT!r}, f"{{n:02}}" * 1000)
    for suffix in ("-wal", "-shm"):
        os.unlink(f"{{path}}{{suffix}}")
    run_sql(path, *(f"INSERT INTO things VALUES ('b{{n:02}}')" for n in range(50)), "PRAGMA wal_checkpoint(TRUNCATE)")
    opened, os.open = os.open, none_left
    await database.close()
    os.open = opened

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[3])

    assert seen_by_others(path) == [f"b{n:02}" for n in range(50)]


async def test_a_file_is_the_same_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is meant from where it was opened, also for the connection that is opened later."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    database = SQLiteDatabase("things.db", migrations=[THINGS])
    await database.open()
    monkeypatch.chdir("elsewhere")

    await database.execute(INSERT, "first")
    assert await ids(database) == ["first"]
    await database.check()

    assert list((tmp_path / "elsewhere").iterdir()) == []
    await database.close()


# -- the database itself is taken away ------------------------------------------------------------------------------


async def test_a_database_that_was_moved_takes_nothing_until_it_is_back(
    database: SQLiteDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No other is made in its place; one line says so, and what to do."""
    parked = path.with_name("parked.db")
    move(path, parked)

    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"the file was removed or replaced while it was open\..*restart"
        ):
            await database.execute(INSERT, "second")
        with pytest.raises(StoreError):
            await ids(database)
    assert not is_there(path)
    assert database.trouble() == "the database's file was removed or replaced"
    move(parked, path)
    await database.check()
    await database.execute(INSERT, "second")

    assert database.trouble() is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert seen_by_others(path) == ["first", "second"]


async def test_a_database_that_was_put_in_its_place_stays_as_it_is(
    database: SQLiteDatabase, path: Path
) -> None:
    """It may be a backup that is still being copied; closing touches it no more than working does."""
    run_sql(path.with_name("backup.db"), *THINGS.statements, "INSERT INTO things VALUES ('restored')")
    path.with_name("backup.db").replace(path)
    remove_log(path)

    with pytest.raises(StoreError, match="restart the gateway"):
        await database.execute(INSERT, "second")
    await database.close()

    assert seen_by_others(path) == ["restored"]


async def test_a_database_that_was_moved_takes_along_what_was_in_its_log(
    database: SQLiteDatabase, path: Path
) -> None:
    """What is put in its place doesn't find it there, also if this process dies now; what was moved is whole."""
    for n in range(50):
        await database.execute(INSERT, f"{n:02}" * 1000)
    run_sql(path.with_name("backup.db"), *THINGS.statements, "INSERT INTO things VALUES ('restored')")
    move(path, path.with_name("parked.db"))

    with pytest.raises(StoreError):
        await database.check()
    move(path.with_name("backup.db"), path)
    assert log_of(path).stat().st_size == 0
    assert seen_by_others(path) == ["restored"]
    move(path, path.with_name("backup.db"))
    move(path.with_name("parked.db"), path)
    await database.check()

    assert await ids(database) == [*(f"{n:02}" * 1000 for n in range(50)), "first"]
    assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}


async def test_nobody_makes_a_database_where_only_its_log_is(database: SQLiteDatabase, path: Path) -> None:
    """A command, a restart or a new worker while the file is away; the message says what to do."""
    move(path, path.with_name("parked.db"))
    other = SQLiteDatabase(path, migrations=[THINGS])

    with pytest.raises(
        StoreError, match=r"isn't there, but its write-ahead log is: put the file back, or remove"
    ):
        await other.open()
    await other.close()

    assert not is_there(path)
    move(path.with_name("parked.db"), path)


async def test_a_folder_that_is_replaced_is_a_database_that_was_moved(tmp_path: Path) -> None:
    """Whatever the system calls it."""
    path = tmp_path / "data" / "things.db"
    database = SQLiteDatabase(path, migrations=[THINGS])
    await database.open()
    move(path.parent, tmp_path / "parked")
    path.parent.touch()

    with pytest.raises(StoreError, match="removed or replaced"):
        await database.check()
    assert database.trouble() == "the database's file was removed or replaced"
    await database.close()


async def test_a_file_that_was_never_opened_is_in_its_place(path: Path) -> None:
    """Nothing is held before the first work, nor after the end."""
    database = SQLiteDatabase(path, migrations=[THINGS])
    await database.check()
    await database.close()

    assert database.trouble() is None
    assert not is_there(path)
