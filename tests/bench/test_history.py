"""The history for the measurements, and the measurements themselves, in small."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recorders.stores.database import Database
from recorders.stores.tables import TABLES
from recorders.stores.urls import database_for
from tests.bench import queries
from tests.bench.history import History, fill


def asked(url: str, *statements: str) -> list[Any]:
    """The one value of each query."""

    async def ask() -> list[Any]:
        database: Database = database_for(url)
        await database.open()
        rows = [await database.fetch(sql) for sql in statements]
        await database.close()
        return [next(iter(row[0].values())) for row in rows]

    return asyncio.run(ask())


def test_the_same_seed_gives_the_same_rows() -> None:
    """So that two runs of a measurement can be compared."""
    assert list(History(300).batches()) == list(History(300).batches())
    assert list(History(300, seed=2).batches()) != list(History(300).batches())


def test_a_database_is_filled_and_every_question_is_answered_through_an_index(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all indexes back in their place afterwards, and sessions of several interceptions."""
    fill(database_url, History(4000))

    count, sessions, orphans = asked(
        database_url,
        "SELECT COUNT(*) FROM aibridge_interceptions",
        "SELECT COUNT(DISTINCT session_id) FROM aibridge_interceptions",
        "SELECT COUNT(*) FROM aibridge_interceptions WHERE thread_parent_id IS NOT NULL AND thread_root_id IS NULL",
    )
    assert (count, orphans) == (4000, 0)
    assert 100 < sessions < 1500
    assert all(asked(database_url, *(f"SELECT COUNT(*) FROM {table.name}" for table in TABLES)))

    if database_url.startswith("sqlite"):  # PostgreSQL rightly reads so small a table from end to end
        arguments = ["--database", database_url, "--times", "2", "--limit-ms", "60000"]
        assert queries.main(arguments) == 0
        assert "each uses an index" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("SCAN i", True),
        ("SCAN i USING INDEX x", False),
        ("SCAN CONSTANT ROW", False),
        ("SEARCH i USING INDEX x (id=?)", False),
        ("  ->  Parallel Seq Scan on aibridge_interceptions i  (cost=0.00..1 rows=1 width=4)", True),
        ("  ->  Index Scan using x on aibridge_interceptions i", False),
    ],
)
def test_a_plan_that_reads_a_whole_table_is_seen(line: str, bad: bool) -> None:
    """In the words of both databases."""
    assert bool(queries.without_index([line])) is bad
