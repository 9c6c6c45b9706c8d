"""The rows of `ai_providers`: the configured instances as chats and users' own keys refer to them, without any secret.

The configuration is where instances come from. Whoever serves writes it down here at start and after a reload
(`AiProviderRows.seed`). A row's ID is made of the instance's name, so it is the same after a restart, on another
database, and from each of several replicas that write at once. A row is never deleted, because keys refer to it: an
instance that is configured no longer is disabled.

The base URL is where requests of the instance go, also where the configuration leaves that to its type or region.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid5

import msgspec

from gateway.accounts import utc_now
from providers.bedrock.provider import base_url_of, region_of
from providers.options import INSTANCE_NAME, ProviderOptions
from providers.registry import PROVIDER_TYPES
from recorders.stores.database import Database, Row, Statement, time_value

log = logging.getLogger("ai_gateway.ai_providers")

ProviderKind: TypeAlias = Literal["openai", "anthropic", "bedrock", "copilot"]
"""`bedrock` is an instance of type anthropic that reaches its models through Amazon Bedrock. Anything that speaks
OpenAI's format is `openai`."""

ID_NAMESPACE: Final = UUID("6f0c9a4e-5d0b-5e53-9c0a-1f6d8a7b2e41")
"""Ours alone. Another one would give every instance another ID, and users' keys would be lost to them."""


@dataclass(frozen=True, slots=True)
class AiProvider:
    """A row of `ai_providers`: a configured instance, without any credential."""

    id: str
    name: str
    type: ProviderKind
    enabled: bool
    base_url: str
    region: str = ""
    """Of Bedrock; empty where only AWS's own configuration tells it."""


class _Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the column `settings` holds, as JSON."""

    region: str = ""
    model: str = ""
    small_fast_model: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A row as it should be."""

    provider: AiProvider
    settings: str


_COLUMNS: Final = "id, name, type, enabled, base_url, settings"
_INSERT: Final = f"""
    INSERT INTO ai_providers ({_COLUMNS}, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""  # noqa: S608
_UPDATE: Final = """
    UPDATE ai_providers SET type = ?, enabled = ?, base_url = ?, settings = ?, updated_at = ?
    WHERE name = ? AND (type <> ? OR enabled <> ? OR base_url <> ? OR settings <> ?)
"""
_FORGET_KEYS: Final = """
    DELETE FROM user_ai_provider_keys
    WHERE ai_provider_id IN (SELECT id FROM ai_providers WHERE name = ? AND type <> ?)
"""


class AiProviderRows:
    """The rows in `database`. Every method raises `StoreError` while they can't be read or written."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._unwritten: tuple[ProviderOptions, ...] | None = None
        self._writing = asyncio.Lock()

    async def find(self, name: str) -> AiProvider | None:
        """The row of that name, enabled or not. What the last `seed` couldn't write is written first."""
        await self._write_down()
        if not INSTANCE_NAME.fullmatch(name):
            return None
        rows = await self._database.fetch(f"SELECT {_COLUMNS} FROM ai_providers WHERE name = ?", name)  # noqa: S608
        return _provider(rows[0]) if rows else None

    async def list(self) -> Sequence[AiProvider]:
        """All rows by name, those too that are configured no longer."""
        return [row.provider for row in await self._rows()]

    async def seed(self, options: Iterable[ProviderOptions]) -> None:
        """Make the rows those of `options`: all at once, and only what differs is written.

        Keys that users stored for an instance are deleted when it becomes one of another type: they would go to
        another vendor. Another address is the operator's own business and leaves them.
        """
        self._unwritten = tuple(options)
        await self._write_down()

    async def add_missing(self, options: Iterable[ProviderOptions]) -> None:
        """Rows for those of `options` that have none. Others stay as they are: what serves knows them better."""
        existing = {row.provider.name for row in await self._rows()}
        missing = [_wanted(given) for given in options if given.name not in existing]
        if missing:
            now = time_value(self._clock())
            await self._database.transaction(_insertion(one, now) for one in missing)

    async def _write_down(self) -> None:
        """What is to be written: the latest, by one task at a time."""
        if self._unwritten is None:
            return
        async with self._writing:
            options = self._unwritten
            if options is not None:
                await self._make(options)
            if self._unwritten is options:
                self._unwritten = None

    async def _make(self, options: Iterable[ProviderOptions]) -> None:
        wanted = {given.name: _wanted(given) for given in options}
        existing = {row.provider.name: row for row in await self._rows()}
        gone = {name: _disabled(row) for name, row in existing.items() if name not in wanted}
        changed = [one for name, one in sorted((gone | wanted).items()) if existing.get(name) != one]
        if changed:
            await self._write(changed)
        for one in changed:
            _tell(existing.get(one.provider.name), one.provider)

    async def _rows(self) -> Sequence[_Wanted]:
        rows = await self._database.fetch(f"SELECT {_COLUMNS} FROM ai_providers ORDER BY name")  # noqa: S608
        return [_Wanted(_provider(row), row["settings"]) for row in rows]

    async def _write(self, changed: Sequence[_Wanted]) -> None:
        """Each statement looks again, because another replica may be doing the same; their order, by name, is what
        keeps two of them from waiting for each other."""
        now = time_value(self._clock())
        await self._database.transaction(
            [statement for one in changed for statement in _statements(one, now)]
        )


