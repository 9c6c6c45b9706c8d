"""`python -m tests.bench.journal`: how many records a second the journal on disk takes, and what one costs.

For each `journal_fsync` some requests at once record turns of an agent (`tests.bench.drain` has them) as the gateway
does it: a start that is settled before anything goes upstream, prompt, usage, calls and thought, an end that is
settled before the client has its last byte. Nothing drains meanwhile. Afterwards another journal adopts the folder,
as after a crash, and must give back every record, in order.

CPU is that of all threads; beside it what the event loop's thread had of it, which is what requests wait for. With
`always` the disk decides: `--folder` chooses it, and a folder in memory says nothing. Then the cost of encoding a
record of each kind.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, get_args

from recorders import codec
from recorders.disk_journal import DiskJournal
from recorders.durability import Fsync
from recorders.records import InterceptionEnd, InterceptionStart, Record
from tests.bench.conditions import machine
from tests.bench.drain import records
from tests.bench.event_loop import run

RECORDS_OF_A_TURN = 7
BATCH_RECORDS = 1_024
BATCH_BYTES = 4 << 20
ROUNDS = 5
ENCODED = 2_000
POLICIES: tuple[Fsync, ...] = get_args(Fsync)


class Cost(NamedTuple):
    """Of one policy. `loop_us` is the part of `cpu_us` that the event loop's thread had."""

    per_s: float
    cpu_us: float
    loop_us: float


class RecordsMissingError(Exception):
    """The journal did not give back what it had taken."""


def turns(number: int) -> list[list[Record]]:
    """So many turns, each with its records in order."""
    taken = islice(records(), number * RECORDS_OF_A_TURN)
    return [list(turn) for _, turn in groupby(taken, attrgetter("interception_id"))]


async def measure(folder: Path, fsync: Fsync, turns: Sequence[Sequence[Record]], connections: int) -> Cost:
    """What it costs to record `turns`. Raises `RecordsMissingError` unless all can be read afterwards."""
    journal = DiskJournal(folder, fsync=fsync)
    taken: list[Record] = []
    waiting = iter(turns)
    await journal.open()
    try:
        began, cpu_began, loop_began = time.perf_counter(), time.process_time(), time.thread_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_record(journal, waiting, taken))
        loop_s, cpu_s = time.thread_time() - loop_began, time.process_time() - cpu_began
        wall_s = time.perf_counter() - began
    finally:
        await journal.close()
    await check(folder, taken)
    return Cost(len(taken) / wall_s, cpu_s / len(taken) * 1e6, loop_s / len(taken) * 1e6)


async def _record(journal: DiskJournal, turns: Iterator[Sequence[Record]], taken: list[Record]) -> None:
    """One connection: a turn after the other, with the waits of the gateway."""
    for turn in turns:
        for record in turn:
            journal.append(record)
            taken.append(record)
            if isinstance(record, InterceptionStart | InterceptionEnd):
                await journal.settle()


async def check(folder: Path, taken: Sequence[Record]) -> None:
    """All of `taken`, and nothing else, is in the folder, in that order."""
    journal = DiskJournal(folder)
    await journal.open()
    try:
        position = 0
        while (batch := await journal.read(BATCH_RECORDS, BATCH_BYTES)) is not None:
            if list(batch.records) != list(taken[position : position + len(batch.records)]):
                raise RecordsMissingError(f"what was read behind record {position} is not what was appended")
            position += len(batch.records)
            journal.commit(batch.position)
        if position != len(taken) or journal.torn or journal.rejected:
            raise RecordsMissingError(f"{position} of {len(taken)} records could be read")
    finally:
        await journal.close()


def encoding(turn: Sequence[Record]) -> list[str]:
    """A line for each kind of record: its size, and what encoding it costs, the best of some rounds."""
    lines = []
    for record in {type(record): record for record in turn}.values():
        us = min(_encode_us(record) for _ in range(ROUNDS))
        lines.append(f"{type(record).__name__:22}{len(codec.encode(record)):8,} B{us:10.2f} us")
    return lines


def _encode_us(record: Record) -> float:
    began = time.thread_time()
    for _ in range(ENCODED):
        codec.encode(record)
    return (time.thread_time() - began) / ENCODED * 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a record was missing."""
    parser = argparse.ArgumentParser(description="Records a second that the journal takes.")
    parser.add_argument("--records", type=int, default=70_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where the journal lies while it is measured")
    args = parser.parse_args(argv)
    recorded = turns(max(1, args.records // RECORDS_OF_A_TURN))
    size = sum(len(codec.encode(record)) for record in recorded[0]) / RECORDS_OF_A_TURN
    print(f"journal: {machine()}")
    print(
        f"{len(recorded) * RECORDS_OF_A_TURN:,} records of about {size:.0f} B, "
        f"{args.connections} requests at once, in {args.folder or tempfile.gettempdir()}\n"
    )
    print(f"{'journal_fsync':16}{'records/s':>12}{'CPU a record':>16}{'on the loop':>16}")
    try:
        for fsync in POLICIES:
            with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-", dir=args.folder) as folder:
                cost = run(measure(Path(folder), fsync, recorded, args.connections))
            print(f"{fsync:16}{cost.per_s:12,.0f}{cost.cpu_us:13.1f} us{cost.loop_us:13.1f} us")
    except RecordsMissingError as missing:
        print(f"journal: {missing}", file=sys.stderr)
        return 1
    print(f"all could be read afterwards\n\n{'encoding':22}{'size':>10}{'CPU':>13}")
    print("\n".join(encoding(recorded[-1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
