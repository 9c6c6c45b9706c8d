"""Which records are asked for: a user's, a model's, a time's; all conditions hold at once.

`started_after` is included and `started_before` is not, so that ranges can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from recorders.stores.database import Value, time_value

DIMENSIONS: Final = ("provider", "provider_name", "model", "client")
"""What a request went to, and which program made it."""


class Condition(NamedTuple):
    """A part of a WHERE clause; the names in it are ours, the values are parameters."""

    sql: str
    parameters: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Filters:
    """What is None is not asked about."""

    initiator_id: str | None = None
    provider: str | None = None
    provider_name: str | None = None
    model: str | None = None
    client: str | None = None
    session_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None

    @property
    def dimensions(self) -> dict[str, str]:
        """Those of DIMENSIONS that are asked about."""
        given = ((name, getattr(self, name)) for name in DIMENSIONS)
        return {name: value for name, value in given if value is not None}

    def conditions(self, alias: str) -> list[Condition]:
        """On the columns of `aibridge_interceptions AS alias`."""
        dimensions = (Condition(f"{alias}.{name} = ?", (value,)) for name, value in self.dimensions.items())
        return [*self.bounds(alias), *dimensions]

    def bounds(self, alias: str) -> Iterator[Condition]:
        """All but the dimensions."""
        if self.initiator_id is not None:
            yield Condition(f"{alias}.initiator_id = ?", (self.initiator_id,))
        if self.session_id is not None:
            yield Condition(f"{alias}.session_id = ?", (self.session_id,))
        if self.started_after is not None:
            yield Condition(f"{alias}.started_at >= ?", (time_value(self.started_after),))
        if self.started_before is not None:
            yield Condition(f"{alias}.started_at < ?", (time_value(self.started_before),))


def all_of(conditions: list[Condition]) -> Condition:
    """Their conjunction; of none, what is always true."""
    sql = " AND ".join(condition.sql for condition in conditions) or "TRUE"
    return Condition(sql, tuple(value for condition in conditions for value in condition.parameters))
