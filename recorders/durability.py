"""When what the journal wrote goes to the disk: the three policies, and the thread that waits for the disk.

`always`: `settle` returns when all that was appended before it is on the disk; those who wait at the same time share
one sync. `interval`: a sync follows an append within `interval_s`. `never`: the operating system decides.

A sync that fails can't be repaired by another: its files are given up, which the journal sees by their being
`spoilt`, and only what is written to others can be relied on again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from recorders.journal_folders import sync_folder
from recorders.segment_file import SegmentFile

log = logging.getLogger("ai_gateway.recorders")

Fsync: TypeAlias = Literal["always", "interval", "never"]

QUIET_S: Final = 60.0


class Durability:
    """`files` gives the journal's files in order, from any thread. `failures` counts syncs that failed."""

    def __init__(
        self,
        fsync: Fsync,
        interval_s: float,
        *,
        folder: Path,
        files: Callable[[], Sequence[SegmentFile]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fsync, self._interval_s = fsync, interval_s
        self._folder, self._files, self._clock = folder, files, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._closing = threading.Event()
        self._planned = False
        self._running: asyncio.Future[None] | None = None
        self._made = self._listed = 0
        self._synced = self._given_up = 0
        self._complained_at = float("-inf")
        self.failures = 0

    def appended(self) -> None:
        """Something was written: with `interval`, sync it in time."""
        if self._fsync == "interval" and not self._planned:
            self._planned = True
            self._thread.submit(self._sync_after_interval)

    def created(self) -> None:
        """A file was made; its name is to reach the disk too."""
        self._made += 1

    def later(self, work: Callable[[], Any]) -> None:
        """Do something with a file that is not appended to any more, when no sync has it in hand."""
        self._thread.submit(work)

    async def settle(self) -> None:
        """With `always`: wait until all that was appended is on the disk. Else nothing. Raises `OSError`."""
        if self._fsync != "always":
            return
        target = self._files()[-1].limit
        while self._synced < target:
            if self._given_up >= target:
                raise OSError(errno.EIO, "a sync failed", str(self._folder))
            if self._running is None or self._running.done():
                self._running = asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
                self._running.add_done_callback(_seen)
            running = self._running
            await asyncio.wait({running})
            running.result()

    def close(self, *, sync: bool) -> None:
        """End the thread after what it still has to do; then sync, unless the policy is `never`. Blocks."""
        self._closing.set()
        self._thread.shutdown(wait=True)
        if sync and self._fsync != "never":
            self._sync_or_complain()

    def _sync(self) -> None:
        files = self._files()
        written = files[-1].limit if files else 0
        done = max(self._synced, self._given_up)
        failure: OSError | None = None
        made = self._made
        if self._listed < made:
            sync_folder(self._folder)
            self._listed = made
        for file in files:
            if file.limit > done:
                try:
                    file.sync()
                except OSError as error:
                    failure = error
        if failure is None:
            self._synced = max(self._synced, written)
        else:
            self._given_up = written
            self.failures += 1
            raise failure

    def _sync_after_interval(self) -> None:
        self._closing.wait(self._interval_s)
        self._planned = False
        self._sync_or_complain()

    def _sync_or_complain(self) -> None:
        try:
            self._sync()
        except OSError as error:
            if self._clock() - self._complained_at >= QUIET_S:
                self._complained_at = self._clock()
                log.warning("the journal can't be synced: %s", error)


def _seen(sync: asyncio.Future[None]) -> None:
    """Whoever waited for it may have been cancelled; then nobody asks for its error."""
    if not sync.cancelled():
        sync.exception()
