from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import pytest

from recorders.records import Record
from recorders.stores.database import Database, Row, Value, read_time
from recorders.stores.expired import Expired, Step, first_id_of
from recorders.stores.tables import INTERCEPTIONS, TABLES, TOOL_USAGES
from tests.recorders import aged, samples
from tests.recorders.stores.kept import Kept

CUTOFF = samples.NOON
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OLD, YOUNG = CUTOFF - HOUR, CUTOFF + HOUR
EACH = {table.name: 1 for table in TABLES}


class Asked:
    """Passes on what is asked of a database, and remembers how many rows came at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.most_rows = 0

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        rows = await self._database.fetch(sql, *parameters)
        self.most_rows = max(self.most_rows, len(rows))
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def all_of(steps: AsyncIterator[Step]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    async for table, rows in steps:
        counts[table.name] += rows
    return dict(+counts)


async def delete(kept: Kept, **options: int) -> dict[str, int]:
    return await all_of(Expired(kept.database, CUTOFF, **options).delete())


async def count(kept: Kept, **options: int) -> dict[str, int]:
    return await all_of(Expired(kept.database, CUTOFF, **options).count())


async def left(kept: Kept) -> dict[str, int]:
    return {name: len(rows) for name, rows in (await kept.everything()).items() if rows}


async def test_what_started_before_the_cutoff_goes_with_its_rows_and_nothing_else(kept: Kept) -> None:
    """To the microsecond: what started at the cutoff stays."""
    old, at, young = (aged.whole(time) for time in (CUTOFF - timedelta(microseconds=1), CUTOFF, YOUNG))
    await kept.write(*old, *at, *young)

    assert await delete(kept) == EACH

    ids = {row["id"] for row in await kept.rows(INTERCEPTIONS.name)}
    assert ids == {at[0].interception_id, young[0].interception_id}
    assert await left(kept) == {name: 2 for name in EACH}


async def test_an_old_interception_goes_also_when_it_ended_late_or_not_at_all(kept: Kept) -> None:
    """Its start decides, also about rows of it that are young."""
    late, endless = aged.id_at(OLD), aged.id_at(OLD)
    await kept.write(samples.start(late, started_at=OLD), samples.end(late, ended_at=YOUNG))
    await kept.write(samples.start(endless, started_at=OLD), *aged.parts(endless, YOUNG))

    await delete(kept)

    assert await left(kept) == {}


async def test_the_oldest_go_first(kept: Kept) -> None:
    """In whatever order they came; those of the same moment too, over the end of a page."""
    times = [OLD + n * SECOND for n in (3, 1, 4, 1, 5, 9, 2, 6, 1)]
    for time in times:
        await kept.write(*aged.whole(time))

    newest: list[list[datetime]] = []
    async for table, _ in Expired(kept.database, CUTOFF, interceptions_a_step=2).delete():
        if table is INTERCEPTIONS:
            rows = await kept.rows(INTERCEPTIONS.name)
            newest.append(sorted(read_time(row["started_at"]) for row in rows))

    assert newest == [sorted(times)[gone:] for gone in (2, 4, 6, 8, 9)]


@pytest.mark.parametrize("verb", ["delete", "count"])
async def test_steps_and_what_is_read_for_them_are_bounded(kept: Kept, verb: str) -> None:
    """However many rows one interception has, and however many there are."""
    much = aged.id_at(OLD)
    await kept.write(samples.start(much, started_at=OLD))
    await kept.write(*(aged.part(samples.tool, much, OLD) for _ in range(20)))
    for second in range(10):
        await kept.write(*aged.whole(OLD + second * SECOND))
    await kept.write(*(aged.part(samples.tool, "gone", OLD) for _ in range(20)))
    asked = Asked(kept.database)
    expired = Expired(asked, CUTOFF, interceptions_a_step=3, rows_a_step=4)

    steps = [step async for step in getattr(expired, verb)()]

    assert asked.most_rows == 4
    assert sum(rows for table, rows in steps if table is TOOL_USAGES) == 50
    if verb == "delete":
        assert max(rows for _, rows in steps) == 4
        assert max(rows for table, rows in steps if table is INTERCEPTIONS) == 3


async def test_an_interception_without_a_start_goes_by_its_end(kept: Kept) -> None:
    """The start was lost, or retention took it while the request was running."""
    old, young = aged.id_at(OLD), aged.id_at(OLD)
    await kept.write(samples.end(old, ended_at=OLD), *aged.parts(old, OLD))
    await kept.write(samples.end(young, ended_at=YOUNG), *aged.parts(young, OLD))

    assert await delete(kept, interceptions_a_step=1) == EACH

    assert [row["id"] for row in await kept.rows(INTERCEPTIONS.name)] == [young]
    assert await left(kept) == EACH


async def test_rows_without_an_interception_go_by_their_own_time(kept: Kept) -> None:
    """Nobody could find them any more, but they may hold prompts."""
    await kept.write(
        *aged.parts("gone", OLD), *aged.parts("gone", OLD + SECOND), *aged.parts("to come", YOUNG)
    )
    kept_id = aged.id_at(YOUNG)
    await kept.write(samples.start(kept_id, started_at=YOUNG), *aged.parts(kept_id, OLD))
    four = {name: 2 for name in EACH if name != INTERCEPTIONS.name}

    assert await delete(kept, rows_a_step=1) == four

    for name in four:
        assert {row["interception_id"] for row in await kept.rows(name)} == {"to come", kept_id}


async def test_rows_that_come_while_their_interception_goes_are_found(kept: Kept) -> None:
    """A drain that lags behind brings them between two steps."""
    records = aged.whole(OLD)
    await kept.write(*records)

    async for table, _ in Expired(kept.database, CUTOFF).delete():
        if table.name == "aibridge_model_thoughts" and await kept.rows(INTERCEPTIONS.name):
            await kept.write(*aged.parts(records[0].interception_id, OLD))

    assert await left(kept) == {}


async def test_what_stops_half_way_is_finished_the_next_time(kept: Kept) -> None:
    """An interception stays until the last of its rows is gone, so it is found again."""
    for second in range(3):
        await kept.write(*aged.whole(OLD + second * SECOND))
    async with aclosing(Expired(kept.database, CUTOFF).delete()) as steps:
        async for table, _ in steps:
            if table is TOOL_USAGES:
                break
    assert (await left(kept))[INTERCEPTIONS.name] == 3

    await delete(kept)

    assert await left(kept) == {}


async def test_counting_says_what_deleting_would_do_and_does_nothing(kept: Kept) -> None:
    """Pages end where they end, orphans or not."""
    written: list[Record] = []
    for second in range(7):
        written += aged.whole(OLD + second * SECOND)
        written += aged.parts(f"gone {second}", OLD)
    await kept.write(*written, *aged.whole(YOUNG), samples.end(aged.id_at(OLD), ended_at=OLD))
    before = await kept.everything()

    counted = await count(kept, interceptions_a_step=2, rows_a_step=3)

    assert await kept.everything() == before
    assert counted == {name: 8 if name == INTERCEPTIONS.name else 14 for name in EACH}
    assert await delete(kept) == counted


async def test_threads_whose_beginning_went_stay_together(kept: Kept) -> None:
    """The younger requests keep the ID of the root, so they are one session still."""
    root, child, grandchild = aged.id_at(OLD), aged.id_at(YOUNG), aged.id_at(YOUNG)
    await kept.write(
        samples.start(root, started_at=OLD),
        samples.start(child, started_at=YOUNG, thread_parent_id=root, thread_root_id=root),
        samples.start(grandchild, started_at=YOUNG, thread_parent_id=child, thread_root_id=root),
    )

    await delete(kept)

    assert await kept.threads() == {child: (root, root, root), grandchild: (child, root, root)}


async def test_an_empty_database_has_nothing_to_delete(kept: Kept) -> None:
    """No step, no statement that changes anything."""
    assert [step async for step in Expired(kept.database, CUTOFF).delete()] == []


def test_the_first_id_of_a_time_parts_the_ids_before_from_those_after() -> None:
    """To the millisecond, and for times before there were any."""
    millisecond = timedelta(milliseconds=1)
    time = CUTOFF.replace(microsecond=123_000)

    assert aged.id_at(time - millisecond) < first_id_of(time) < aged.id_at(time)
    assert first_id_of(time.replace(year=1)) == "00000000-0000"
