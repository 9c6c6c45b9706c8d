"""What a store has taken and lost, the drain gives it again, out of the journal on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorders.disk_journal import DiskJournal
from recorders.drain import Drain
from recorders.records import Record
from recorders.stores.base import ByteRange, Checkpoint, CheckpointedStore, RecordsRefused, StoreError
from recorders.stores.memory import MemoryStore
from recorders.stores.sqlite import SQLiteStore
from tests.recorders import samples
from tests.recorders.stores.other_process import run_sql

DEADLINE_S = 10.0


def nothing() -> None:
    """Happens in between."""


class LosingStore(MemoryStore):
    """Keeps checkpoints as a database does; `lose` takes it back to an earlier `snapshot`."""

    def __init__(self) -> None:
        super().__init__()
        self.checkpoints: dict[str, int] = {}
        self.generation = 0
        self.is_sure = True
        self.gone: list[str] = []
        self.before_write: Callable[[], None] = nothing
        self.before_sync: Callable[[], None] = nothing

    async def write_from(
        self, records: Sequence[Record], ranges: Mapping[str, ByteRange], *, gone: Collection[str] = ()
    ) -> None:
        self.before_write()
        await self.write(records)
        for file, (start, end) in ranges.items():
            if self.checkpoints.get(file, 0) >= start:
                self.checkpoints[file] = end
        for file in gone:
            self.checkpoints.pop(file, None)
        self.gone += gone

    async def checkpoint(self, files: Collection[str]) -> Checkpoint:
        return {file: self.checkpoints.get(file, 0) for file in files}

    async def sync(self) -> bool:
        self.before_sync()
        return self.is_sure

    def snapshot(self) -> tuple[Any, Any]:
        return dict(self._records), dict(self.checkpoints)

    def lose(self, snapshot: tuple[Any, Any], *, unnoticed: bool = False) -> None:
        self._records, self.checkpoints = map(dict, snapshot)
        self.generation += not unnoticed


class Rig:
    """A journal on disk, and the drain from it to `store`."""

    def __init__(self, journal: DiskJournal, store: CheckpointedStore) -> None:
        self.journal = journal
        self.drain = Drain(journal, store, linger_s=0.0)

    async def record(self, *names: str) -> None:
        """Until it is stored."""
        self.append(names)
        assert await self.drain.flush(DEADLINE_S)

    def append(self, names: Iterable[str]) -> None:
        for name in names:
            self.journal.append(samples.prompt(name, id=name, prompt=name * 300))


@asynccontextmanager
async def rig(path: Path, store: CheckpointedStore) -> AsyncIterator[Rig]:
    """Small files, so that some finish."""
    journal = DiskJournal(path / "journal", fsync="never", segment_bytes=4096)
    await journal.open()
    one = Rig(journal, store)
    one.drain.start()
    try:
        yield one
    finally:
        await one.drain.stop(DEADLINE_S)
        await journal.close()
        await one.drain.forget_gone()


def stored(store: MemoryStore) -> list[str]:
    return [record.interception_id for record in store.records]


def numbered(count: int) -> list[str]:
    return [f"i{n:03}" for n in range(count)]


def journals(path: Path) -> list[str]:
    return [file.stem for file in (path / "journal").glob("*/*.journal")]


async def test_a_start_finds_that_the_database_has_lost_records_and_stores_them_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a death the journal says that they are stored, and the database that they are not."""
    store = LosingStore()
    store.is_sure = False  # or an orderly end would leave no journal
    async with rig(tmp_path, store) as before:
        await before.record("a")
        early = store.snapshot()
        await before.record("b", "c")
    store.lose(early)

    async with rig(tmp_path, store) as after:
        assert await after.drain.flush(DEADLINE_S)
        assert after.drain.stats.restored == 2
        assert after.drain.stats.waiting == 0
    assert stored(store) == ["a", "b", "c"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "the database has lost 2 records that it had taken: they are stored again from the journal"
    ]


