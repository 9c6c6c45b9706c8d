"""Which combinations of provider, instance, client and model there are. A combination is called a stratum.

They are few where records are many, and an index holds each stratum's records in the order of time. So they are
found by leaping through that index from one to the next, and a filter on any of the four (or several that seldom
meet) becomes a walk over a few strata that holds nothing but what was asked for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.history.filters import Condition, Filters
from recorders.stores.database import Database, Statement

MAX_STRATA: Final = 1000
"""Model names are the clients' own words, so there can be any number of them."""

_OF_ALL: Final = "|"
_OF_A_USER: Final = ":"
"""What stands between the parts of the expression, in each of the two indexes of `0004_history.sql`."""


class Stratum(NamedTuple):
    """In the order of the indexed expression."""

    provider: str
    provider_name: str
    client: str
    model: str

    def condition(self, alias: str, *, of_a_user: bool) -> Condition:
        """`of_a_user`: beside a condition on `initiator_id`."""
        between = _OF_A_USER if of_a_user else _OF_ALL
        return Condition(f"{_indexed(alias, between)} = ?", (between.join(self),))

    def fits(self, filters: Filters) -> bool:
        return all(getattr(self, name) == value for name, value in filters.dimensions.items())


async def find_strata(database: Database, initiator_id: str | None = None) -> list[Stratum]:
    """All of them, or one user's; when there are more than MAX_STRATA, that many and one."""
    query = strata_query(initiator_id)
    rows = await database.fetch(query.sql, *query.parameters)
    return [Stratum(*row["stratum"].split(_between(initiator_id), 3)) for row in rows]


def strata_query(initiator_id: str | None) -> Statement:
    """From each stratum to the least that is greater, until there is none."""
    whose = "" if initiator_id is None else "AND i.initiator_id = ?"
    indexed = _indexed("i", _between(initiator_id))
    least = f"SELECT MIN({indexed}) FROM aibridge_interceptions AS i WHERE"  # noqa: S608
    sql = f"""
        WITH RECURSIVE strata (stratum) AS (
            SELECT ({least} {indexed} IS NOT NULL {whose})
            UNION ALL
            SELECT ({least} {indexed} > strata.stratum {whose}) FROM strata WHERE strata.stratum IS NOT NULL
        )
        SELECT stratum FROM strata WHERE stratum IS NOT NULL LIMIT ?
    """  # noqa: S608
    users = () if initiator_id is None else (initiator_id, initiator_id)
    return Statement(sql, (*users, MAX_STRATA + 1))


def _between(initiator_id: str | None) -> str:
    return _OF_ALL if initiator_id is None else _OF_A_USER


def _indexed(alias: str, between: str) -> str:
    glue = f" || '{between}' || "
    return f"({glue.join(f'{alias}.{name}' for name in Stratum._fields)})"
