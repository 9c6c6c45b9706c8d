"""Locks by name, on each kind of database."""

from __future__ import annotations

import asyncio

import pytest

from recorders.stores.base import StoreError
from recorders.stores.urls import database_for
from tests.recorders.stores.kept import Kept


async def test_of_two_replicas_one_gets_a_lock_and_nobody_waits(kept: Kept, database_url: str) -> None:
    """The other hears at once that it is taken, and gets it when it is free again."""
    replica = database_for(database_url)
    await replica.open()
    async with kept.database.lock("sweep") as ours:
        async with replica.lock("sweep") as theirs:
            assert (ours, theirs) == (True, False)
        async with kept.database.lock("sweep") as again:
            assert not again
    async with replica.lock("sweep") as theirs:
        assert theirs
    await replica.close()


async def test_locks_of_different_names_are_different_locks(kept: Kept) -> None:
    """Work of one kind doesn't hold up work of another."""
    async with kept.database.lock("sweep") as sweep, kept.database.lock("dust") as dust:
        assert sweep
        assert dust


async def test_a_lock_holds_up_nobody_who_reads_or_writes(kept: Kept) -> None:
    """It is advice."""
    async with kept.database.lock("sweep"):
        await kept.database.execute("DELETE FROM aibridge_interceptions")
        assert await kept.rows("aibridge_interceptions") == []


async def test_whatever_ends_the_block_lets_go(kept: Kept) -> None:
    """An error comes out as it is; a cancellation frees the lock as well."""
    with pytest.raises(LookupError, match="mine"):
        async with kept.database.lock("sweep"):
            raise LookupError("mine")

    held = asyncio.Event()

    async def hold() -> None:
        async with kept.database.lock("sweep"):
            held.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    holder.cancel()
    await asyncio.wait({holder})

    async with kept.database.lock("sweep") as ours:
        assert ours


async def test_a_database_that_cannot_lock_says_so(database_url: str) -> None:
    """One that was never opened, or is gone."""
    database = database_for(f"{database_url}/nowhere/x.db" if "sqlite" in database_url else database_url)
    with pytest.raises(StoreError):
        async with database.lock("sweep"):
            pass
