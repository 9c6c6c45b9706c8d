"""What a store is: it takes batches of records, each as often as it is offered, and keeps each once.

Records of one interception may come in different batches and in any order, an end before its start too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from recorders.records import Record


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
