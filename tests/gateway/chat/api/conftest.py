"""A chat service with a scripted model, and a client of its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from recorders.stores.urls import database_for
from tests.gateway.chat.api.client import Client
from tests.gateway.chat.stage import Stage


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    database = database_for(database_url)
    await database.open()
    stage = await Stage.on(database)
    async with stage.service.running():
        yield stage
    await database.close()


@pytest.fixture
def client(stage: Stage) -> Client:
    return Client(stage.service)
