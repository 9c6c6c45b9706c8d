"""Pieces of rows that several views read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.history.answers import Person, ProviderInstance, Tokens
from recorders.stores.database import Database, Row, Value

# As floating point, a sum can't overflow, whatever a provider counted; it is exact up to 2 to the 53rd.
TOKEN_SUMS: Final = ", ".join(
    f"COALESCE(SUM(CAST(u.{name} AS DOUBLE PRECISION)), 0) AS {name}" for name in Tokens.__struct_fields__
)


def person(row: Row) -> Person:
    username = json_object(row["metadata"]).get("username")
    return Person(id=row["initiator_id"], username=username if isinstance(username, str) else None)


def instance(row: Row) -> ProviderInstance:
    return ProviderInstance(type=row["provider"], name=row["provider_name"])


def tokens(row: Row) -> Tokens:
    return Tokens(**{name: int(row[name]) for name in Tokens.__struct_fields__})


def json_object(text: str | None) -> dict[str, Any]:
    """What the store wrote; empty when another hand wrote something else."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


async def token_sums(database: Database, interception_ids: Sequence[str]) -> dict[str, Tokens]:
    """By interception; those without any usage are left out."""
    if not interception_ids:
        return {}
    rows = await database.fetch(
        f"SELECT u.interception_id, {TOKEN_SUMS} FROM aibridge_token_usages AS u "  # noqa: S608
        f"WHERE u.interception_id IN ({marks(interception_ids)}) GROUP BY u.interception_id",
        *interception_ids,
    )
    return {row["interception_id"]: tokens(row) for row in rows}


async def of_interceptions(
    database: Database, table: str, columns: str, interception_ids: Sequence[Value]
) -> dict[str, list[Row]]:
    """What `table` holds of each interception, in the order it came."""
    if not interception_ids:
        return {}
    rows = await database.fetch(
        f"SELECT interception_id, {columns} FROM {table} "  # noqa: S608
        f"WHERE interception_id IN ({marks(interception_ids)}) ORDER BY interception_id, created_at, id",
        *interception_ids,
    )
    return grouped(rows)


def grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["interception_id"], []).append(row)
    return found
