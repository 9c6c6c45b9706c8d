"""The files of a journal in the order in which they were filled, and what of them is stored.

A position counts bytes through all of them, as if they were one file. What is stored keeps its place until it is let
go, so that it can wait again when a store turns out to have lost it.

All calls are made on the event loop's thread, but for `add` before the journal is open; `files` may be read from any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import takewhile

from recorders import segment
from recorders.ages import Ages
from recorders.journal_reader import Span
from recorders.segment_file import SegmentFile
from recorders.stores.base import ByteRange, Checkpoint


class Segments:
    """At first none. `waiting_records` and `waiting_bytes` are not stored yet."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.files: tuple[SegmentFile, ...] = ()
        """Replaced and never changed: other threads read it too."""
        self.waiting_records = self.waiting_bytes = 0
        self._clock = clock
        self._ages = Ages()
        self._entries_until: dict[int, int] = {}

    @property
    def current(self) -> SegmentFile:
        """The one that is written to."""
        return self.files[-1]

    @property
    def oldest_age_s(self) -> float:
        """How long the first of what waits has been waiting."""
        return self._ages.oldest_s(self._clock())

    def add(self, file: SegmentFile) -> None:
        """Behind the others, with what waits in it."""
        file.base = self.files[-1].limit if self.files else 0
        self.files = (*self.files, file)
        if file.waiting_bytes:
            self._wait(file.entries, file.waiting_bytes)

    def append(self, data: bytes) -> None:
        """One entry more at the end of the current file. Raises `OSError`."""
        self.current.append(data)
        self._wait(1, len(data))

    def spans(self) -> list[Span]:
        """What is to be read, in files as they are now."""
        return [Span(file, file.committed, file.end) for file in self.files]

    def was_read(self, position: int, entries: int) -> None:
        """Up to that position stand so many entries that wait."""
        self._entries_until[position] = entries

    @property
    def stored(self) -> int:
        """The position up to which all is stored."""
        first = next((file for file in self.files if file.waiting_bytes), self.current)
        return first.base + first.committed

    def mark_stored(self, position: int) -> None:
        """A store has said yes to all up to there."""
        if position > self.stored:
            self.pass_over(position)
            for file in self.files:
                if file.base < position:
                    file.acknowledge()

    def pass_over(self, position: int) -> None:
        """Nothing up to there is to be read again, whatever it was."""
        for file in self.files:
            offset = min(position - file.base, file.end)
            if offset > file.committed:
                self.waiting_bytes -= offset - file.committed
                file.move_checkpoint(offset)
        self.waiting_records -= self._entries_until.get(position, 0)
        self._entries_until.clear()
        self._ages.forget(position)
        if not self.waiting_bytes:
            self.waiting_records = 0  # damaged entries were never read

    def finished(self) -> tuple[SegmentFile, ...]:
        """The oldest files, as far as all that is in them is stored; never the current one."""
        return tuple(takewhile(lambda file: not file.waiting_bytes, self.files[:-1]))

    def let_go(self, number: int) -> tuple[SegmentFile, ...]:
        """Of the oldest files so many, which are the caller's now."""
        gone, self.files = self.files[:number], self.files[number:]
        return gone

    def behind(self, checkpoint: Checkpoint) -> list[SegmentFile]:
        """The files of which more is stored than the checkpoint says."""
        return [file for file in self.files if self.stored_bytes(file, checkpoint) < file.committed]

    def stored_bytes(self, file: SegmentFile, checkpoint: Checkpoint) -> int:
        """What the checkpoint says of it. Of a file of a version that kept none, what the file says itself must do."""
        unsaid = segment.HEADER_BYTES if file.is_checkpointed else file.committed
        return max(checkpoint.get(file.name, unsaid), segment.HEADER_BYTES)

    def wait_again(self, file: SegmentFile, offset: int, entries: int) -> None:
        """From `offset` on, where so many entries begin that were stored."""
        self._ages.mark_again(file.base + file.committed, self._clock())
        self.waiting_records += entries
        self.waiting_bytes += file.committed - offset
        file.move_checkpoint(offset)
        file.acknowledge()

    def _wait(self, records: int, size_bytes: int) -> None:
        self.waiting_records += records
        self.waiting_bytes += size_bytes
        self._ages.mark(self.current.limit, self._clock())


def ranges_of(spans: Sequence[Span], position: int) -> dict[str, ByteRange]:
    """By file, what was read of it, or passed over, since a store has said yes, when all was up to `position`."""
    ranges = {}
    for file, _, end in spans:
        reached = min(position - file.base, end)
        if max(file.acknowledged, segment.HEADER_BYTES) < reached:
            ranges[file.name] = ByteRange(file.acknowledged, reached)
    return ranges
