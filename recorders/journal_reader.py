"""Reading the journal: from bytes in several files to a batch of records, in a thread.

What is no record that this version knows is put aside and counted, once, and so is what the disk gave back damaged:
neither holds up what follows. One thread reads at a time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorders import codec
from recorders.records import Record
from recorders.segment_file import SegmentFile, ShorterThanWritten, Walk

log = logging.getLogger("ai_gateway.recorders")


class Span(NamedTuple):
    """Where entries wait in a file."""

    file: SegmentFile
    start: int
    end: int


@dataclass(slots=True)
class Found:
    """`position` is behind the last entry that was looked at; `entries` counts those that are no records too."""

    position: int
    records: list[Record] = field(default_factory=list)
    entries: int = 0


class JournalReader:
    """`aside` is the file for entries that can't be read, one a line."""

    def __init__(self, aside: Path) -> None:
        self._aside = aside
        self._told_until = 0
        self.damaged = 0
        self.rejected = 0

    def read(self, spans: Sequence[Span], max_records: int, max_bytes: int) -> Found:
        """The first records in `spans`; at least one if there is one, and with a large one more than `max_bytes`."""
        found = Found(spans[0].file.base + spans[0].start)
        for file, start, end in spans:
            left = max_records - found.entries
            walk = file.walk(start, end, max_entries=left, piece_bytes=max(max_bytes, 1))
            payloads = _first_of(walk)
            max_bytes -= walk.offset - start
            found.entries += len(payloads)
            found.position = file.base + walk.offset
            self._decode(payloads, found)
            if walk.torn or (not payloads and start < end):
                file.spoilt = True
                found.position = file.base + end
                self._tell_damage(file, walk.offset, found.position)
            elif walk.offset < end or found.entries >= max_records or max_bytes <= 0:
                break
        return found

    def _decode(self, payloads: Sequence[bytes], found: Found) -> None:
        rejected: list[bytes] = []
        for payload in payloads:
            try:
                found.records.append(codec.decode(payload))
            except msgspec.DecodeError:
                rejected.append(payload)
        if rejected and self._is_news(found.position):
            self.rejected += len(rejected)
            log.error(
                "%d entries of the journal can't be read and are kept in %s", len(rejected), self._aside
            )
            _append_private(self._aside, b"".join(payload + b"\n" for payload in rejected))

    def _tell_damage(self, file: SegmentFile, offset: int, position: int) -> None:
        """The disk gave back something else than was written; what follows it in the file can't be found."""
        if self._is_news(position):
            self.damaged += 1
            log.error("a file of the journal is damaged from byte %d on: %s", offset, file.path)

    def _is_news(self, position: int) -> bool:
        """Whether it was not told when the same entries were read before, for a store that then failed."""
        if position <= self._told_until:
            return False
        self._told_until = position
        return True


def _first_of(walk: Walk) -> list[bytes]:
    """None where somebody has cut the file."""
    try:
        return next(iter(walk), [])
    except ShorterThanWritten:
        return []


def _append_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)
