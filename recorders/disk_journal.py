"""The journal on the local disk: what it has taken survives the process.

What it promises:
- An entry whose `append` returned is in the operating system's hands. It survives the death of the process, `kill -9`
  included. The power cut is `fsync`'s matter: `always` (whoever awaits `settle` has it on the disk), `interval` (at
  most `interval_s` of entries are lost), `never` (the operating system decides).
- Entries come out in the order in which they went in, each at least once: after a crash the entries since the last
  checkpoint come again.
- A torn last entry is dropped and counted (`torn`); nothing before it is.
- No call on the event loop's thread waits for the disk: `append` and `commit` write to the page cache; allocating,
  syncing, reading and deleting happen in threads.

What it doesn't: protect against a broken disk, or work on a network file system that has no `flock`.

Each worker has a folder of its own below `directory`, held by a lock that dies with the process. A worker that starts
adopts what dead ones left. Segments are allocated ahead, so that a full disk is noticed before a record needs it: a
start is refused while what follows earlier starts still finds room.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
import uuid_utils

from recorders import codec, segment
from recorders.journal import MEBIBYTE, Backlog, Batch, JournalFull
from recorders.records import InterceptionStart, Record

log = logging.getLogger("ai_gateway.recorders")

Fsync: TypeAlias = Literal["always", "interval", "never"]

SUFFIX: Final = ".journal"
LOCK: Final = "lock"
REJECTED: Final = "rejected.jsonl"
_UNFINISHED: Final = ".new-"


@dataclass(slots=True)
class _Segment:
    """One file. `base` is the position of its first byte in the journal as a whole."""

    path: Path
    descriptor: int
    base: int
    end: int
    """Up to where it is written; for an adopted one, its size: the entries may end before."""
    committed: int = segment.HEADER_BYTES
    adopted: bool = False

    @property
    def limit(self) -> int:
        return self.base + self.end

    @property
    def waiting_bytes(self) -> int:
        return self.end - self.committed


@dataclass(slots=True)
class _Found:
    """What a reading thread found; `position` is behind the last entry that it looked at."""

    position: int
    records: list[Record] = field(default_factory=list)
    adopted_records: int = 0

    def add(self, records: list[Record], *, adopted: bool) -> None:
        self.records += records
        self.adopted_records += len(records) if adopted else 0


@dataclass(slots=True)
class _Counts:
    """Of this worker's own entries, but for `waiting_records`, which learns of adopted ones when they are read."""

    waiting_records: int = 0
    waiting_bytes: int = 0
    last_read: _Found = field(default_factory=lambda: _Found(0))
    spare_tried_at: float = float("-inf")

    def commit(self, position: int) -> None:
        if position == self.last_read.position:
            self.waiting_records -= len(self.last_read.records) - self.last_read.adopted_records
            self.last_read = _Found(0)


