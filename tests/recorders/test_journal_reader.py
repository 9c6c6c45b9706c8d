"""Reading over several files: batches, bounds, and what is told once however often it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from recorders import codec, segment
from recorders.journal_reader import JournalReader, Span
from recorders.records import Record
from recorders.segment_file import SegmentFile
from tests.recorders import samples

MANY = 1000
LARGE = 1 << 30


@pytest.fixture
def spans(tmp_path: Path) -> Iterator[list[Span]]:
    """Three files of two records each, one after the other."""
    files: list[SegmentFile] = []
    for name in "abc":
        file = SegmentFile.create(tmp_path / f"{name}.journal", allocated_bytes=4096)
        file.base = files[-1].limit if files else 0
        for record in (samples.start(name), samples.end(name)):
            file.append(segment.entry(codec.encode(record)))
        files.append(file)
    yield [Span(file, file.committed, file.end) for file in files]
    for file in files:
        file.close()


def records(names: str) -> list[Record]:
    return [record for name in names for record in (samples.start(name), samples.end(name))]


def read_in_batches(
    reader: JournalReader, spans: Sequence[Span], max_records: int, max_bytes: int
) -> list[int]:
    """The sizes of batches until all is read, each beginning where the one before ended."""
    sizes: list[int] = []
    found: list[Record] = []
    while len(found) < 6:
        done = reader.read(spans, max_records, max_bytes)
        sizes.append(len(done.records))
        found += done.records
        spans = [
            Span(file, max(start, done.position - file.base), end)
            for file, start, end in spans
            if file.limit > done.position
        ]
    assert found == records("abc")
    return sizes


def test_a_batch_may_go_over_several_files(spans: list[Span], tmp_path: Path) -> None:
    """Its position is behind its last entry."""
    found = JournalReader(tmp_path / "aside").read(spans, MANY, LARGE)
    assert (found.records, found.entries) == (records("abc"), 6)
    assert found.position == spans[-1].file.limit


@pytest.mark.parametrize(
    ("max_records", "max_bytes", "sizes"),
    [(2, LARGE, [2, 2, 2]), (4, LARGE, [4, 2]), (5, LARGE, [5, 1]), (MANY, 1, [1] * 6)],
)
def test_batches_are_bounded_and_miss_nothing(
    spans: list[Span], tmp_path: Path, max_records: int, max_bytes: int, sizes: list[int]
) -> None:
    """Whatever the bounds, one record at least, and each once."""
    assert read_in_batches(JournalReader(tmp_path / "aside"), spans, max_records, max_bytes) == sizes


def test_nothing_waiting_is_an_empty_batch_where_it_began(spans: list[Span], tmp_path: Path) -> None:
    """There is nothing to commit."""
    (file, _, end) = spans[-1]
    found = JournalReader(tmp_path / "aside").read([Span(file, end, end)], MANY, LARGE)
    assert (found.records, found.entries, found.position) == ([], 0, file.limit)


def test_what_is_no_record_is_put_aside_once(spans: list[Span], tmp_path: Path) -> None:
    """It counts as an entry, so that the checkpoint passes it; a store that fails has it read again."""
    file = spans[-1].file
    file.append(segment.entry(b'{"record_type":"dream"}'))
    spans[-1] = Span(file, file.committed, file.end)
    reader = JournalReader(tmp_path / "aside")
    for _ in range(3):
        found = reader.read(spans, MANY, LARGE)
        assert (len(found.records), found.entries) == (6, 7)
    assert reader.rejected == 1
    assert (tmp_path / "aside").read_bytes() == b'{"record_type":"dream"}\n'


def test_damage_is_told_once_and_the_next_file_is_read(
    spans: list[Span], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the file and the byte."""
    path = spans[1].file.path
    data = bytearray(path.read_bytes())
    data[30] ^= 0xFF
    path.write_bytes(data)
    reader = JournalReader(tmp_path / "aside")
    for _ in range(3):
        assert reader.read(spans, MANY, LARGE).records == records("ac")
    assert reader.damaged == 1
    assert f"damaged from byte 16 on: {path}" in caplog.text