async def test_a_database_that_was_opened_again_gets_what_it_has_lost(tmp_path: Path) -> None:
    """Also when nobody records anything just then."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        early = store.snapshot()
        await one.record("b", "c")
        store.lose(early)

        one.drain.look_again()
        assert await one.drain.flush(DEADLINE_S)

        assert stored(store) == ["a", "b", "c"]
        assert one.drain.stats.restored == 2


async def test_what_is_lost_just_before_a_batch_is_not_hidden_by_it(tmp_path: Path) -> None:
    """The batch is taken, and what is missing before it is found all the same."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        early = store.snapshot()
        await one.record("b")

        def lose() -> None:
            store.before_write = nothing
            store.lose(early)

        store.before_write = lose
        await one.record("c")
        assert sorted(stored(store)) == ["a", "b", "c"]
        assert one.drain.stats.restored == 2, "b, and c behind it once more"


async def test_what_is_lost_without_a_word_is_found_after_the_next_failure(tmp_path: Path) -> None:
    """A failover to a replica that lagged behind is an error of the connection, and no more."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        early = store.snapshot()
        await one.record("b")

        def fail() -> None:
            store.before_write = nothing
            store.lose(early, unnoticed=True)
            raise StoreError("the server closed the connection")

        store.before_write = fail
        await one.record("c")
        assert sorted(stored(store)) == ["a", "b", "c"]


async def test_files_go_when_the_database_is_sure_of_them(tmp_path: Path) -> None:
    """Until then they are what is lost with it."""
    store = LosingStore()
    store.is_sure = False
    async with rig(tmp_path, store) as one:
        await one.record(*numbered(20))
        kept = one.journal.files()
        assert len(kept) > 2
        store.is_sure = True
        await one.record("last")
        (current,) = one.journal.files()
        assert current in store.checkpoints
    assert store.checkpoints == {}
    assert set(kept) <= set(store.gone)
    assert journals(tmp_path) == []


async def test_a_database_that_was_lost_while_it_made_sure_was_not_sure(tmp_path: Path) -> None:
    """What it made sure of was another one."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        early = store.snapshot()

        def lose() -> None:
            store.before_sync = nothing
            store.lose(early)

        store.before_sync = lose
        await one.record(*numbered(5))
        one.drain.look_again()
        assert await one.drain.flush(DEADLINE_S)
        assert sorted(stored(store)) == numbered(5)


async def test_a_record_that_is_refused_does_not_stop_the_checkpoint(tmp_path: Path) -> None:
    """Or each start would offer all again that came after it."""
    store = LosingStore()

    def refuse() -> None:
        store.before_write = nothing
        raise RecordsRefused("too long")

    async with rig(tmp_path, store) as one:
        store.before_write = refuse
        await one.record("a", "b")
        (reached,) = store.checkpoints.values()
        await one.record("c")
        assert list(store.checkpoints.values()) > [reached]
        assert stored(store) == ["a", "b", "c"]


async def test_what_is_lost_between_records_that_are_stored_one_by_one_is_stored_with_the_checkpoint(
    tmp_path: Path,
) -> None:
    """The checkpoint moves over nothing that is missing."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("first")
        early = store.snapshot()

        def lose() -> None:
            store.before_write = nothing
            store.lose(early)

        def refuse() -> None:
            store.before_write = lose
            raise RecordsRefused("too long")

        store.before_write = refuse
        await one.record("a", "b", "c")
        assert sorted(stored(store)) == ["a", "b", "c", "first"]


async def test_an_orderly_end_finds_what_was_lost_without_a_word(tmp_path: Path) -> None:
    """Before the journal goes, which alone still has it."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        early = store.snapshot()
        await one.record("b", "c")
        store.lose(early, unnoticed=True)
        await one.record("d")
    assert sorted(stored(store)) == ["a", "b", "c", "d"]
    assert journals(tmp_path) == []


