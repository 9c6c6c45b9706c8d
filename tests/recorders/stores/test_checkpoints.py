"""How far a database has taken a journal, on each kind of database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from recorders.disk_journal import DiskJournal
from recorders.drain import Drain
from recorders.records import Record
from recorders.stores.base import ByteRange, Checkpoint, CheckpointedStore, Store, checkpointed
from recorders.stores.checkpoints import FILES_A_STATEMENT
from recorders.stores.memory import MemoryStore
from recorders.stores.migrations import known_migrations
from recorders.stores.sqlite import SQLiteStore
from recorders.stores.statements import row_by_row
from recorders.stores.tables import rows_of
from tests.recorders import samples
from tests.recorders.stores.databases import database_at
from tests.recorders.stores.kept import Kept

FILE, ANOTHER = "0198f3c2-0000-7000-8000-000000000000.checkpointed", "0198f3c2-0000-7000-8000-000000000001"


async def moved(kept: Kept, *ranges: tuple[int, int], file: str = FILE, **options: Any) -> Checkpoint:
    store = kept.store
    assert isinstance(store, CheckpointedStore)
    for start, end in ranges:
        await store.write_from([samples.start()], {file: ByteRange(start, end)}, **options)
    return await store.checkpoint([ANOTHER, FILE])


async def test_a_checkpoint_moves_with_the_records(kept: Kept) -> None:
    """From the beginning of a file, range by range."""
    assert await moved(kept, (0, 100)) == {FILE: 100}
    assert await moved(kept, (100, 250), (250, 1 << 40)) == {FILE: 1 << 40}
    assert len(await kept.rows("aibridge_interceptions")) == 1


async def test_a_checkpoint_never_passes_over_what_is_missing(kept: Kept) -> None:
    """A database that was opened again in the middle shows its gap also when it has taken what came after it."""
    assert await moved(kept, (0, 100), (200, 300), (300, 400)) == {FILE: 100}
    assert await moved(kept, (100, 400), (400, 500)) == {FILE: 500}
    assert await moved(kept, (450, 550)) == {FILE: 550}


async def test_a_checkpoint_never_goes_back(kept: Kept) -> None:
    """A batch that was given up and is stored late says less than what came after it."""
    assert await moved(kept, (0, 300), (0, 100), (100, 200)) == {FILE: 300}


async def test_a_file_that_begins_in_its_middle_has_no_checkpoint(kept: Kept) -> None:
    """What was before is missing, for all that is known."""
    assert await moved(kept, (100, 200)) == {}
    assert await moved(kept, (0, 200)) == {FILE: 200}
    assert isinstance(kept.store, CheckpointedStore)
    assert await kept.store.checkpoint([]) == {}


async def test_files_that_are_gone_are_forgotten(kept: Kept) -> None:
    """Or the table would grow for ever."""
    store = kept.store
    assert isinstance(store, CheckpointedStore)
    await store.write_from([], {FILE: ByteRange(0, 100), ANOTHER: ByteRange(0, 50)})
    await store.write_from([], {FILE: ByteRange(100, 200)}, gone=[ANOTHER, "never there"])

    assert await kept.database.fetch("SELECT * FROM journal_checkpoints") == [
        {"file": FILE, "stored_bytes": 200}
    ]


async def test_a_batch_that_is_not_stored_moves_nothing(kept: Kept) -> None:
    """Records and checkpoint are one transaction."""
    store = kept.store
    assert isinstance(store, CheckpointedStore)
    await kept.database.execute("DROP TABLE aibridge_token_usages")
    with pytest.raises(Exception, match="aibridge_token_usages"):
        await store.write_from([samples.start(), samples.tokens()], {FILE: ByteRange(0, 100)})

    assert await store.checkpoint([FILE]) == {}


async def test_many_files_are_asked_for_at_once(kept: Kept) -> None:
    """A long outage leaves more of them than a statement takes."""
    store = kept.store
    assert isinstance(store, CheckpointedStore)
    files = [f"{n:08}" for n in range(2 * FILES_A_STATEMENT + 1)]
    await store.write_from([], {file: ByteRange(0, n + 1) for n, file in enumerate(files)})

    assert await store.checkpoint(files) == {file: n + 1 for n, file in enumerate(files)}


async def test_what_is_synced_is_in_the_file_itself(kept: Kept) -> None:
    """PostgreSQL sees to that by itself."""
    assert isinstance(kept.store, CheckpointedStore)
    await kept.write(samples.start())
    assert await kept.store.sync()
    assert kept.store.generation == 0


class Redacting(SQLiteStore):
    """A host's: it wants to see all that is written."""

    async def write(self, records: Sequence[Record]) -> None:
        await super().write([])


class Wrapped:
    """A host's, around another."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    async def write(self, records: Sequence[Record]) -> None:
        await self.inner.write([])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_store_of_a_host_that_looks_at_what_is_written_is_fed_as_before(tmp_path: Path) -> None:
    """Nothing goes past its `write`."""
    store = SQLiteStore(tmp_path / "x.db")
    assert checkpointed(store) is store
    assert checkpointed(MemoryStore()) is None
    assert checkpointed(Redacting(tmp_path / "x.db")) is None
    wrapped: Any = Wrapped(store)
    assert checkpointed(wrapped) is None


# -- from the version before ----------------------------------------------------------------------------------------


def as_the_version_before_names_it(journal: Path) -> None:
    (path,) = journal.glob("*/*.checkpointed.journal")
    path.rename(path.with_name(path.name.replace(".checkpointed", "")))


async def test_an_upgrade_leaves_records_and_journal_of_the_version_before_as_they_are(
    database_url: str, tmp_path: Path
) -> None:
    """What that had stored is not stored again, what waited is, and its inserts still work."""
    before = database_at(database_url, migrations=known_migrations()[:6])
    await before.open()
    for record in (samples.start("a"), samples.end("a")):
        await before.transaction(row_by_row(rows_of([record])))
    journal = DiskJournal(tmp_path / "journal")
    await journal.open()
    for name in ("a", "b"):
        journal.append(samples.start(name))
    batch = await journal.read(1, 1 << 20)
    assert batch is not None
    journal.mark_stored(batch.position)  # and no row says so
    await journal.close()
    as_the_version_before_names_it(tmp_path / "journal")

    kept = Kept(database_url)
    await kept.store.open()
    await before.transaction(row_by_row(rows_of([samples.prompt("a")])))
    await before.close()
    await journal.open()
    drain = Drain(journal, kept.store)
    drain.start()
    assert await drain.stop(10) == 0
    await journal.close()

    assert drain.stats.restored == 0
    assert drain.stats.stored == 1
    rows = await kept.rows("aibridge_interceptions")
    assert [(row["id"], row["outcome"]) for row in rows] == [("a", "completed"), ("b", None)]
    assert len(await kept.rows("aibridge_user_prompts")) == 1
    await kept.store.close()
