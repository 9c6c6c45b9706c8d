from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.ai_providers import AiProvider, AiProviderRows, provider_id
from gateway.chat.routing import AiProviders
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.database import Database, Row, read_time
from recorders.stores.urls import database_for

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CANARY = "fake-canary-credential"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Registered:
    """The rows, their database and their clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.rows = AiProviderRows(database, clock=self.clock)

    async def raw(self) -> list[Row]:
        return await self.database.fetch("SELECT * FROM ai_providers ORDER BY name")

    async def store_key(self, provider: str, user_id: str = "u1") -> None:
        """A user's key, whose content is nobody's business here."""
        now = "2026-01-02T00:00:00.000000Z"
        await self.database.execute(
            "INSERT INTO users (id, name, role, status, is_system, created_at, updated_at) "
            "VALUES (?, ?, 'member', 'active', ?, ?, ?) ON CONFLICT DO NOTHING",
            *(user_id, user_id, False, now, now),
        )
        await self.database.execute(
            "INSERT INTO user_ai_provider_keys (id, user_id, ai_provider_id, encrypted_key, created_at, updated_at) "
            "VALUES (?, ?, ?, 'sealed', ?, ?)",
            *(f"{user_id} {provider}", user_id, provider_id(provider), now, now),
        )

    async def keys(self) -> list[str]:
        rows = await self.database.fetch("SELECT id FROM user_ai_provider_keys ORDER BY id")
        return [row["id"] for row in rows]


@pytest.fixture
async def registered(database_url: str) -> AsyncIterator[Registered]:
    """Once for each kind of database."""
    database = database_for(database_url)
    await database.open()
    yield Registered(database)
    await database.close()


def options(name: str = "openai", kind: Any = "openai", **changes: Any) -> ProviderOptions:
    return ProviderOptions(type=kind, name=name, **changes)


@pytest.mark.parametrize(
    ("given", "kind", "base_url", "region"),
    [
        (options(), "openai", "https://api.openai.com/v1/", ""),
        (options(kind="anthropic"), "anthropic", "https://api.anthropic.com/", ""),
        (options(base_url="http://proxy.test:8080/v1"), "openai", "http://proxy.test:8080/v1", ""),
        (
            options(kind="anthropic", bedrock_region="cn-north-1"),
            "bedrock",
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            options(kind="anthropic", bedrock_base_url="https://bedrock-runtime.eu-central-1.amazonaws.com"),
            "bedrock",
            "https://bedrock-runtime.eu-central-1.amazonaws.com",
            "eu-central-1",
        ),
        (
            options(kind="anthropic", bedrock_base_url="https://proxy.test/aws"),
            "bedrock",
            "https://proxy.test/aws",
            "",
        ),
    ],
)
async def test_a_row_says_where_requests_go_and_in_which_format(
    registered: Registered, given: ProviderOptions, kind: str, base_url: str, region: str
) -> None:
    """The address is the one in effect, also where nobody gave any."""
    await registered.rows.seed([given])

    found = await registered.rows.find("openai")
    assert found == AiProvider(provider_id("openai"), "openai", kind, True, base_url, region)  # type: ignore[arg-type]
    assert await registered.rows.list() == [found]


async def test_no_credential_is_in_a_row(registered: Registered) -> None:
    """Neither keys, nor what a host may have put into an address."""
    secret = (Secret(CANARY),)
    await registered.rows.seed(
        [
            options(base_url=f"https://anna:{CANARY}@proxy.test/v1?key={CANARY}#{CANARY}", keys=secret),
            options(
                "bedrock",
                "anthropic",
                bedrock_base_url=f"https://{CANARY}@proxy.test:8443/aws",
                bedrock_access_keys=secret,
                bedrock_access_key_secrets=secret,
                bedrock_model="claude-a",
                bedrock_small_fast_model="claude-b",
            ),
        ]
    )

    bedrock, openai = await registered.raw()
    assert CANARY not in f"{bedrock}{openai}"
    assert (openai["base_url"], openai["settings"]) == ("https://proxy.test/v1", "{}")
    assert bedrock["base_url"] == "https://proxy.test:8443/aws"
    assert bedrock["settings"] == '{"model":"claude-a","small_fast_model":"claude-b"}'


def test_the_id_of_a_name_is_the_same_for_ever() -> None:
    """Another one would lose all the keys that users have stored."""
    assert provider_id("openai") == "a1e9013b-7a1e-51ec-b361-e69da498a8ce"


async def test_only_what_changes_is_written(registered: Registered) -> None:
    """Each start of each worker seeds, and most of them change nothing."""
    await registered.rows.seed([options(), options("other")])
    registered.clock.now += timedelta(days=1)
    await registered.rows.seed([options(), options("other", base_url="http://other.test")])

    openai, other = await registered.raw()
    assert read_time(openai["updated_at"]) == read_time(other["created_at"]) == NOON
    assert read_time(other["updated_at"]) == NOON + timedelta(days=1)


async def test_a_provider_that_is_configured_no_longer_is_disabled_and_can_come_back(
    registered: Registered,
) -> None:
    """It keeps its ID, and with it the users' keys."""
    await registered.rows.seed([options(), options("other")])
    await registered.store_key("openai")

    await registered.rows.seed([options("other")])
    gone = await registered.rows.find("openai")
    await registered.rows.seed([options(), options("other")])
    back = await registered.rows.find("openai")

    assert gone is not None
    assert back is not None
    assert (gone.id, gone.enabled) == (back.id, False)
    assert back.enabled
    assert await registered.keys() == ["u1 openai"]


