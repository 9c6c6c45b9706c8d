"""Which combinations of provider, instance, model and client there are. A combination is called a stratum.

They are few where records are many, and an index holds each stratum's records in the order of time. So they are
found by leaping through that index from one to the next, and a filter on any of the four (or several that seldom
meet) becomes a walk over a few strata that holds nothing but what was asked for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.history.filters import DIMENSIONS
from recorders.stores.database import Database, Statement, Value

MAX_STRATA: Final = 1000
"""Model names are the clients' own words, so there can be any number of them."""


class Stratum(NamedTuple):
    provider: str
    provider_name: str
    model: str
    client: str


async def find_strata(database: Database, initiator_id: str | None = None) -> list[Stratum]:
    """All of them, or one user's; when there are more than MAX_STRATA, that many and one."""
    query = strata_query(initiator_id)
    rows = await database.fetch(query.sql, *query.parameters)
    return [Stratum(*(row[name] for name in DIMENSIONS)) for row in rows]


def strata_query(initiator_id: str | None) -> Statement:
    whose = "" if initiator_id is None else "n.initiator_id = ? AND "
    levels = ", ".join(_level(depth, whose) for depth in range(len(DIMENSIONS)))
    columns = ", ".join(DIMENSIONS)
    sql = f"WITH RECURSIVE {levels} SELECT {columns} FROM level_3 WHERE client IS NOT NULL LIMIT ?"  # noqa: S608
    places = 0 if initiator_id is None else 2 * len(DIMENSIONS)
    parameters: tuple[Value, ...] = (*([initiator_id] * places), MAX_STRATA + 1)
    return Statement(sql, parameters)


def _level(depth: int, whose: str) -> str:
    """For each way to the level above, the least value of this column there, and from each value the next."""
    column, above = DIMENSIONS[depth], DIMENSIONS[:depth]
    name, outer = f"level_{depth}", f"level_{depth - 1}"
    first_from = f" FROM {outer} WHERE {outer}.{above[-1]} IS NOT NULL" if above else ""
    first = [*(f"{outer}.{up}" for up in above), f"({_least(column, above, outer, whose, '')})"]
    following = f" AND n.{column} > {name}.{column}"
    step = [*(f"{name}.{up}" for up in above), f"({_least(column, above, name, whose, following)})"]
    return (
        f"{name} ({', '.join((*above, column))}) AS (SELECT {', '.join(first)}{first_from} UNION ALL "  # noqa: S608
        f"SELECT {', '.join(step)} FROM {name} WHERE {name}.{column} IS NOT NULL)"
    )


def _least(column: str, above: tuple[str, ...], way: str, whose: str, following: str) -> str:
    """Read from the index without touching what it leaps over."""
    same = "".join(f" AND n.{up} = {way}.{up}" for up in above)
    return (
        f"SELECT MIN(n.{column}) FROM aibridge_interceptions AS n "  # noqa: S608
        f"WHERE {whose}n.{column} IS NOT NULL{same}{following}"
    )
