"""Reads back what the gateway recorded, straight from its database file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The rows of the gateway's tables; interceptions in the order in which they started."""

    interceptions: list[Row]
    prompts: list[Row]
    tokens: list[Row]
    tools: list[Row]
    thoughts: list[Row]

    def of(self, rows: list[Row], interception: Row) -> list[Row]:
        """Those rows that belong to an interception."""
        return [row for row in rows if row["interception_id"] == interception["id"]]


def read_records(database: Path) -> Recorded:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return Recorded(
            _rows(connection, "aibridge_interceptions", "started_at, id"),
            _rows(connection, "aibridge_user_prompts"),
            _rows(connection, "aibridge_token_usages"),
            _rows(connection, "aibridge_tool_usages"),
            _rows(connection, "aibridge_model_thoughts"),
        )


def _rows(connection: sqlite3.Connection, table: str, order: str = "created_at, id") -> list[Row]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")]