async def test_a_disabled_provider_has_a_disabled_row(registered: Registered) -> None:
    """As the operator said."""
    await registered.rows.seed([options(enabled=False)])

    assert [row.enabled for row in await registered.rows.list()] == [False]


@pytest.mark.parametrize("bedrock", [{}, {"bedrock_region": "eu-central-1"}])
async def test_keys_do_not_go_to_another_vendor_under_the_same_name(
    registered: Registered, caplog: pytest.LogCaptureFixture, bedrock: dict[str, Any]
) -> None:
    """Those of this provider are deleted, with a warning; those of others stay."""
    await registered.rows.seed([options("mine"), options("other")])
    for provider in ("mine", "other"):
        for user in ("u1", "u2"):
            await registered.store_key(provider, user)

    await registered.rows.seed([options("mine", "anthropic", **bedrock), options("other")])

    assert await registered.keys() == ["u1 other", "u2 other"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    kind = "bedrock" if bedrock else "anthropic"
    assert record.getMessage() == (
        f'provider "mine" was of type openai and is of type {kind}: the keys that users had stored for it are deleted'
    )


async def test_another_address_keeps_the_keys_and_is_told(
    registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy of the operator's own is theirs to choose; another path at the same host is no news."""
    caplog.set_level(logging.INFO, "ai_gateway.ai_providers")
    await registered.rows.seed([options()])
    await registered.store_key("openai")

    await registered.rows.seed([options(base_url="https://api.openai.com/v2")])
    await registered.rows.seed([options(base_url="https://proxy.test/v2")])

    assert await registered.keys() == ["u1 openai"]
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert '"openai" is at another host now' in record.getMessage()


async def test_replicas_that_seed_at_once_make_each_row_once(database_url: str) -> None:
    """With the same providers in another order, over a configuration of before."""
    names = [f"p{number}" for number in range(20)]
    databases = [database_for(database_url) for _ in range(3)]
    for database in databases:
        await database.open()
    await AiProviderRows(databases[0]).seed(options(name, "anthropic") for name in names[::3])

    await asyncio.gather(
        *(
            AiProviderRows(database).seed(options(name) for name in order)
            for database in databases
            for order in (names, names[::-1])
        )
    )

    rows = await AiProviderRows(databases[0]).list()
    assert sorted((row.name, row.id, row.type) for row in rows) == sorted(
        (name, provider_id(name), "openai") for name in names
    )
    for database in databases:
        await database.close()


async def test_what_a_database_that_was_away_did_not_take_is_written_before_a_row_is_read(
    registered: Registered,
) -> None:
    """Until then nobody gets the old row: it could lead a key to another vendor."""
    await registered.rows.seed([options()])
    await registered.store_key("openai")
    await registered.database.close()
    with pytest.raises(StoreError):
        await registered.rows.seed([options(kind="anthropic")])
    with pytest.raises(StoreError):
        await registered.rows.find("openai")

    await registered.database.open()
    providers: AiProviders = registered.rows
    found = await providers.find("openai")

    assert found is not None
    assert found.type == "anthropic"
    assert await registered.keys() == []


@pytest.mark.parametrize("name", ["", "nobody", "openai\x00", "\ud800", "OpenAI", "openai "])
async def test_a_name_that_no_row_has_finds_none(registered: Registered, name: str) -> None:
    """Whatever a model call may name."""
    await registered.rows.seed([options()])

    assert await registered.rows.find(name) is None


async def test_what_is_missing_can_be_added_without_touching_the_rest(registered: Registered) -> None:
    """A command knows less of the configuration than what serves."""
    await registered.rows.seed([options(), options("other")])

    await registered.rows.add_missing([options(kind="anthropic", enabled=False), options("new")])
    await registered.rows.add_missing([options("new", "copilot")])

    rows = await registered.rows.list()
    assert [(row.name, row.type, row.enabled) for row in rows] == [
        ("new", "openai", True),
        ("openai", "openai", True),
        ("other", "openai", True),
    ]
