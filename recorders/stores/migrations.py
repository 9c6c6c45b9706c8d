"""The numbered SQL files of `schema/`, and which of them a database still needs.

A file is named `<number>_<subject>.sql`, runs once, in the order of its number, and never changes afterwards. The
database's own module runs them, all in one transaction and under a lock that other processes respect.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from recorders.stores.base import SchemaTooNew

CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
)
"""
APPLIED = "SELECT version FROM schema_migrations"
MARK_APPLIED = "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    statements: tuple[str, ...]


@cache
def known_migrations() -> tuple[Migration, ...]:
    """All migrations that this program brings along, in order."""
    files = [file for file in resources.files("recorders.stores").joinpath("schema").iterdir()]
    found = [_parse(file.name, file.read_text("utf-8")) for file in files if file.name.endswith(".sql")]
    return tuple(sorted(found, key=lambda migration: migration.version))


def pending_migrations(
    applied: Collection[int], known: Sequence[Migration], *, database: str
) -> list[Migration]:
    """What is left to run. Raises `SchemaTooNew` when the database has a version that isn't known here."""
    newest = known[-1].version if known else 0
    if applied and max(applied) > newest:
        raise SchemaTooNew(
            f"{database} has schema version {max(applied)}, this program knows only up to {newest}: "
            f"run the version that wrote it, or a newer one"
        )
    return [migration for migration in known if migration.version not in applied]


def _parse(file_name: str, sql: str) -> Migration:
    number, _, name = file_name.removesuffix(".sql").partition("_")
    code = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    statements = (statement.strip() for statement in f"{code}\n".split(";\n"))
    return Migration(int(number), name, tuple(statement for statement in statements if statement))
