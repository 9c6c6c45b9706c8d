"""Answers against records: what a client has whole must be in the database, and there once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from recorders.stores.numbered import numbered
from tests.faults.report import Report

Kept: TypeAlias = Path | str
"""Where records are: a file of SQLite, or the URL of a PostgreSQL database."""

_KINDS = {
    "token usage": "SELECT provider_response_id FROM aibridge_token_usages",
    "prompt": "SELECT provider_response_id FROM aibridge_user_prompts",
    "tool usage": "SELECT provider_response_id FROM aibridge_tool_usages",
    "end": (
        "SELECT u.provider_response_id FROM aibridge_token_usages u JOIN aibridge_interceptions i"
        " ON i.id = u.interception_id WHERE i.started_at IS NOT NULL AND i.outcome = 'completed'"
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """`lost` and `doubled` name the record and the answer it is about."""

    records: int
    lost: list[str]
    doubled: list[str]


def rows(database: Kept, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What the database holds; the gateway may be running."""
    if isinstance(database, str):
        with psycopg.connect(database, autocommit=True, cursor_factory=psycopg.RawCursor) as session:
            return session.execute(numbered(sql).encode(), parameters).fetchall()
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def compare(database: Kept, delivered: Collection[int], *, without: Collection[str] = ()) -> Found:
    """Each delivered answer has a start and an end, a prompt, a tool call and its tokens, each once.

    `without` are the kinds of records that these answers need not have.
    """
    wanted = {f"resp-{number}" for number in delivered}
    records, lost, doubled = 0, [], []
    for kind, sql in ((kind, sql) for kind, sql in _KINDS.items() if kind not in without):
        counts = Counter(response_id for (response_id,) in rows(database, sql))
        records += counts.total()
        lost += [f"{kind} of {response_id}" for response_id in sorted(wanted - set(counts))]
        doubled += [f"{kind} of {response_id}" for response_id, count in counts.items() if count > 1]
    return Found(records, lost, doubled)


def judge(
    report: Report, database: Kept, delivered: Collection[int], *, without: Collection[str] = ()
) -> None:
    """Print the count, and what is missing."""
    found = compare(database, delivered, without=without)
    if isinstance(database, Path):
        ((verdict,),) = rows(database, "PRAGMA integrity_check")
        report.require(verdict == "ok", f"the database is damaged: {verdict}")
    report.counted(
        answers_delivered=len(delivered),
        records_found=found.records,
        lost=len(found.lost),
        doubled=len(found.doubled),
    )
    report.require(not found.lost, f"lost: {', '.join(found.lost[:5])}")
    report.require(not found.doubled, f"doubled: {', '.join(found.doubled[:5])}")
