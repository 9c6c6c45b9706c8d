"""The order of pages, and the query that makes them.

Interceptions come newest first, by start and then by ID. A session stands where its first interception stands, of
those that the filters let through: a session that goes on doesn't move, and what is new comes before the first page.
So no session is skipped or doubled while pages are turned and records are added. (What can move a session is a
record that arrives late and is older than all of the session that were there.) Sessions are told apart by user and
ID, because clients choose the ID.

A page begins after a position, which an index finds; so does the question whether an interception is its session's
first. What is read in vain is at most the later interceptions of the sessions that are passed.

Habits of planners are met here. `OFFSET 0` keeps PostgreSQL from turning the question into a join with the whole
table, as it likes to when many rows are asked for. The strata of a filter are arms of a UNION ALL, because an OR or an
IN would be read whole and sorted. Both databases merge arms as they read them, and read no more than the page needs:
PostgreSQL if each arm has an order and a limit of its own, SQLite only if it has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.history.filters import Condition, Filters, all_of
from gateway.history.strata import MAX_STRATA, Stratum, find_strata
from recorders.stores.database import Database, Row, Statement, time_value
from recorders.stores.sqlite import SQLiteDatabase

MAX_ARMS: Final = 48
"""With more strata than this the records are walked by time and looked at one by one: so many are not rare."""

_ORDER: Final = "ORDER BY started_at DESC, id DESC"

NEWEST: Final = ("9999-12-31T23:59:59.999999Z", "~")
"""A position before all others, for the first page."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where an interception stands."""

    started_at: datetime
    id: str

    @property
    def key(self) -> tuple[str, str]:
        return time_value(self.started_at), self.id


@dataclass(frozen=True, slots=True)
class Page:
    """`sessions` is whether only the first interception of each session counts."""

    filters: Filters
    limit: int
    after: Position | None = None
    offset: int = 0
    sessions: bool = False


async def walk(database: Database, page: Page) -> list[Row]:
    """The interceptions of a page, with `session_id`, `initiator_id` and `metadata`."""
    filters = page.filters
    arms: Sequence[Stratum] | None = None
    if filters.dimensions and filters.session_id is None:
        found = await find_strata(database, filters.initiator_id)
        arms = [stratum for stratum in found if stratum.fits(filters)]
        if len(found) > MAX_STRATA or len(arms) > MAX_ARMS:
            arms = None
        elif not arms:
            return []
    query = page_query(page, arms, bare=isinstance(database, SQLiteDatabase))
    return await database.fetch(query.sql, *query.parameters)


def page_query(page: Page, arms: Sequence[Stratum] | None, *, bare: bool) -> Statement:
    """`arms` are the strata of the filters, None when there are none or too many; `bare`: for SQLite."""
    if arms is None:
        narrowed = [page.filters.conditions("i")]
    else:
        of_a_user = page.filters.initiator_id is not None
        narrowed = [[*page.filters.bounds("i"), one.condition("i", of_a_user=of_a_user)] for one in arms]
    found = [_arm(page, conditions) for conditions in narrowed]
    if not bare:
        found = [_ordered(page, arm, number) for number, arm in enumerate(found)]
    union = " UNION ALL ".join(arm.sql for arm in found)
    values = [value for arm in found for value in arm.parameters]
    return Statement(f"{union} {_ORDER} LIMIT ? OFFSET ?", (*values, page.limit, page.offset))


def _arm(page: Page, conditions: Sequence[Condition]) -> Statement:
    where = all_of([*conditions, *_beyond(page)])
    columns = "i.started_at, i.id, i.session_id, i.initiator_id, i.metadata"
    return Statement(f"SELECT {columns} FROM aibridge_interceptions AS i WHERE {where.sql}", where.parameters)  # noqa: S608


def _ordered(page: Page, arm: Statement, number: int) -> Statement:
    inner = f"({arm.sql} {_ORDER} LIMIT ?) AS arm_{number}"
    return Statement(f"SELECT * FROM {inner}", (*arm.parameters, page.limit + page.offset))  # noqa: S608


def _beyond(page: Page) -> list[Condition]:
    key = NEWEST if page.after is None else page.after.key
    beyond = [Condition("(i.started_at, i.id) < (?, ?)", key)]
    return [*beyond, _first_of_session(page.filters)] if page.sessions else beyond


def _first_of_session(filters: Filters) -> Condition:
    earlier = [
        Condition("e.session_id = i.session_id", ()),
        Condition("e.initiator_id = i.initiator_id", ()),
        Condition("(e.started_at, e.id) < (i.started_at, i.id)", ()),
        *filters.conditions("e"),
    ]
    where = all_of(earlier)
    sql = f"NOT EXISTS (SELECT 1 FROM aibridge_interceptions AS e WHERE {where.sql} LIMIT 1 OFFSET 0)"  # noqa: S608
    return Condition(sql, where.parameters)
