"""When the journal syncs: counted by the calls that reach the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorders.disk_journal import DiskJournal
from recorders.durability import Fsync
from tests.recorders import samples
from tests.waiting import PATIENCE_S


class Disk:
    """Stands before `os.fdatasync`: counts, holds back while `gate` is closed, fails as often as `failures` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.failures = 0
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.asked.set()
        assert self.gate.wait(PATIENCE_S)
        self.syncs += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@asynccontextmanager
async def journal(path: Path, fsync: Fsync, **options: Any) -> AsyncIterator[DiskJournal]:
    one = DiskJournal(path, fsync=fsync, segment_bytes=1 << 16, **options)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


async def test_always_syncs_once_for_all_who_wait_together(tmp_path: Path, disk: Disk) -> None:
    """A hundred requests at once don't wait for a hundred syncs; each waits for one that began after its append."""
    async with journal(tmp_path, "always") as one:
        disk.gate.clear()
        one.append(samples.start("first"))
        first = asyncio.create_task(one.settle())
        await asyncio.to_thread(disk.asked.wait, PATIENCE_S)
        others = []
        for index in range(100):
            one.append(samples.start(f"i{index}"))
            others.append(asyncio.create_task(one.settle()))
        disk.gate.set()
        await asyncio.gather(first, *others)
        assert disk.syncs == 2
        await one.settle()
        assert disk.syncs == 2


async def test_always_syncs_what_lies_in_several_files(tmp_path: Path, disk: Disk) -> None:
    """An interception may begin in one file and end in the next."""
    async with journal(tmp_path, "always") as one:
        one.append(samples.prompt(prompt="x" * 60_000))
        one.append(samples.prompt(prompt="y" * 60_000))
        await one.settle()
        assert disk.syncs == 2


async def test_interval_syncs_without_anybody_waiting(tmp_path: Path, disk: Disk) -> None:
    """Many appends share a sync, and settling waits for none."""
    async with journal(tmp_path, "interval", interval_s=0.001) as one:
        for index in range(50):
            one.append(samples.start(f"i{index}"))
        await one.settle()
        await asyncio.to_thread(disk.asked.wait, PATIENCE_S)
    assert 1 <= disk.syncs < 50


async def test_closing_cuts_the_interval_short_and_syncs_what_is_left(tmp_path: Path, disk: Disk) -> None:
    """Nobody waits an hour for a process to end."""
    async with journal(tmp_path, "interval", interval_s=3600.0) as one:
        one.append(samples.start())
    assert disk.syncs >= 1


async def test_never_syncs_never(tmp_path: Path, disk: Disk) -> None:
    """Not at the end either: the operating system decides."""
    async with journal(tmp_path, "never") as one:
        one.append(samples.start())
        await one.settle()
    assert disk.syncs == 0


async def test_after_a_failed_sync_the_journal_goes_on_in_another_file(tmp_path: Path, disk: Disk) -> None:
    """Who waited learns it; who comes later is served; what was taken is still read and kept."""
    async with journal(tmp_path, "always") as one:
        one.append(samples.start("a"))
        disk.failures = 1
        with pytest.raises(OSError, match="Input/output error"):
            await one.settle()
        with pytest.raises(OSError, match="sync failed"):
            await one.settle()
        assert one.sync_failures == 1
        one.append(samples.start("b"))
        await one.settle()
        batch = await one.read(10, 1 << 20)
        assert batch is not None
        assert batch.records == [samples.start("a"), samples.start("b")]


async def test_a_failing_interval_is_counted_and_logged_once(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it, so the log is where an operator learns it; it names the file."""
    disk.failures = 2
    async with journal(tmp_path, "interval", interval_s=3600.0, clock=lambda: 0.0) as one:
        one.append(samples.start())
    assert one.sync_failures >= 1
    complaints = [
        record.getMessage() for record in caplog.records if "can't be synced" in record.getMessage()
    ]
    assert len(complaints) == 1
    assert str(tmp_path) in complaints[0]


async def test_who_is_cancelled_while_waiting_disturbs_nobody(tmp_path: Path, disk: Disk) -> None:
    """A client that leaves doesn't take the others' sync along, and its error is nobody's."""
    async with journal(tmp_path, "always") as one:
        disk.gate.clear()
        one.append(samples.start())
        leaving, staying = asyncio.create_task(one.settle()), asyncio.create_task(one.settle())
        await asyncio.to_thread(disk.asked.wait, PATIENCE_S)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        disk.gate.set()
        await staying
    assert disk.syncs == 1


async def test_names_of_new_files_reach_the_disk_before_a_settle_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synced file that no folder knows of would be lost with the power."""
    synced: list[int] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    async with journal(tmp_path, "always") as one:
        folder = one._folder.path
        one.append(samples.start())
        synced.clear()
        await one.settle()
        assert synced == [os.stat(folder).st_ino]
