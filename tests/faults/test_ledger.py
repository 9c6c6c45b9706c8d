"""The count that the scenarios rely on notices what is missing and what is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from recorders.records import Record
from recorders.stores.postgres import PostgresDatabase
from recorders.stores.postgres_store import PostgresStore
from recorders.stores.sqlite import SQLiteStore
from tests.faults.ledger import Found, compare, judge
from tests.faults.report import Report
from tests.recorders import samples


async def database(folder: Path, *records: Record) -> Path:
    """A database with these records."""
    store = SQLiteStore(folder / "x.db")
    await store.open()
    await store.write(records)
    await store.close()
    return folder / "x.db"


def interception(name: str, response_id: str) -> list[Record]:
    return [
        samples.start(name),
        samples.prompt(name, msg_id=response_id),
        samples.tool(name, msg_id=response_id),
        samples.tokens(name, msg_id=response_id),
        samples.end(name),
    ]


async def test_a_whole_interception_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    """Those that no client got may be there as well."""
    path = await database(tmp_path, *interception("a", "resp-1"), *interception("b", "resp-2"))
    assert compare(path, {1}) == Found(8, [], [])


@pytest.mark.parametrize(
    ("left_out", "lost"),
    [
        ([0], ["end of resp-1"]),
        ([1], ["prompt of resp-1"]),
        ([2], ["tool usage of resp-1"]),
        ([3], ["token usage of resp-1", "end of resp-1"]),
        ([4], ["end of resp-1"]),
    ],
)
async def test_any_record_that_is_missing_is_noticed(
    tmp_path: Path, left_out: Sequence[int], lost: list[str]
) -> None:
    """Each kind by name; an interception needs both its start and its end."""
    records = [record for place, record in enumerate(interception("a", "resp-1")) if place not in left_out]
    assert compare(await database(tmp_path, *records), {1}).lost == lost


async def test_records_in_postgresql_are_counted_as_those_in_sqlite(postgres_url: str) -> None:
    """And what answers need not have isn't missed."""
    store = PostgresStore(PostgresDatabase(postgres_url))
    await store.open()
    start, _, tool, tokens, end = interception(str(uuid4()), "resp-1")
    await store.write([start, tool, tokens, end])
    await store.close()

    assert compare(postgres_url, {1, 2}, without=("token usage", "end", "tool usage")).lost == [
        "prompt of resp-1",
        "prompt of resp-2",
    ]
    assert compare(postgres_url, {1}, without=("prompt",)) == Found(3, [], [])


async def test_an_answer_that_is_recorded_twice_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under whatever IDs; the report tells and judges it."""
    path = await database(tmp_path, *interception("a", "resp-1"), *interception("b", "resp-1"))
    report = Report("x")
    judge(report, path, {1})
    assert len(compare(path, {1}).doubled) == 4
    assert len(report.violations) == 1
    assert "answers delivered 1, records found 8, lost 0, doubled 4" in capsys.readouterr().out
