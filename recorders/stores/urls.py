"""Which database a URL means, and which store belongs on it. The one place that knows all kinds of them.

`sqlite:///data/gateway.db` is a path relative to the working directory, `sqlite:////var/lib/gateway.db` an absolute
one. `postgresql://user:password@host:5432/name?sslmode=require` (or `postgres://`) is what libpq makes of it.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from recorders.stores.base import Store
from recorders.stores.database import Database
from recorders.stores.postgres import PostgresDatabase
from recorders.stores.postgres_store import PostgresStore
from recorders.stores.sql import SqlStore
from recorders.stores.sqlite import SQLiteDatabase


def database_for(url: str) -> Database:
    """The database of `url`, not opened yet. Raises `ValueError` without repeating the URL: it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme in {"postgresql", "postgres"}:
        return PostgresDatabase(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "sqlite" or parts.netloc or not path or parts.query or parts.fragment:
        raise ValueError("the database URL is of neither form: sqlite:///<path>, postgresql://<host>/<name>")
    return SQLiteDatabase(path)


def store_on(database: Database) -> Store:
    """The store that writes to `database` in the way that suits it."""
    return PostgresStore(database) if isinstance(database, PostgresDatabase) else SqlStore(database)
