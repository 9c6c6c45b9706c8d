"""The journal on the local disk: what it has taken survives the process.

What it promises:
- An entry whose `append` returned is in the operating system's hands. It survives the death of the process, `kill -9`
  included. The power cut is `fsync`'s matter: `always` (what was appended before a `settle` that returned is on the
  disk), `interval` (what was appended in the last `interval_s`, and while one sync takes, may be lost), `never` (the
  operating system decides). A sync that fails is counted, and the journal goes on in another file.
- Entries come out in the order in which they went in, those of dead workers first, each at least once: after a crash
  the entries since the last checkpoint come again.
- What is stored stays in its file until it is stored for good (`commit`), so that `rewind` can give it out again. At
  most `MAX_KEPT` files are kept for this alone, beside the one that is written to.
- A torn last entry is dropped and counted (`torn`); nothing before it is. An entry that this version can't read is
  put aside in `rejected.jsonl` and counted (`rejected`).
- On the event loop's thread it only appends to the page cache, and gives a file that was made ahead its name, or
  makes it there when a burst is faster. Allocating, syncing, reading, decoding and deleting happen in threads.

What it doesn't: protect against a broken disk; work on a file system without `flock`; keep the event loop from
waiting when the operating system makes every writer wait, because too much in memory is not written yet.

Files are allocated ahead, so that a full disk is noticed before a record needs it: a start is refused while what
follows earlier starts still finds room. Whose file is whose: `recorders.journal_folders`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import uuid_utils

from recorders import codec, segment
from recorders.durability import Durability, Fsync
from recorders.journal import (
    MEBIBYTE,
    USUAL_START_BYTES,
    Backlog,
    Batch,
    JournalFull,
    JournalUnusable,
)
from recorders.journal_folders import CHECKPOINTED, SPARE_SUFFIX, SUFFIX, WorkerFolder
from recorders.journal_reader import JournalReader
from recorders.records import InterceptionStart, Record
from recorders.segment_file import NotAJournal, SegmentFile
from recorders.segments import Segments, ranges_of
from recorders.stores.base import Checkpoint

log = logging.getLogger("ai_gateway.recorders")

REJECTED: Final = "rejected.jsonl"
SPARE_RETRY_S: Final = 1.0
MAX_KEPT: Final = 4


class DiskJournal:
    """A `Journal` below `directory`; see the module for what it promises. `open` before use, `close` after.

    A start is refused (`JournalFull`) when `max_bytes` are waiting, adopted ones included, or no further file could
    be allocated; what follows a start may use `reserve_bytes` more.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 1024 * MEBIBYTE,
        reserve_bytes: int = 64 * MEBIBYTE,
        fsync: Fsync = "interval",
        interval_s: float = 0.05,
        segment_bytes: int = 16 * MEBIBYTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes <= 0 or segment_bytes <= segment.HEADER_BYTES:
            raise ValueError(f"max_bytes {max_bytes} and segment_bytes {segment_bytes} must be positive")
        if reserve_bytes < 0:
            raise ValueError(f"reserve_bytes must not be negative, not {reserve_bytes}")
        if fsync not in ("always", "interval", "never"):
            raise ValueError(f"fsync must be always, interval or never, not {fsync!r}")
        self._directory = directory
        self._max_bytes, self._reserve_bytes = max_bytes, reserve_bytes
        self._segment_bytes = segment_bytes
        self._fsync, self._interval_s = fsync, interval_s
        self._clock = clock
        self._wake: Callable[[], None] = _nobody
        self._reader = JournalReader(directory / REJECTED)
        self._torn = 0
        self._usable = False
        self._forget_all()

    def _forget_all(self) -> None:
        self._segments = Segments(self._clock)
        self._spare: Future[SegmentFile] | None = None
        self._spare_tried_at = float("-inf")
        self._stored_for_good = 0
        self._gone: deque[str] = deque()

    @property
    def torn(self) -> int:
        """Files whose end, or whose middle, could not be read."""
        return self._torn + self._reader.damaged

    @property
    def rejected(self) -> int:
        """Entries that were put aside."""
        return self._reader.rejected

    # -- opening and closing: these block, and run in a thread -------------------------------------------------------

    async def open(self) -> None:
        """Make this worker's folder and adopt what dead workers left. Raises `JournalUnusable`."""
        try:
            await asyncio.to_thread(self._open)
        except OSError as error:
            where = f" ({error.filename})" if error.filename not in (None, str(self._directory)) else ""
            raise JournalUnusable(
                f"the journal can't be kept in {self._directory}: {error.strerror or error}{where}. "
                "Make room there or give rights to it, or choose another folder with journal_dir."
            ) from error

    def _open(self) -> None:
        self._forget_all()
        self._reader = JournalReader(self._directory / REJECTED)
        self._folder, adopted = WorkerFolder.make(self._directory)
        self._durability = Durability(
            self._fsync,
            self._interval_s,
            folder=self._folder.path,
            files=lambda: self._segments.files,
            clock=self._clock,
        )
        self._making = ThreadPoolExecutor(1, thread_name_prefix="journal-make")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        try:
            for path in adopted:
                self._adopt(path)
            self._spare = self._making.submit(self._make_spare)
            self._spare.result()
            self._roll()
        except BaseException:
            self._close()
            raise
        self._usable = True

    def _adopt(self, path: Path) -> None:
        try:
            file = SegmentFile.adopt(path)
        except NotAJournal:
            aside = path.rename(self._directory / f"{path.stem}.unreadable")
            log.warning("a file in the journal's folder is none of it and was put aside as %s", aside)
            return
        if file.torn:
            self._torn += 1
            log.warning("the last entry of a journal was cut and is dropped: %s, byte %d", path, file.end)
        if file.is_empty:
            file.delete()
            return
        file.trim()
        self._segments.add(file)
        if not file.waiting_bytes:
            return  # all of it is stored, perhaps not for good
        log.info("adopted %d records that a dead worker left: %s", file.entries, path)

    async def close(self) -> None:
        """Sync what is left; what no store has yet stays for the next worker."""
        if self._usable:
            self._usable = False
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.shutdown(wait=True)
        self._making.shutdown(wait=True)
        self._durability.close(sync=self._segments.waiting_bytes > 0)
        if (spare := self._ready_spare()) is not None:
            spare.delete()
        for file in self._segments.files:
            if file.is_empty or (not file.waiting_bytes and file.limit <= self._stored_for_good):
                self._delete(file)
            else:
                if file.waiting_bytes and file.is_removed:
                    log.error("what waited in a file of the journal that was removed is lost: %s", file.path)
                file.close()
        self._folder.release()

    # -- writing: on the event loop's thread, into the page cache ----------------------------------------------------

    def append(self, record: Record) -> None:
        """Take a record. Raises `JournalFull`, or `OSError` when the medium fails or the journal is closed."""
        if not self._usable:
            raise OSError(errno.EBADF, "the journal is not open", str(self._directory))
        data = segment.entry(codec.encode(record))
        starts = isinstance(record, InterceptionStart)
        if starts and self._segments.current.has_no_name:
            self._roll()
        self._admit(len(data), starts=starts)
        if self._segments.current.spoilt or self._fills(len(data)):
            self._roll()
        self._segments.append(data)
        self._durability.appended()
        self._wake()

    async def settle(self) -> None:
        """With `fsync` `always`: wait until all that was appended is on the disk. Else nothing. Raises `OSError`."""
        if not self._usable:
            raise OSError(errno.EBADF, "the journal is not open", str(self._directory))
        await self._durability.settle()

    def _admit(self, size: int, *, starts: bool) -> None:
        limit = self._max_bytes if starts else self._max_bytes + self._reserve_bytes
        waiting_bytes = self._segments.waiting_bytes
        if waiting_bytes + size > limit:
            raise JournalFull(f"{waiting_bytes} bytes of records are waiting, the limit is {limit}")
        if starts and self._spare is not None and self._spare.done():
            error = self._spare.exception()
            if error is not None:
                self._try_another_spare()
                raise JournalFull(f"no further file can be allocated for the journal: {error}")

    def _fills(self, size: int) -> bool:
        """Whether so many bytes more are too much for the file; one that is larger than a file gets its own."""
        current = self._segments.current
        return not current.is_empty and current.end + size > self._segment_bytes

    def _roll(self) -> None:
        """Go on in the spare file and have another one made. A spare that isn't ready yet is not waited for."""
        if self._folder.is_removed:
            self._folder.make_again()
            log.error("the journal's folder was removed and is made again: %s", self._folder.path)
        elif self._segments.files and self._segments.current.is_removed:
            log.error("a file of the journal was removed: %s", self._segments.current.path)
        # Named now, for the names are the order in which the next worker reads.
        path = self._folder.path / f"{uuid_utils.uuid7()}{CHECKPOINTED}{SUFFIX}"
        file = self._take_spare()
        if file is not None:
            file.rename(path)
        else:
            file = SegmentFile.create(path)
        self._durability.created()
        if self._segments.files:
            self._durability.later(self._segments.current.trim)
        self._segments.add(file)

    def _take_spare(self) -> SegmentFile | None:
        """Another is made in its place, also where it is of no use any more: its making failed, or it was removed."""
        if self._spare is not None and not self._spare.done():
            return None
        spare = self._ready_spare()
        self._spare = self._making.submit(self._make_spare)
        if spare is not None and spare.is_removed:
            spare.close()
            return None
        return spare

    def _ready_spare(self) -> SegmentFile | None:
        spare = self._spare
        if spare is None or not spare.done() or spare.exception() is not None:
            return None
        return spare.result()

    def _try_another_spare(self) -> None:
        if self._clock() - self._spare_tried_at >= SPARE_RETRY_S:
            self._spare_tried_at = self._clock()
            self._spare = self._making.submit(self._make_spare)

    def _make_spare(self) -> SegmentFile:
        path = self._folder.path / f"{uuid_utils.uuid7()}{SPARE_SUFFIX}"
        return SegmentFile.create(path, allocated_bytes=self._segment_bytes)

    # -- reading, and the checkpoints --------------------------------------------------------------------------------

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """The next uncommitted records, at least one whatever its size; None when there are none."""
        loop = asyncio.get_running_loop()
        while True:
            spans = self._segments.spans()
            read = partial(self._reader.read, spans, max_records, max_bytes)
            found = await loop.run_in_executor(self._reading, read)
            self._segments.was_read(found.position, found.entries)
            if found.records:
                return Batch(found.records, found.position, ranges_of(spans, found.position))
            if found.position <= self.stored:
                return None
            self._segments.pass_over(found.position)  # nothing that can be read lay between

    @property
    def stored(self) -> int:
        """The position up to which all is stored."""
        return self._segments.stored

    def mark_stored(self, position: int) -> None:
        """All records up to this batch's position are stored. They are kept for `rewind` as long as there is room."""
        self._segments.mark_stored(position)
        self._let_go(len(self._segments.finished()) - MAX_KEPT)

    def commit(self, position: int) -> None:
        """All records up to this batch's position are stored for good and may go."""
        self.mark_stored(position)
        self._stored_for_good = max(self._stored_for_good, position)
        self._let_go(sum(file.limit <= position for file in self._segments.finished()))

    @property
    def may_go(self) -> bool:
        """Whether a `commit` of what is stored would free anything."""
        return bool(self._segments.finished())

    def files(self) -> list[str]:
        """The names of the files that it holds, the oldest first."""
        return [file.name for file in self._segments.files]

    def take_gone(self) -> list[str]:
        """The names of the files that have gone since this was asked last, also after `close`."""
        return [self._gone.popleft() for _ in range(len(self._gone))]

    async def rewind(self, checkpoint: Checkpoint) -> int:
        """Give out again what it takes for stored behind the checkpoint. Returns how many records those are.

        Of a file that the checkpoint doesn't name nothing is stored, unless a version without checkpoints has filled
        it. Not while a batch is on its way.
        """
        loop = asyncio.get_running_loop()
        records = 0
        for file in self._segments.behind(checkpoint):
            begin = partial(file.entries_from, self._segments.stored_bytes(file, checkpoint))
            offset, entries = await loop.run_in_executor(self._reading, begin)
            self._segments.wait_again(file, offset, entries)
            self._stored_for_good = min(self._stored_for_good, file.base + offset)
            records += entries
        return records

    def _let_go(self, number: int) -> None:
        """Of the oldest files so many; the thread deletes them that may be syncing them."""
        for file in self._segments.let_go(max(number, 0)):
            self._durability.later(partial(self._delete, file))

    def _delete(self, file: SegmentFile) -> None:
        file.delete()
        self._gone.append(file.name)

    def backlog(self) -> Backlog:
        segments = self._segments
        return Backlog(segments.waiting_records, segments.waiting_bytes, segments.oldest_age_s)

    def refusal(self) -> str | None:
        """Why a start would not be taken now, in words for anybody; None when it would be.

        Asking makes it try for room again, or for a folder that was removed, as an append does: a worker that gets no
        requests notices it too.
        """
        if not self._usable:
            return "the journal is not open"
        try:
            if self._segments.current.is_removed or self._folder.is_removed:
                self._roll()
            self._admit(USUAL_START_BYTES, starts=True)
        except JournalFull as error:
            return str(error).partition(":")[0]  # behind it stand the system's words, with a path
        except OSError:
            return "the journal's folder was removed"
        return None

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    @property
    def sync_failures(self) -> int:
        return self._durability.failures


def _nobody() -> None:
    """Nobody listens yet."""
