from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recorders.stores.postgres import PostgresDatabase
from recorders.stores.postgres_store import PostgresStore
from recorders.stores.sql import SqlStore
from recorders.stores.urls import database_for, store_on


async def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everybody writes SQLite URLs."""
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///data/a%20b.db", f"sqlite:///{tmp_path}/c.db"):
        database = database_for(url)
        await database.open()
        await database.close()

    assert (tmp_path / "data" / "a b.db").exists()
    assert (tmp_path / "c.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite://data/x.db",
        "sqlite:///x.db?mode=ro",
        "mysql://anna:hunter2@db/x",
        "postgresql://anna:hunter2@db/x?hunter2=hunter2",
        "hunter2",
    ],
)
def test_any_other_url_is_refused_without_being_repeated(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match=r"sqlite:///<path>|the PostgreSQL URL") as caught:
        database_for(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_either_name_of_postgresql_will_do_and_its_store_suits_it(scheme: str) -> None:
    """Hosting companies hand out both."""
    database = database_for(f"{scheme}://anna:hunter2@db.example:5433,[::1]/x?sslmode=require")

    assert isinstance(database, PostgresDatabase)
    assert isinstance(store_on(database), PostgresStore)
    assert isinstance(store_on(database_for("sqlite:///x.db")), SqlStore)


def test_psycopg_is_loaded_for_postgresql_alone() -> None:
    """Whoever keeps to SQLite doesn't wait for it at each start, and has no room taken by it."""
    program = """
import sys
from recorders.stores.urls import database_for, store_on
store_on(database_for("sqlite:///x.db"))
sys.exit("psycopg" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
