"""Rows as SQL: how they get into their tables, each harmless when it is offered again.

A row that exists isn't changed but for what it lacks: an interception that has its start still takes its end, and
one that has its end still takes its start. Of several versions of the same record the first stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final

import msgspec

from recorders.stores.database import Statement
from recorders.stores.tables import END_COLUMNS, INTERCEPTIONS, START_COLUMNS, Columns, Table

# All names in these statements come from `tables`.

_KEEP_FIRST: Final = "ON CONFLICT (id) DO NOTHING"


def row_by_row(rows: Mapping[Table, Iterable[Columns]]) -> Iterator[Statement]:
    """A statement for each row, for a database in this process."""
    for table, of_table in rows.items():
        sql = _insert_values(table)
        for row in of_table:
            yield Statement(sql, tuple(row.get(column) for column in table.columns))


def table_by_table(rows: Mapping[Table, Iterable[Columns]]) -> Iterator[Statement]:
    """A statement for each table, its rows in one JSON parameter: for PostgreSQL, which reads it by the table's type.

    Encoding and sending one text costs a fraction of sending thousands of values.
    """
    for table, of_table in rows.items():
        yield Statement(_insert_json(table), (msgspec.json.encode(of_table).decode(),))


@cache
def _insert_values(table: Table) -> str:
    marks = ", ".join("?" for _ in table.columns)
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks}) {_on_conflict(table)}"  # noqa: S608


@cache
def _insert_json(table: Table) -> str:
    columns = ", ".join(table.columns)
    rows = f"json_populate_recordset(NULL::{table.name}, ?)"
    return f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {rows} {_on_conflict(table)}"  # noqa: S608


def _on_conflict(table: Table) -> str:
    if table is not INTERCEPTIONS:
        return _KEEP_FIRST
    known = table.name
    started = [_unless(f"{known}.started_at", known, column) for column in START_COLUMNS]
    ended = [_unless(f"{known}.ended_at", known, column) for column in END_COLUMNS]
    # A failover may have chosen another credential, so the hint of the end is the one that counts.
    hint = (
        f"credential_hint = CASE WHEN {known}.ended_at IS NULL AND excluded.ended_at IS NOT NULL "
        f"THEN excluded.credential_hint ELSE {known}.credential_hint END"
    )
    return (
        f"ON CONFLICT (id) DO UPDATE SET {', '.join([*started, *ended, hint])} "
        f"WHERE ({known}.started_at IS NULL AND excluded.started_at IS NOT NULL) "
        f"OR ({known}.ended_at IS NULL AND excluded.ended_at IS NOT NULL)"
    )


def _unless(there: str, known: str, column: str) -> str:
    return f"{column} = CASE WHEN {there} IS NULL THEN excluded.{column} ELSE {known}.{column} END"
