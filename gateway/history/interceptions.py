"""The list of interceptions, newest first, and what was ever asked for: models, clients, providers."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.history.answers import (
    Clients,
    Interception,
    InterceptionCursor,
    InterceptionPage,
    Models,
    ProviderInstance,
    Providers,
    Tokens,
)
from gateway.history.filters import Filters
from gateway.history.rows import instance, json_object, marks, person, token_sums
from gateway.history.sessions import position_of
from gateway.history.strata import MAX_STRATA, find_strata
from gateway.history.walk import Page, walk
from recorders.stores.database import Database, Row, read_time, read_time_or_none


async def list_interceptions(
    database: Database, filters: Filters, *, limit: int = 100, after: InterceptionCursor | None = None
) -> InterceptionPage:
    """Raises `UnknownCursor`."""
    position = None
    if after is not None:
        position = await position_of(database, filters.initiator_id, after.after_id, "interception")
    found = await walk(database, Page(filters, limit + 1, position))
    ids = [row["id"] for row in found[:limit]]
    following = InterceptionCursor(after_id=ids[-1]) if len(found) > limit else None
    return InterceptionPage(interceptions=await _interceptions(database, ids), next=following)


async def list_models(database: Database, initiator_id: str | None = None) -> Models:
    found = await find_strata(database, initiator_id)
    return Models(models=sorted({one.model for one in found}), complete=len(found) <= MAX_STRATA)


async def list_clients(database: Database, initiator_id: str | None = None) -> Clients:
    found = await find_strata(database, initiator_id)
    return Clients(clients=sorted({one.client for one in found}), complete=len(found) <= MAX_STRATA)


async def list_providers(database: Database, initiator_id: str | None = None) -> Providers:
    found = await find_strata(database, initiator_id)
    pairs = sorted({(one.provider_name, one.provider) for one in found})
    return Providers(
        providers=[ProviderInstance(type=type_name, name=name) for name, type_name in pairs],
        complete=len(found) <= MAX_STRATA,
    )


async def _interceptions(database: Database, ids: Sequence[str]) -> list[Interception]:
    if not ids:
        return []
    rows = await database.fetch(f"SELECT * FROM aibridge_interceptions WHERE id IN ({marks(ids)})", *ids)  # noqa: S608
    by_id = {row["id"]: row for row in rows}
    usage = await token_sums(database, ids)
    return [_interception(by_id[one], usage.get(one, Tokens())) for one in ids if one in by_id]


def _interception(row: Row, usage: Tokens) -> Interception:
    return Interception(
        id=row["id"],
        session_id=row["session_id"],
        initiator=person(row),
        api_key_id=row["api_key_id"],
        provider=instance(row),
        model=row["model"],
        client=row["client"],
        client_session_id=row["client_session_id"],
        thread_root_id=row["thread_root_id"],
        thread_parent_id=row["thread_parent_id"],
        correlating_tool_call_id=row["correlating_tool_call_id"],
        credential_kind=row["credential_kind"],
        credential_hint=row["credential_hint"] or "",
        started_at=read_time(row["started_at"]),
        ended_at=read_time_or_none(row["ended_at"]),
        outcome=row["outcome"],
        status=row["status"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        token_usage=usage,
        metadata=json_object(row["metadata"]),
    )