def provider_id(name: str) -> str:
    """The ID of the row of the instance `name`, wherever and whenever it is made."""
    return str(uuid5(ID_NAMESPACE, name))


def _statements(wanted: _Wanted, now: str) -> Iterator[Statement]:
    one = wanted.provider
    values = (one.type, one.enabled, one.base_url, wanted.settings)
    yield _insertion(wanted, now)
    yield Statement(_FORGET_KEYS, (one.name, one.type))
    yield Statement(_UPDATE, (*values, now, one.name, *values))


def _insertion(wanted: _Wanted, now: str) -> Statement:
    one = wanted.provider
    return Statement(
        _INSERT, (one.id, one.name, one.type, one.enabled, one.base_url, wanted.settings, now, now)
    )


def _wanted(given: ProviderOptions) -> _Wanted:
    if given.on_bedrock:
        base_url = _public(given.bedrock_base_url or base_url_of(given.bedrock_region))
        region = given.bedrock_region or region_of(urlsplit(base_url).hostname or "")
        details = _Details(
            region=region, model=given.bedrock_model, small_fast_model=given.bedrock_small_fast_model
        )
        kind: ProviderKind = "bedrock"
    else:
        base_url = _public(given.base_url or PROVIDER_TYPES[given.type].default_base_url)
        region, details, kind = "", _Details(), given.type
    provider = AiProvider(provider_id(given.name), given.name, kind, given.enabled, base_url, region)
    return _Wanted(provider, msgspec.json.encode(details).decode())


def _public(base_url: str) -> str:
    """Without what can hold a credential. The settings take none there; a host that makes its options itself may."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _disabled(row: _Wanted) -> _Wanted:
    return replace(row, provider=replace(row.provider, enabled=False))


def _provider(row: Row) -> AiProvider:
    details = msgspec.json.decode(row["settings"], type=_Details)
    return AiProvider(
        row["id"], row["name"], row["type"], bool(row["enabled"]), row["base_url"], details.region
    )


def _tell(before: _Wanted | None, now: AiProvider) -> None:
    """What an operator may not have thought of."""
    if before is None:
        return
    if before.provider.type != now.type:
        log.warning(
            'provider "%s" was of type %s and is of type %s: the keys that users had stored for it are deleted',
            *(now.name, before.provider.type, now.type),
        )
    elif urlsplit(before.provider.base_url).hostname != urlsplit(now.base_url).hostname:
        log.info(
            'provider "%s" is at another host now: users\' own keys that are stored for it go there', now.name
        )
