"""The house, on SQLite and on PostgreSQL; and on SQLite alone, where the database makes no difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.api.house import House, house_at


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(database_url, tmp_path) as house:
        yield house


@pytest.fixture
async def small_house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(f"sqlite:///{tmp_path}/gateway.db", tmp_path) as house:
        yield house
