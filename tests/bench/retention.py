"""What deleting old records costs those who record: rows a second, and how long a batch of the drain waits meanwhile.

    python -m tests.bench.retention --rows 100000
    python -m tests.bench.retention --rows 1000000 --database postgresql
    python -m tests.bench.retention --rows 1000000 --database postgresql://postgres@localhost/empty

Fills an empty database with a history of so many interceptions. Then a drain records new turns, `--load` of them a
second: first alone, to see what a batch takes, then while retention takes its turn. At the end the whole history must
be gone and all new turns be there. `--database` is `sqlite` (a file in a temporary folder), `postgresql` (the wheel's
server, or the one that TEST_POSTGRES_URL names) or the URL of an empty database.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from msgspec.structs import replace

from recorders.drain import Drain
from recorders.journal import MemoryJournal
from recorders.records import InterceptionEnd, InterceptionStart, Record
from recorders.retention import purge
from recorders.stores.base import Store
from recorders.stores.database import Database
from recorders.stores.urls import database_for, store_on
from tests.bench.drain import records
from tests.bench.history import NEWEST
from tests.postgres import new_database, running_server

RECORDS_A_TURN: Final = 7
CUTOFF: Final = NEWEST + timedelta(days=1)
ALONE_S: Final = 10.0
TICK_S: Final = 0.05


class Watch:
    """A store that times each batch it is given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds: list[float] = []

    async def open(self) -> None:
        await self._store.open()

    async def write(self, records: Sequence[Record]) -> None:
        begin = time.perf_counter()
        await self._store.write(records)
        self.seconds.append(time.perf_counter() - begin)

    async def close(self) -> None:
        await self._store.close()

    def report(self, name: str) -> None:
        times, self.seconds = sorted(self.seconds) or [0.0], []
        median, late, last = (
            times[min(len(times) - 1, int(len(times) * part))] * 1000 for part in (0.5, 0.99, 1)
        )
        print(
            f"{name:<28}{len(times):>6} batches   p50 {median:>6.1f} ms   p99 {late:>6.1f} ms   longest {last:>6.1f} ms"
        )


def turns(begin: datetime) -> Iterator[Record]:
    """The benchmark's turns, a millisecond apart."""
    shift = timedelta()
    for record in records():
        if isinstance(record, InterceptionStart):
            shift = shift or begin - record.started_at
            yield replace(record, started_at=record.started_at + shift)
        elif isinstance(record, InterceptionEnd):
            yield replace(record, ended_at=record.ended_at + shift)
        else:
            yield replace(record, created_at=record.created_at + shift)


@asynccontextmanager
async def recording(journal: MemoryJournal, load: int) -> AsyncIterator[Counter[str]]:
    """New turns, appended as the gateway would, for as long as the block lasts."""
    counts: Counter[str] = Counter()

    async def record() -> None:
        fresh = turns(datetime.now(UTC))
        begin = time.perf_counter()
        while True:
            wanted = int((time.perf_counter() - begin) * load) - counts["turns"]
            for record in islice(fresh, wanted * RECORDS_A_TURN):
                journal.append(record)
            counts["turns"] += wanted
            await asyncio.sleep(TICK_S)

    task = asyncio.create_task(record())
    try:
        yield counts
    finally:
        task.cancel()
        await asyncio.wait({task})


async def measure(database: Database, rows: int, load: int, alone_s: float) -> None:
    await database.open()
    store = Watch(store_on(database))
    journal = MemoryJournal(max_bytes=1 << 34)
    drain = Drain(journal, store)
    drain.start()
    deleted: Counter[str] = Counter()
    async with recording(journal, load) as recorded:
        await asyncio.sleep(alone_s)
        store.report("recording alone")
        begin = time.perf_counter()
        if not await purge(database, CUTOFF, deleted):
            raise SystemExit("another process is deleting from this database")
        seconds = time.perf_counter() - begin
        store.report("recording while deleting")
    left = await drain.stop(60)
    total = deleted.total()
    print(f"deleted {rows:,} interceptions, {total:,} rows in {seconds:.1f} s: {total / seconds:,.0f} rows/s")
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    (found,) = await database.fetch("SELECT count(*) AS number FROM aibridge_interceptions")
    if left or found["number"] != recorded["turns"] or deleted["aibridge_interceptions"] != rows:
        raise SystemExit(
            f"wrong: {found['number']} interceptions stored of {recorded['turns']} recorded, {deleted} deleted"
        )


async def run(url: str, rows: int, load: int, alone_s: float = ALONE_S) -> None:
    """Prints what it measured; `SystemExit` when a record is missing or too many are there."""
    fill(url, rows)
    database = database_for(url)
    try:
        await measure(database, rows, load, alone_s)
    finally:
        await database.close()


@contextmanager
def _url(database: str) -> Iterator[str]:
    if database == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/records.db"
    elif database == "postgresql":
        with running_server() as server, new_database(server) as url:
            yield url
    else:
        yield database


def fill(url: str, interceptions: int) -> None:
    """In a process of its own, whose memory is not of interest."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.history",
        "--interceptions",
        str(interceptions),
        "--database",
        url,
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description="What deleting old records costs those who record.")
    parser.add_argument("--rows", type=int, default=100_000, help="old interceptions to delete")
    parser.add_argument("--load", type=int, default=100, help="new interceptions a second")
    parser.add_argument(
        "--database", metavar="URL", default="sqlite", help="or a kind of database; default: sqlite"
    )
    args = parser.parse_args()
    with _url(args.database) as url:
        asyncio.run(run(url, args.rows, args.load))


if __name__ == "__main__":
    main()
