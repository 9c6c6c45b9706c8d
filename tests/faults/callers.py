"""Users with keys of their own in a database, as an operator makes them: for scenarios in which keys are looked up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.accounts import Accounts
from providers.secret import Secret
from recorders.stores.urls import database_for


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the headers that say so."""

    name: str
    key_id: str
    token: Secret

    @property
    def headers(self) -> dict[str, str]:
        token = self.token.reveal_secret_value()
        return {"authorization": f"Bearer {token}", "content-type": "application/json"}


class Callers:
    """Makes them and revokes their keys, past the gateway."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._made = 0

    async def new(self) -> Caller:
        """A user whom no gateway has seen yet."""
        name = f"user{self._made}"
        self._made += 1
        await self._accounts.create_user(name)
        made = await self._accounts.create_key(name)
        return Caller(name, made.key.id, made.token)

    async def revoke(self, caller: Caller) -> None:
        await self._accounts.revoke_key(caller.key_id)


@asynccontextmanager
async def callers_in(url: str) -> AsyncIterator[Callers]:
    """The database is made if need be. The connection is the block's, so the database should stay for as long."""
    database = database_for(url)
    await database.open()
    try:
        yield Callers(Accounts(database))
    finally:
        await database.close()
