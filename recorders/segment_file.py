"""One file of the journal: made, written, read and deleted. What its bytes mean is `recorders.segment`'s.

Every method blocks for as long as the operating system takes. `append` and `move_checkpoint` go to the page cache
and are for the event loop's thread; the rest is for threads. A reader and a writer may use one file at once, because
neither moves a common position: each call names its offset.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recorders import segment
from recorders.journal_folders import CHECKPOINTED
from recorders.stores.file_lock import leads_to

PIECE_BYTES: Final = 1 << 20
MANY: Final = 1 << 62

_NO_ALLOCATION: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""The file system knows no allocation ahead; it does without."""


class NotAJournal(OSError):
    """The file doesn't begin as a journal does."""


class ShorterThanWritten(OSError):
    """Somebody has cut the file."""


@dataclass(slots=True)
class SegmentFile:
    """`base` is the position of the file's first byte in the journal as a whole; the rest are offsets in the file."""

    path: Path
    descriptor: int
    end: int = segment.HEADER_BYTES
    committed: int = segment.HEADER_BYTES
    base: int = 0
    acknowledged: int = 0
    """Up to where a store has said yes. What lies between this and `committed` could not be read."""
    entries: int = 0
    """How many waited when it was adopted; of a new one, 0."""
    torn: bool = False
    """Behind the last whole entry was something when it was adopted."""
    spoilt: bool = False
    """A write or a sync failed: nothing more is to be written to it."""
    unreliable: bool = False
    """A sync failed: what was written may not be on the disk."""

    @classmethod
    def create(cls, path: Path, *, allocated_bytes: int = 0) -> SegmentFile:
        """A new file, of that size if it shall be allocated. Raises `OSError` with its path, and leaves nothing."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _allocate(descriptor, allocated_bytes)
            _write(descriptor, segment.header(), 0)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> SegmentFile:
        """A file that a dead worker left, with its true end. Raises `NotAJournal`, or `OSError`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            committed = segment.committed_of(os.pread(descriptor, segment.HEADER_BYTES, 0))
            if committed is None:
                raise NotAJournal(errno.EINVAL, "is not a journal", str(path))
            file = cls(path, descriptor, committed=committed)
            file._survey()
            file.acknowledge()
        except BaseException:
            os.close(descriptor)
            raise
        return file

    @property
    def name(self) -> str:
        """What it is called in a checkpoint; it keeps the name also with another worker."""
        return self.path.stem

    @property
    def has_no_name(self) -> bool:
        """Somebody removed it: what is written to it dies with this process. Cheap enough to ask at every start."""
        return os.fstat(self.descriptor).st_nlink == 0

    @property
    def is_removed(self) -> bool:
        """Somebody took its name away: what is written to it dies with this process, or is not found by the next."""
        return not leads_to(self.path, self.descriptor)

    @property
    def limit(self) -> int:
        """The position behind its last entry."""
        return self.base + self.end

    @property
    def is_checkpointed(self) -> bool:
        """A store that says nothing of it has nothing of it."""
        return self.name.endswith(CHECKPOINTED)

    @property
    def is_empty(self) -> bool:
        """Nothing was ever written to it."""
        return self.end == segment.HEADER_BYTES

    @property
    def waiting_bytes(self) -> int:
        return self.end - self.committed

    def append(self, data: bytes) -> None:
        """Write at the end. After an error the file is `spoilt`: a part of the data may stand in it."""
        try:
            _write(self.descriptor, data, self.end)
        except OSError as error:
            self.spoilt = True
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.end += len(data)

    def rename(self, path: Path) -> None:
        self.path.rename(path)
        self.path = path

    def move_checkpoint(self, offset: int) -> None:
        """Entries before `offset` are stored. Where that can't be written, they come again after a crash."""
        self.committed = offset
        with contextlib.suppress(OSError):
            os.pwrite(self.descriptor, segment.committed_bytes(offset), segment.COMMITTED_AT)

    def entries_from(self, offset: int) -> tuple[int, int]:
        """Where an entry begins that is to come again, and how many then do: at `offset`, else at the first."""
        try:
            if not self._begins_at(offset, self.end):
                offset = segment.HEADER_BYTES
            return offset, sum(len(payloads) for payloads in self.walk(offset, self.committed))
        except ShorterThanWritten:
            return self.committed, 0  # what isn't there can't come again

    def acknowledge(self) -> None:
        """A store has said yes to what is stored; 0 says that it has begun with nothing."""
        self.acknowledged = self.committed if self.committed > segment.HEADER_BYTES else 0

    def sync(self) -> None:
        """Everything written is on the disk, or `OSError`: then, and from then on, nothing of it can be relied on.

        After a failed sync the operating system takes the pages for written, so that asking again proves nothing.
        """
        if self.unreliable:
            raise OSError(errno.EIO, "an earlier sync failed", str(self.path))
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self.unreliable = self.spoilt = True
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def walk(self, start: int, end: int, *, max_entries: int = MANY, piece_bytes: int = PIECE_BYTES) -> Walk:
        return Walk(self, start, end, max_entries, piece_bytes)

    def trim(self) -> None:
        """Give back what was allocated and not used."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, self.end)

    def close(self) -> None:
        os.close(self.descriptor)

    def delete(self) -> None:
        """What can't be deleted comes again, which a store doesn't mind."""
        os.close(self.descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _survey(self) -> None:
        """Find the true end, and how many entries wait."""
        size = os.fstat(self.descriptor).st_size
        if not self._begins_at(self.committed, size):
            self.committed = segment.HEADER_BYTES  # a checkpoint not to be believed: all of them come again
        walk = self.walk(self.committed, size)
        self.entries = sum(len(payloads) for payloads in walk)
        self.end = walk.offset
        self.torn = walk.torn or self._has_more(walk)

    def _begins_at(self, offset: int, size: int) -> bool:
        """Whether an entry begins there, or the last one ends there."""
        if offset > size:
            return False
        if any(self.walk(offset, size, max_entries=1)):
            return True
        before = self.walk(segment.HEADER_BYTES, offset)
        for _ in before:
            pass
        return before.offset == offset

    def _has_more(self, walk: Walk) -> bool:
        """Whether behind the last entry is something but zeros: what was written when the power went."""
        offset = walk.offset
        while piece := os.pread(self.descriptor, PIECE_BYTES, offset):
            if any(piece):
                return True
            offset += len(piece)
        return False


class Walk:
    """The entries of a file between two offsets, piece by piece; while it goes, `offset` is behind what it gave.

    A piece is of `piece_bytes`, or as long as one entry that is longer. At the end `torn` says whether something
    stood behind the last whole entry that is none.
    """

    def __init__(self, file: SegmentFile, start: int, end: int, max_entries: int, piece_bytes: int) -> None:
        self._file, self._end = file, end
        self._max_entries, self._piece_bytes = max_entries, piece_bytes
        self.offset = start
        self.torn = False

    def __iter__(self) -> Iterator[list[bytes]]:
        wanted = self._piece_bytes
        left = self._max_entries
        while self.offset < self._end and left > 0:
            piece = self._read(min(wanted, self._end - self.offset))
            got = segment.scan(piece, left)
            self.offset += got.used_bytes
            left -= len(got.payloads)
            if got.payloads:
                wanted = self._piece_bytes
                yield got.payloads
            elif got.ended or got.torn or got.wanted_bytes > self._end - self.offset:
                self.torn = got.torn or (not got.ended and any(piece))
                return
            else:
                wanted = got.wanted_bytes

    def _read(self, size: int) -> bytes:
        piece = os.pread(self._file.descriptor, size, self.offset)
        if len(piece) < size:
            raise ShorterThanWritten(
                errno.EIO, "is shorter than what was written to it", str(self._file.path)
            )
        return piece


def _allocate(descriptor: int, size: int) -> None:
    if size:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _NO_ALLOCATION:
                raise


def _write(descriptor: int, data: bytes, offset: int) -> None:
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, "only a part could be written")
