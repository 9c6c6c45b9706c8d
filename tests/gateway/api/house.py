"""A gateway on a database of its own, with a person of each role, and what some of them did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gateway.accounts import Accounts
from gateway.app import Gateway, create_app
from gateway.sealed_keys import new_encryption_key
from gateway.settings import GatewayOptions, Settings
from middleware.exchange import Role
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.records import InterceptionStart, Record
from tests.asgi import Drive, call, http_scope
from tests.recorders import samples
from tests.recorders.samples import NOON

PREFIX = "/api/v2/ai-gateway"
BAD_TOKEN = "AAAAAAAAAA-" + "x" * 24


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    name: str
    token: str
    key_id: str


class House:
    """Asks as anybody, and records as if somebody had called."""

    def __init__(self, app: Gateway, accounts: Accounts) -> None:
        self.app = app
        self.accounts = accounts
        self.people: dict[str, Member] = {}

    async def add(self, name: str, role: Role) -> Member:
        user = await self.accounts.create_user(name, role)
        new = await self.accounts.create_key(name)
        self.people[name] = Member(user.id, name, new.token.reveal_secret_value(), new.key.id)
        return self.people[name]

    async def ask(
        self,
        target: str,
        *,
        token: str | None,
        method: str = "GET",
        body: bytes = b"",
        prefix: str = PREFIX,
        **scope: Any,
    ) -> Drive:
        headers = [("authorization", f"Bearer {token}")] if token else []
        return await call(self.app, http_scope(method, prefix + target, headers=headers, **scope), body)

    async def get(self, target: str, name: str = "audrey") -> Any:
        """The answer that somebody gets, which must be one."""
        answer = await self.ask(target, token=self.people[name].token)
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body)

    async def refused(self, target: str, name: str = "audrey", *, status: int = 400) -> str:
        """The message of the error that somebody gets."""
        answer = await self.ask(target, token=self.people[name].token)
        assert answer.status == status, answer.body
        message: str = msgspec.json.decode(answer.body)["message"]
        return message

    async def record(self, records: Iterable[Record]) -> None:
        await self.app.store.write(list(records))

    def started(
        self, interception_id: str, minute: float = 0, *, by: str = "mia", **changes: Any
    ) -> InterceptionStart:
        """The start of an interception, so many minutes after noon."""
        person = self.people[by]
        known = {
            "initiator_id": person.id,
            "api_key_id": person.key_id,
            "metadata": {"username": person.name},
        }
        return samples.start(interception_id, started_at=at(minute), **known | changes)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


@asynccontextmanager
async def house_at(database_url: str, folder: object, **changes: Any) -> AsyncIterator[House]:
    """`audrey` is an auditor, `adam` an admin, `mia` and `max` are members; `openai` is a provider."""
    options = GatewayOptions(
        database_url=Secret(database_url),
        journal_dir=f"{folder}/journal",
        retention_s=0,
        providers=(ProviderOptions(type="openai", name="openai"),),
        **{"user_key_encryption_keys": (new_encryption_key(),), **changes},
    )
    app = create_app(Settings(gateway=options))
    async with app.lifespan():
        assert app.database is not None
        house = House(app, Accounts(app.database))
        await house.add("audrey", "auditor")
        await house.add("adam", "admin")
        await house.add("mia", "member")
        await house.add("max", "member")
        yield house