async def test_a_finished_file_goes_only_when_nothing_was_lost_without_a_word(tmp_path: Path) -> None:
    """A store may be sure of what it has and not know what it had."""
    store = LosingStore()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        early = store.snapshot()
        await one.record("b")
        store.lose(early, unnoticed=True)
        await one.record(*numbered(9))
        assert sorted(stored(store)) == ["a", "b", *numbered(9)]
        assert one.drain.stats.restored > 0


async def test_checkpoints_that_cannot_be_forgotten_cost_nothing(tmp_path: Path) -> None:
    """A database that goes away at the end is no trouble then."""
    store = LosingStore()

    def fail() -> None:
        raise StoreError("away")

    async with rig(tmp_path, store) as one:
        await one.record("a")
        await one.drain.stop(DEADLINE_S)
        store.before_write = fail
    assert journals(tmp_path) == []
    assert len(store.checkpoints) == 1


# -- with SQLite ----------------------------------------------------------------------------------------------------


def remove_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def prompts(path: Path) -> list[str]:
    rows, [[verdict]] = run_sql(
        path, "SELECT interception_id FROM aibridge_user_prompts ORDER BY 1", "PRAGMA integrity_check"
    )
    assert verdict == "ok"
    return [row[0] for row in rows]


@pytest.mark.parametrize("others_begin_another", [True, False])
async def test_nothing_is_lost_when_the_log_is_removed_again_and_again(
    tmp_path: Path, others_begin_another: bool
) -> None:
    """What stood in it alone is moved into the database; where others have begun another, it is in the journal."""
    path = tmp_path / "gateway.db"
    store = SQLiteStore(path)
    await store.open()
    await store.sync()
    async with rig(tmp_path, store) as one:
        for n, name in enumerate(numbered(60)):
            await one.record(name)
            if n % 7 == 3:
                remove_log(path)
                if others_begin_another:
                    run_sql(path, "SELECT 1 FROM sqlite_master")
        await store.check()
        one.drain.look_again()
        assert await one.drain.flush(DEADLINE_S)
        assert (one.drain.stats.restored > 0) == others_begin_another
    await store.close()

    assert prompts(path) == numbered(60)
    assert run_sql(path, "SELECT count(*) FROM journal_checkpoints") == [[[0]]]
    assert journals(tmp_path) == []


async def test_a_death_after_the_log_was_removed_costs_nothing(tmp_path: Path) -> None:
    """The next start compares the journal with what the database says."""
    path = tmp_path / "gateway.db"
    dead = SQLiteStore(path)
    await dead.open()
    await dead.sync()
    journal = DiskJournal(tmp_path / "journal", fsync="never")
    await journal.open()
    one = Rig(journal, dead)
    one.drain.start()
    await one.record(*numbered(30))
    remove_log(path)
    run_sql(path, "SELECT 1 FROM sqlite_master")
    await journal.close()  # as a death leaves them: nothing is stored for good, and the log is nowhere
    await dead.close()

    store = SQLiteStore(path)
    await store.open()
    async with rig(tmp_path, store) as after:
        assert await after.drain.flush(DEADLINE_S)
        assert after.drain.stats.restored == 30
    await store.close()
    assert prompts(path) == numbered(30)


async def test_an_end_with_nothing_to_store_does_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    """It looks once whether something was lost; the next start looks too."""

    class Away(LosingStore):
        is_away = False

        async def checkpoint(self, files: Collection[str]) -> Checkpoint:
            if self.is_away:
                raise StoreError("the server can't be reached")
            return await super().checkpoint(files)

    store = Away()
    async with rig(tmp_path, store) as one:
        await one.record("a")
        store.is_away = True
        async with asyncio.timeout(DEADLINE_S):
            assert await one.drain.stop(3600.0) == 0
    assert stored(store) == ["a"]
