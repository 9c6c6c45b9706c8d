"""Which database a URL means. The one place that knows all kinds of them.

`sqlite:///data/gateway.db` is a path relative to the working directory, `sqlite:////var/lib/gateway.db` an absolute
one.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from recorders.stores.database import Database
from recorders.stores.sqlite import SQLiteDatabase


def database_for(url: str) -> Database:
    """The database of `url`, not opened yet. Raises `ValueError` without repeating the URL: it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme in {"postgresql", "postgres"}:
        raise ValueError("PostgreSQL is not supported by this version: use sqlite:///<path>")
    path = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "sqlite" or parts.netloc or not path or parts.query or parts.fragment:
        raise ValueError("the database URL is not of the form sqlite:///<path>")
    return SQLiteDatabase(path)
