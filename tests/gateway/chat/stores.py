"""A store of chats, the accounts whose keys it refers to, and a second gateway on the same database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.accounts import Accounts
from gateway.chat.content import Text
from gateway.chat.routing.requests import ModelName
from gateway.chat.store import Chat, ChatStore, NewMessage
from recorders.stores.database import Database
from recorders.stores.urls import database_for

MODEL = ModelName("anthropic", "claude-sonnet-4-5")
OWNER = "0190f000-0000-7000-8000-000000000001"
LEASE = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Chats:
    """What a test has: the store, another process' store, keys, and the clock of all."""

    def __init__(self, database: Database, other: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.accounts = Accounts(database, clock=self.clock)
        self.store = ChatStore(database, clock=self.clock)
        self.other = ChatStore(other, clock=self.clock)

    def of_another_authority(self) -> ChatStore:
        return ChatStore(self.database, keys_elsewhere=True, clock=self.clock)

    async def chat(self, owner_id: str = OWNER, api_key_id: str | None = None, **given: Any) -> Chat:
        return await self.store.create_chat(
            owner_id=owner_id, owner_name="anna", model=MODEL, api_key_id=api_key_id, **given
        )

    async def running(self, runner_id: str = "runner", api_key_id: str | None = None) -> Chat:
        """A chat that `runner_id` has until the lease ends."""
        chat = await self.chat(api_key_id=api_key_id)
        assert await self.store.claim(chat.id, runner_id, self.lease())
        return chat

    def lease(self) -> datetime:
        return self.clock.now + LEASE

    async def key(self, user: str = "anna") -> str:
        """The ID of a new key of a user, who is created with the first."""
        if user not in {known.name for known in await self.accounts.list_users()}:
            await self.accounts.create_user(user)
        return (await self.accounts.create_key(user)).key.id


@asynccontextmanager
async def chats_at(url: str) -> AsyncIterator[Chats]:
    async with AsyncExitStack() as opened:
        databases = [database_for(url), database_for(url)]
        for database in databases:
            await database.open()
            opened.push_async_callback(database.close)
        yield Chats(*databases)


def said(text: str, api_key_id: str | None = None, **given: Any) -> NewMessage:
    """A user's message."""
    return NewMessage("user", (Text(text),), api_key_id=api_key_id, **given)