class DiskJournal:
    """A `Journal` below `directory`; see the module for what it promises. `open` before use, `close` after.

    A start is refused (`JournalFull`) when `max_bytes` are waiting or no further segment could be allocated; what
    follows a start may use `reserve_bytes` more. `torn` counts entries that a crash cut, `rejected` those that this
    version can't read: they are kept in `rejected.jsonl`.
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
        if fsync not in ("always", "interval", "never"):
            raise ValueError(f"fsync must be always, interval or never, not {fsync!r}")
        self._directory = directory
        self._max_bytes, self._reserve_bytes = max_bytes, reserve_bytes
        self._segment_bytes = segment_bytes
        self._fsync, self._interval_s = fsync, interval_s
        self._clock = clock
        self._wake: Callable[[], None] = _nobody
        self._segments: deque[_Segment] = deque()
        self._committed = 0
        self._synced = 0
        self._counts = _Counts()
        self._ages: deque[tuple[int, float]] = deque()
        self.torn = 0
        self.rejected = 0

    # -- opening and closing: these block, and run in a thread -------------------------------------------------------

    async def open(self) -> None:
        """Make this worker's folder and adopt what dead workers left. Raises `OSError`, naming the path."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._closing = threading.Event()
        self._sync_running: asyncio.Future[None] | None = None
        self._sync_planned = False
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._lock = _make_folder(self._directory)
        self._segments.clear()
        for path in _adopt(self._directory, self._folder):
            self._add_adopted(path)
        self._spare = self._reading.submit(self._allocate)
        self._spare.result()
        self._roll()
        self._committed = self._segments[0].base + self._segments[0].committed
        self._synced = self._written

    async def close(self) -> None:
        """Sync what is left; what no store has yet stays for the next worker."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._closing.set()
        self._reading.shutdown(wait=True)
        self._syncing.shutdown(wait=True)
        self._discard_spare()
        empty = self._committed >= self._written
        for one in self._segments:
            if not empty and self._fsync != "never":
                os.fdatasync(one.descriptor)
            os.close(one.descriptor)
            if empty:
                one.path.unlink(missing_ok=True)
        self._segments.clear()
        if empty:
            with contextlib.suppress(OSError):
                (self._folder / LOCK).unlink()
                self._folder.rmdir()
        os.close(self._lock)

    def _add_adopted(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        committed = segment.committed_of(os.pread(descriptor, segment.HEADER_BYTES, 0))
        size = os.fstat(descriptor).st_size
        if committed is None:
            os.close(descriptor)
            path.rename(path.with_suffix(".unreadable"))
            log.error(
                "a file in the journal's folder is not a journal and is put aside", extra={"path": str(path)}
            )
            return
        if segment.scan(os.pread(descriptor, segment.ENTRY_HEAD_BYTES, min(committed, size)), 1).ended:
            os.close(descriptor)
            path.unlink()  # a spare that was never written to, or one of which all is stored
            return
        self._segments.append(_Segment(path, descriptor, self._next_base(), size, committed, adopted=True))
        log.info("adopted a journal that a dead worker left", extra={"path": str(path), "bytes": size})

    # -- writing: on the event loop's thread, into the page cache ----------------------------------------------------

    def append(self, record: Record) -> None:
        """Take a record. Raises `JournalFull`, or `OSError` when the medium fails."""
        data = segment.entry(codec.encode(record))
        self._admit(len(data), starts=isinstance(record, InterceptionStart))
        if self._current.end + len(data) > self._segment_bytes and self._current.end > segment.HEADER_BYTES:
            self._roll()
        current = self._current
        if os.pwrite(current.descriptor, data, current.end) != len(data):
            raise OSError(f"{current.path}: the disk took a part of an entry")
        current.end += len(data)
        self._counts.waiting_records += 1
        self._counts.waiting_bytes += len(data)
        self._mark_age()
        if self._fsync == "interval" and not self._sync_planned:
            self._sync_planned = True
            self._syncing.submit(self._sync_after_interval)
        self._wake()

    def _admit(self, size: int, *, starts: bool) -> None:
        limit = self._max_bytes if starts else self._max_bytes + self._reserve_bytes
        if self._counts.waiting_bytes + size > limit:
            raise JournalFull(
                f"{self._counts.waiting_bytes} bytes of records are waiting, the limit is {limit}"
            )
        if starts and self._spare.done() and (error := self._spare.exception()) is not None:
            self._retry_spare()
            raise JournalFull(f"{self._folder}: no further segment can be allocated ({error})")

    def _roll(self) -> None:
        """Go on in the spare segment and have another one made. A spare that isn't ready yet is not waited for."""
        if self._spare.done() and self._spare.exception() is None:
            path, descriptor = self._spare.result()
            self._spare = self._reading.submit(self._allocate)
        else:
            path, descriptor = self._create()
        if self._segments and not self._current.adopted:
            self._syncing.submit(_trim, self._current)
        self._segments.append(_Segment(path, descriptor, self._next_base(), segment.HEADER_BYTES))

    def _retry_spare(self) -> None:
        if self._clock() - self._counts.spare_tried_at >= 1.0:
            self._counts.spare_tried_at = self._clock()
            self._spare = self._reading.submit(self._allocate)

    def _allocate(self) -> tuple[Path, int]:
        path, descriptor = self._create()
        try:
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        return path, descriptor

    def _create(self) -> tuple[Path, int]:
        path = self._folder / f"{uuid_utils.uuid7()}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.pwrite(descriptor, segment.header(), 0)
        return path, descriptor

    def _discard_spare(self) -> None:
        if self._spare.exception() is None:
            path, descriptor = self._spare.result()
            os.close(descriptor)
            path.unlink(missing_ok=True)

    # -- durability --------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """With `fsync` `always`: wait until all that was appended is on the disk. Else nothing. Raises `OSError`."""
        if self._fsync != "always":
            return
        target = self._written
        while self._synced < target:
            if self._sync_running is None or self._sync_running.done():
                loop = asyncio.get_running_loop()
                self._sync_running = loop.run_in_executor(self._syncing, self._sync)
            running = self._sync_running
            await asyncio.wait({running})
            running.result()

    def _sync(self) -> None:
        written = self._written
        for one in list(self._segments):
            if not one.adopted and one.limit > self._synced:
                os.fdatasync(one.descriptor)
        self._synced = max(self._synced, written)

    def _sync_after_interval(self) -> None:
        self._closing.wait(self._interval_s)
        self._sync_planned = False
        try:
            self._sync()
        except OSError as error:
            log.warning(
                "the journal can't be synced", extra={"path": str(self._folder), "reason": str(error)}
            )

    # -- reading: in a thread ----------------------------------------------------------------------------------------

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """The next uncommitted records, at least one whatever its size; None when there are none."""
        loop = asyncio.get_running_loop()
        while True:
            found = await loop.run_in_executor(self._reading, self._read, max_records, max_bytes)
            self._counts.last_read = found
            if found.records:
                return Batch(found.records, found.position)
            if found.position <= self._committed:
                return None
            self.commit(found.position)  # only ends of segments lay between

    def _read(self, max_records: int, max_bytes: int) -> _Found:
        found = _Found(position=self._committed)
        size = 0
        for one in list(self._segments):
            current = one is self._current
            offset = max(found.position - one.base, one.committed)
            found.position = one.base + offset
            for payloads, end in self._entries(
                one, offset, current, max_records - len(found.records), max_bytes
            ):
                records = [record for record in map(self._decoded, payloads) if record is not None]
                found.add(records, adopted=one.adopted)
                found.position = one.base + end
                size += end - offset
                offset = end
                if len(found.records) >= max_records or size >= max_bytes:
                    return found
            if not current:
                found.position = max(found.position, one.limit)
        return found

    def _entries(
        self, one: _Segment, offset: int, current: bool, max_records: int, max_bytes: int
    ) -> Iterator[tuple[list[bytes], int]]:
        """Pieces of a segment's entries, each with the offset behind it."""
        wanted = max_bytes
        while offset < one.end and max_records > 0:
            piece = os.pread(one.descriptor, min(wanted, one.end - offset), offset)
            got = segment.scan(piece, max_records)
            offset += got.used_bytes
            if got.payloads:
                max_records -= len(got.payloads)
                wanted = max_bytes
                yield got.payloads, offset
            elif got.torn or (got.wanted_bytes and offset + got.wanted_bytes > one.end):
                self._note_torn(one, offset)
                return
            elif got.ended:
                return
            else:
                wanted = got.wanted_bytes

    def _note_torn(self, one: _Segment, offset: int) -> None:
        self.torn += 1
        log.warning(
            "the last entry of a journal was cut and is dropped",
            extra={"path": str(one.path), "offset": offset},
        )

    def _decoded(self, payload: bytes) -> Record | None:
        try:
            return codec.decode(payload)
        except msgspec.DecodeError as error:
            self.rejected += 1
            log.warning(
                "an entry of the journal can't be read and is put aside", extra={"reason": str(error)}
            )
            with (self._directory / REJECTED).open("ab") as file:
                file.write(payload + b"\n")
            return None

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    def commit(self, position: int) -> None:
        """All records up to this batch's position are stored and may go."""
        self._counts.commit(position)
        self._committed = max(self._committed, position)
        while len(self._segments) > 1 and self._segments[0].limit <= position:
            done = self._segments.popleft()
            self._counts.waiting_bytes -= 0 if done.adopted else done.waiting_bytes
            self._syncing.submit(_delete, done)
        first = self._segments[0]
        offset = position - first.base
        if offset > first.committed:
            self._counts.waiting_bytes -= 0 if first.adopted else offset - first.committed
            first.committed = offset
            os.pwrite(first.descriptor, segment.committed_bytes(offset), segment.COMMITTED_AT)
        while self._ages and self._ages[0][0] <= position:
            self._ages.popleft()

    def backlog(self) -> Backlog:
        adopted = sum(one.waiting_bytes for one in self._segments if one.adopted)
        age = self._clock() - self._ages[0][1] if self._ages else 0.0
        return Backlog(self._counts.waiting_records, self._counts.waiting_bytes + adopted, age)

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    @property
    def _current(self) -> _Segment:
        return self._segments[-1]

    @property
    def _written(self) -> int:
        return self._current.limit

    def _next_base(self) -> int:
        return self._segments[-1].limit if self._segments else 0

    def _mark_age(self) -> None:
        """Remember when this position was written, ten times a second at most."""
        now = self._clock()
        if not self._ages or now - self._ages[-1][1] >= 0.1:
            self._ages.append((self._written, now))
        else:
            self._ages[-1] = (self._written, self._ages[-1][1])


