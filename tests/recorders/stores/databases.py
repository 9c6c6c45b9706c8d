"""A database of either kind behind its URL, with what a test wants to be different."""

from __future__ import annotations

from typing import Any

from recorders.stores.database import Database
from recorders.stores.postgres import PostgresDatabase
from recorders.stores.sqlite import SQLiteDatabase


def database_at(url: str, **options: Any) -> Database:
    """Not opened yet."""
    if url.startswith("postgresql://"):
        return PostgresDatabase(url, **options)
    return SQLiteDatabase(url.removeprefix("sqlite:///"), **options)
