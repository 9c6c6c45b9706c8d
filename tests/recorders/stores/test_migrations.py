from __future__ import annotations

import pytest

from recorders.stores.base import SchemaTooNew
from recorders.stores.migrations import Migration, known_migrations, pending_migrations

ONE = Migration(1, "one", ("CREATE TABLE one (id TEXT)",))
TWO = Migration(2, "two", ("CREATE TABLE two (id TEXT)",))


def test_the_files_are_numbered_from_one_without_gaps_or_doubles() -> None:
    """The order in which they run is beyond doubt."""
    versions = [migration.version for migration in known_migrations()]

    assert versions == list(range(1, len(versions) + 1))


def test_statements_are_whole_and_free_of_comments() -> None:
    """Each can be run alone, by any driver, also by one whose parameters begin with a percent sign."""
    for migration in known_migrations():
        for statement in migration.statements:
            assert statement.startswith(
                ("CREATE TABLE ", "ALTER TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "DROP INDEX ")
            )
            assert not {";", "--", "?", "%"} & {
                statement[i : i + n] for n in (1, 2) for i in range(len(statement))
            }


@pytest.mark.parametrize(
    ("applied", "pending"), [(set(), [ONE, TWO]), ({1}, [TWO]), ({2}, [ONE]), ({1, 2}, [])]
)
def test_what_was_not_applied_is_pending(applied: set[int], pending: list[Migration]) -> None:
    """Each migration runs once, in the order of its number."""
    assert pending_migrations(applied, [ONE, TWO], database="x") == pending


def test_a_newer_schema_than_the_program_knows_stops_it() -> None:
    """The message names the database, both versions, and what to do."""
    with pytest.raises(
        SchemaTooNew, match=r"x\.db has schema version 7, this program knows only up to 2: run"
    ):
        pending_migrations({1, 7}, [ONE, TWO], database="x.db")