def _trim(one: _Segment) -> None:
    """Give back what was allocated and not used."""
    with contextlib.suppress(OSError):
        os.ftruncate(one.descriptor, one.end)


def _delete(one: _Segment) -> None:
    os.close(one.descriptor)
    one.path.unlink(missing_ok=True)


def _make_folder(directory: Path) -> tuple[Path, int]:
    """A folder of this worker's own, and the lock on it, which is there before others can see the folder."""
    name = str(uuid_utils.uuid7())
    unfinished = directory / f"{_UNFINISHED}{name}"
    unfinished.mkdir(mode=0o700)
    lock = os.open(unfinished / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return unfinished.rename(directory / name), lock


def _adopt(directory: Path, own: Path) -> list[Path]:
    """Move the segments of dead workers into `own`, the oldest first; who holds its lock is alive."""
    for folder in sorted(directory.iterdir()):
        if folder == own or not folder.is_dir() or folder.name.startswith(_UNFINISHED):
            continue
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another worker was faster
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.glob(f"*{SUFFIX}"):
                path.rename(own / path.name)
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
        except BlockingIOError:
            continue
        except OSError as error:
            log.warning("a journal can't be adopted", extra={"path": str(folder), "reason": str(error)})
        finally:
            os.close(lock)
    return sorted(own.glob(f"*{SUFFIX}"))


def _nobody() -> None:
    """Nobody listens yet."""
