"""That threads which are not as they should be are noticed."""

from __future__ import annotations

import pytest

from recorders.records import Record
from recorders.stores.postgres import PostgresDatabase
from recorders.stores.postgres_store import PostgresStore
from tests.faults.replicas import Turn, judge_threads
from tests.faults.report import Report
from tests.recorders import samples

THREAD = [Turn(1, 0), Turn(2, 1), Turn(3, 0)]


def turn(number: int, *, answers: int | None) -> list[Record]:
    """One interception that calls a tool; `answers` is the number of the one whose call it answers."""
    call_id = None if answers is None else f"call-{answers}"
    return [
        samples.start(f"i{number}", correlating_tool_call_id=call_id),
        samples.tool(f"i{number}", tool_call_id=f"call-{number}"),
    ]


async def judged(url: str, *records: Record) -> list[str]:
    store = PostgresStore(PostgresDatabase(url))
    await store.open()
    await store.write(records)
    await store.close()
    report = Report("replicas")
    judge_threads(report, url, [THREAD])
    return report.violations


async def test_a_whole_thread_is_as_it_should_be(postgres_url: str) -> None:
    """Each on the one before, all on the first."""
    records = [*turn(1, answers=None), *turn(2, answers=1), *turn(3, answers=2)]
    assert await judged(postgres_url, *records) == []


@pytest.mark.parametrize(("answers", "why"), [(None, "it hangs on none"), (1, "it hangs on another")])
async def test_a_turn_that_hangs_wrong_is_noticed(postgres_url: str, answers: int | None, why: str) -> None:
    """And named."""
    records = [*turn(1, answers=None), *turn(2, answers=1), *turn(3, answers=answers)]
    (violation,) = await judged(postgres_url, *records)
    assert "call-3" in violation, why


async def test_a_turn_that_is_not_there_is_noticed(postgres_url: str) -> None:
    """It was delivered, so it must be."""
    (violation,) = await judged(postgres_url, *turn(1, answers=None), *turn(2, answers=1))
    assert "call-3: None" in violation
