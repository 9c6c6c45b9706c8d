from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.recorders.stores.kept import Kept


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[Kept]:
    """An open store with nothing in it, once for each kind of database."""
    kept = Kept(database_url)
    await kept.store.open()
    yield kept
    await kept.store.close()
