"""What a store is: it takes batches of records, each as often as it is offered, and keeps each once.

Records of one interception may come in different batches and in any order, an end before its start too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from recorders.records import Record

Checkpoint: TypeAlias = Mapping[str, int]
"""By the name of a journal's file, how many bytes of it, from its beginning, hold what is stored."""


class ByteRange(NamedTuple):
    """Of a journal's file the bytes from `start` up to `end`; a `start` of 0 is the beginning."""

    start: int
    end: int


class StoreError(Exception):
    """The store can't do what was asked; the message names the store. Trying again may help."""


class RecordsRefused(StoreError):
    """The store works but won't take these values. Trying again doesn't help."""


class SchemaTooNew(StoreError):
    """A newer program has been here; this one must not touch the data."""


class Store(Protocol):
    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises `StoreError`."""
        ...

    async def write(self, records: Sequence[Record]) -> None:
        """Keep all records or none. Idempotent. Raises `StoreError`."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class CheckpointedStore(Store, Protocol):
    """A store that keeps, in the transaction that keeps the records, how far it has taken a journal.

    So whoever feeds it can see that it has lost what it had taken: a restored backup, a failover to a replica that
    lagged behind, a log that somebody removed.
    """

    async def write_from(
        self, records: Sequence[Record], ranges: Mapping[str, ByteRange], *, gone: Collection[str] = ()
    ) -> None:
        """`write`, and move the checkpoint of each file that the records come from to the end of its range.

        A checkpoint that lies before the range stays: between the two is what was lost. The files `gone` are of no
        interest any more. Raises `StoreError`.
        """
        ...

    async def checkpoint(self, files: Collection[str]) -> Checkpoint:
        """How far it has taken these files, as far as it knows them. Raises `StoreError`."""
        ...

    async def sync(self) -> bool:
        """Make sure of what was written: see `Database.sync`."""
        ...

    @property
    def generation(self) -> int:
        """Grows when the store may have lost something while it was in use."""
        ...


def checkpointed(store: Store) -> CheckpointedStore | None:
    """`store`, if it keeps checkpoints. One whose class has a `write` of its own alone wants to see what is written."""
    for owner in type(store).__mro__:
        if "write_from" in vars(owner):
            return store if isinstance(store, CheckpointedStore) else None
        if "write" in vars(owner):
            return None
    return None
