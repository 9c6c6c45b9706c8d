"""Which database a URL means, and which store belongs on it. The one place that knows all kinds of them.

`sqlite:///data/gateway.db` is a path relative to the working directory, `sqlite:////var/lib/gateway.db` an absolute
one. `postgresql://user:password@host:5432/name?sslmode=require` (or `postgres://`) is what libpq makes of it.

psycopg is loaded where PostgreSQL is asked for: it costs every start 80 ms of CPU, and every process 10 MB.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from recorders.stores.base import Store
from recorders.stores.database import Database
from recorders.stores.sql import SqlStore
from recorders.stores.sqlite import SQLiteDatabase


def database_for(url: str) -> Database:
    """The database of `url`, not opened yet. Raises `ValueError` without repeating the URL: it may hold a password."""
    # libpq's form holds several hosts, IPv6 addresses among them, which newer versions of `urlsplit` refuse.
    if url.partition("://")[0].lower() in {"postgresql", "postgres"}:
        from recorders.stores.postgres import PostgresDatabase  # noqa: PLC0415 - see above

        return PostgresDatabase(url)
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "sqlite" or parts.netloc or not path or parts.query or parts.fragment:
        raise ValueError("the database URL is of neither form: sqlite:///<path>, postgresql://<host>/<name>")
    return SQLiteDatabase(path)


def store_on(database: Database) -> Store:
    """The store that writes to `database` in the way that suits it."""
    if isinstance(database, SQLiteDatabase):
        return SqlStore(database)
    from recorders.stores.postgres import PostgresDatabase  # noqa: PLC0415 - see above
    from recorders.stores.postgres_store import PostgresStore  # noqa: PLC0415

    return PostgresStore(database) if isinstance(database, PostgresDatabase) else SqlStore(database)
