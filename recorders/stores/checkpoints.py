"""What the database keeps of the journals that feed it: how far each of their files is stored.

A row is made by what begins at the beginning of its file, and then only moved on from where it is: so it never lies
behind something that is missing, and never goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from recorders.stores.base import ByteRange, Checkpoint
from recorders.stores.database import Database, Statement

FILES_A_STATEMENT: Final = 500

_BEGIN: Final = """
    INSERT INTO journal_checkpoints (stored_bytes, file) VALUES (?, ?)
    ON CONFLICT (file) DO UPDATE SET stored_bytes = excluded.stored_bytes
    WHERE journal_checkpoints.stored_bytes < excluded.stored_bytes
"""
_MOVE: Final = """
    UPDATE journal_checkpoints SET stored_bytes = ? WHERE file = ? AND stored_bytes >= ? AND stored_bytes < ?
"""
_FORGET: Final = "DELETE FROM journal_checkpoints WHERE file = ?"


def checkpoint_moved(ranges: Mapping[str, ByteRange], gone: Collection[str]) -> Iterator[Statement]:
    """See `CheckpointedStore.write_from`. It belongs into the transaction that stores the records of the ranges."""
    for file, (start, end) in ranges.items():
        yield Statement(_MOVE, (end, file, start, end)) if start else Statement(_BEGIN, (end, file))
    for file in gone:
        yield Statement(_FORGET, (file,))


async def checkpoint_in(database: Database, files: Collection[str]) -> Checkpoint:
    """See `CheckpointedStore.checkpoint`. Raises `StoreError`."""
    found: dict[str, int] = {}
    wanted = list(files)
    for first in range(0, len(wanted), FILES_A_STATEMENT):
        some = wanted[first : first + FILES_A_STATEMENT]
        rows = await database.fetch(_checkpoint_of(len(some)), *some)
        found |= {row["file"]: row["stored_bytes"] for row in rows}
    return found


def _checkpoint_of(number: int) -> str:
    marks = ", ".join("?" * number)
    return f"SELECT file, stored_bytes FROM journal_checkpoints WHERE file IN ({marks})"  # noqa: S608
