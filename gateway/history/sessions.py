"""The list of sessions, newest first; `walk` says what their order is.

A page costs the walk and two more queries: the interceptions of the sessions shown, added up, and the first prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.history.answers import Session, SessionCursor, SessionPage, Tokens
from gateway.history.filters import Condition, Filters, all_of
from gateway.history.rows import TOKEN_SUMS, instance, marks, of_interceptions, person, tokens
from gateway.history.walk import Page, Position, walk
from recorders.stores.database import Database, Row, read_time, read_time_or_none

PROMPT_CHARACTERS: Final = 200

_GROUP: Final = "i.session_id, i.initiator_id, i.provider, i.provider_name, i.model, i.client"


class UnknownCursor(ValueError):
    """A page was asked for that begins after something that isn't there; the text says after what."""


class SharedSessionID(ValueError):
    """Several users have a session of the ID, so that it says no position alone."""


async def list_sessions(
    database: Database,
    filters: Filters,
    *,
    limit: int = 100,
    offset: int = 0,
    after: SessionCursor | None = None,
) -> SessionPage:
    """Raises `UnknownCursor` and `SharedSessionID`. An empty `after_initiator` leaves it to the ID."""
    position = None if after is None else await _position(database, filters, after)
    rows = await walk(database, Page(filters, limit + 1, position, offset, sessions=True))
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        last = shown[-1]
        following = SessionCursor(after_session_id=last["session_id"], after_initiator=last["initiator_id"])
    return SessionPage(sessions=await _sessions(database, shown), next=following)


async def _position(database: Database, filters: Filters, cursor: SessionCursor) -> Position:
    """Where the session stands; of one that became part of another since, where its interception stands."""
    whose = filters if filters.initiator_id or not cursor.after_initiator else _of(filters, cursor)
    where = all_of([*whose.conditions("i"), Condition("i.session_id = ?", (cursor.after_session_id,))])
    rows = await database.fetch(
        f"SELECT i.started_at, i.id, i.initiator_id FROM aibridge_interceptions AS i "  # noqa: S608
        f"WHERE {where.sql} AND i.started_at IS NOT NULL ORDER BY i.started_at, i.id LIMIT 1",
        *where.parameters,
    )
    if not rows:
        return await position_of(database, whose.initiator_id, cursor.after_session_id, "session")
    if whose.initiator_id is None and await _is_shared(database, cursor.after_session_id, rows[0]):
        raise SharedSessionID
    return Position(read_time(rows[0]["started_at"]), rows[0]["id"])


async def position_of(
    database: Database, initiator_id: str | None, interception_id: str, what: str
) -> Position:
    """Where an interception stands. Raises `UnknownCursor`, also for an interception of another user."""
    rows = await database.fetch(
        "SELECT started_at, initiator_id FROM aibridge_interceptions WHERE id = ? AND started_at IS NOT NULL",
        interception_id,
    )
    if not rows or initiator_id not in (None, rows[0]["initiator_id"]):
        raise UnknownCursor(f"there is no such {what}")
    return Position(read_time(rows[0]["started_at"]), interception_id)


def _of(filters: Filters, cursor: SessionCursor) -> Filters:
    return replace(filters, initiator_id=cursor.after_initiator)


async def _is_shared(database: Database, session_id: str, row: Row) -> bool:
    others = await database.fetch(
        "SELECT 1 FROM aibridge_interceptions WHERE session_id = ? AND initiator_id <> ? LIMIT 1",
        *(session_id, row["initiator_id"]),
    )
    return bool(others)


async def _sessions(database: Database, first: Sequence[Row]) -> list[Session]:
    """The sessions that begin with these interceptions, in the same order."""
    if not first:
        return []
    ids = sorted({row["session_id"] for row in first})
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in await database.fetch(
        f"""
        SELECT {_GROUP}, MIN(i.started_at) AS started_at, MAX(i.started_at) AS last_started_at,
               MAX(i.ended_at) AS ended_at, COUNT(DISTINCT i.id) AS interceptions,
               COUNT(DISTINCT CASE WHEN i.thread_root_id IS NULL THEN i.id END) AS threads, {TOKEN_SUMS}
        FROM aibridge_interceptions AS i
        LEFT JOIN aibridge_token_usages AS u ON u.interception_id = i.id
        WHERE i.session_id IN ({marks(ids)}) AND i.started_at IS NOT NULL
        GROUP BY {_GROUP} ORDER BY {_GROUP}
        """,  # noqa: S608
        *ids,
    ):
        parts.setdefault((row["session_id"], row["initiator_id"]), []).append(row)
    prompts = await of_interceptions(
        database,
        "aibridge_user_prompts",
        f"substr(prompt, 1, {PROMPT_CHARACTERS}) AS prompt",
        [row["id"] for row in first],
    )
    return [
        _session(row, parts[key], prompts.get(row["id"], ()))
        for row in first
        if (key := (row["session_id"], row["initiator_id"])) in parts  # else it was purged just now
    ]


def _session(first: Row, parts: Sequence[Row], prompts: Sequence[Row]) -> Session:
    ends = [time for part in parts if (time := read_time_or_none(part["ended_at"])) is not None]
    return Session(
        id=first["session_id"],
        initiator=person(first),
        started_at=min(read_time(part["started_at"]) for part in parts),
        last_started_at=max(read_time(part["last_started_at"]) for part in parts),
        ended_at=max(ends, default=None),
        interceptions=sum(part["interceptions"] for part in parts),
        threads=sum(part["threads"] for part in parts),
        providers=list({(one := instance(part)).name: one for part in parts}.values()),
        models=sorted({part["model"] for part in parts}),
        clients=sorted({part["client"] for part in parts}),
        token_usage=sum((tokens(part) for part in parts), Tokens()),
        first_prompt=prompts[0]["prompt"] if prompts else None,
    )
