"""What can be wrong with a store for a while: it is stopped, refuses connections, swallows what it is sent, is slow."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.faults.server import Server
from tests.recorders.stores.line import Line

NEEDED = ("api_keys", "aibridge_interceptions")
"""No key can be looked up without the first and nothing stored without the second."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """`wrong` lasts as long as its block. `keys_are_known`: they can be looked up all the same."""

    name: str
    seconds: float
    wrong: Callable[[], AbstractAsyncContextManager[None]]
    keys_are_known: bool = False


@asynccontextmanager
async def stopped(server: Server) -> AsyncIterator[None]:
    await server.stop()
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def refusing(line: Line) -> AsyncIterator[None]:
    await line.cut()
    try:
        yield
    finally:
        await line.mend()


@asynccontextmanager
async def hanging(line: Line) -> AsyncIterator[None]:
    line.hold()
    try:
        yield
    finally:
        await line.mend()


@asynccontextmanager
async def slow(url: str) -> AsyncIterator[None]:
    """Every query waits, until the server ends it (30 s) or the lock goes."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for table in NEEDED:
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        await connection.rollback()


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Another process, this one, holds SQLite's write lock."""

    def lock() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
        return connection

    with closing(await asyncio.to_thread(lock)) as connection:
        yield
        connection.execute("ROLLBACK")
