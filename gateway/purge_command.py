"""`ai-gateway purge`: delete old records now, by hand, also while gateways run on the same database.

Standard output carries the counts by table; what is said to the person goes to standard error. An interrupted purge
says what it deleted; the next one finds the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.database_url import without_password
from gateway.durations import parse_duration
from gateway.settings import Settings
from gateway.settings_error import SettingsError
from recorders.retention import cutoff_of, purge, utc_now
from recorders.stores.database import Database
from recorders.stores.expired import Expired
from recorders.stores.tables import TABLES
from recorders.stores.urls import database_for

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_Work: TypeAlias = Callable[[Database, datetime, Counter[str]], Awaitable[bool]]

ROWS_A_STEP: Final = 1000
"""Counting holds up nobody, so its steps may be longer."""


def add_command(subparsers: _SubParsers, *, flags: argparse.ArgumentParser) -> None:
    """Add `purge`, which takes the flags of `flags` too."""
    parser = subparsers.add_parser("purge", help="delete old records", parents=[flags], allow_abbrev=False)
    parser.add_argument("--older-than", type=_age, metavar="30d", help="default: the configured retention")
    parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
    parser.set_defaults(command=run)


def run(
    args: argparse.Namespace,
    settings: Settings,
    argv: Sequence[str],
    *,
    clock: Callable[[], datetime] = utc_now,
) -> int:
    """The exit status: 0, or 1 when another process is at it. Raises `SettingsError`, `StoreError`."""
    options = settings.gateway
    age_s = args.older_than or options.retention_s
    if not age_s:
        raise SettingsError("retention is 0, which keeps records for ever: say how old with --older-than")
    url = options.database_url.reveal_secret_value()
    cutoff = cutoff_of(clock(), age_s)
    counts: Counter[str] = Counter()
    work: _Work = _count if args.dry_run else purge
    try:
        done = asyncio.run(_on_database(_database(url), work, cutoff, counts))
    except BaseException:
        if counts and not args.dry_run:
            _report(counts)
        raise
    if not done:
        _say("ai-gateway: another process is deleting old records here: try again when it is through")
        return 1
    _report(counts)
    verb = "Would delete" if args.dry_run else "Deleted"
    _say(f"{verb} records from before {cutoff:%Y-%m-%d %H:%M:%S} UTC in {without_password(url)}.")
    return 0


async def _on_database(database: Database, work: _Work, cutoff: datetime, counts: Counter[str]) -> bool:
    try:
        await database.open()
        return await work(database, cutoff, counts)
    finally:
        await database.close()


async def _count(database: Database, cutoff: datetime, counts: Counter[str]) -> bool:
    expired = Expired(database, cutoff, interceptions_a_step=ROWS_A_STEP, rows_a_step=ROWS_A_STEP)
    async for table, rows in expired.count():
        counts[table.name] += rows
    return True


def _database(url: str) -> Database:
    try:
        return database_for(url)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _age(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except (ValueError, OverflowError):
        seconds = 0.0
    if not seconds:
        raise argparse.ArgumentTypeError("write it as 30d, 12h or 1d12h, more than 0")
    return seconds


def _report(counts: Counter[str]) -> None:
    width = max(len(table.name) for table in TABLES)
    for table in TABLES:
        sys.stdout.write(f"{table.name:<{width}}  {counts[table.name]}\n")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
