"""Codex leaves once it has read the last event of an answer; it doesn't wait for the end of the stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.codex import CODEX
from tests.e2e.play import HOSTS, Host, play


@pytest.mark.parametrize("host", HOSTS)
async def test_a_client_that_has_read_the_last_event_has_completed(
    host: Host, binaries: Path, tmp_path: Path
) -> None:
    """A provider that closes its stream a moment after the last event doesn't make a finished turn a broken one."""
    never = asyncio.Event()
    turn = await play(CODEX, "centralized", host, binaries=binaries, folder=tmp_path, before_the_end=(never,))
    assert turn.outcome.status == 0, turn.outcome.stderr
    assert [seen.disconnected.is_set() for seen in turn.seen] == [True, True]
    assert [row["outcome"] for row in turn.recorded.interceptions] == ["completed", "completed"]
