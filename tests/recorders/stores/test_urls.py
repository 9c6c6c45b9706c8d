from __future__ import annotations

from pathlib import Path

import pytest

from recorders.stores.urls import database_for


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
        "postgresql://anna:hunter2@db/x",
        "hunter2",
    ],
)
def test_any_other_url_is_refused_without_being_repeated(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match="sqlite:///<path>") as caught:
        database_for(url)

    assert "hunter2" not in str(caught.value)
