from __future__ import annotations

from pathlib import Path

import pytest

from recorders import segment
from recorders.journal_folders import CHECKPOINTED
from recorders.journal_reader import Span
from recorders.segment_file import SegmentFile
from recorders.segments import Segments, ranges_of
from recorders.stores.base import ByteRange

ENTRY = segment.entry(b"x" * 92)
HEADER, SIZE = segment.HEADER_BYTES, len(ENTRY)


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    """Three files, with 3, 2 and 1 entries, and a clock that stands at 50 s."""
    segments = Segments(lambda: 50.0)
    for name, entries in (("a", 3), ("b", 2), ("c", 1)):
        segments.add(SegmentFile.create(tmp_path / f"{name}{CHECKPOINTED}.journal"))
        for _ in range(entries):
            segments.append(ENTRY)
    return segments


def names(files: list[SegmentFile] | tuple[SegmentFile, ...]) -> list[str]:
    return [file.name.removesuffix(CHECKPOINTED) for file in files]


def ranges(spans: list[Span], position: int) -> dict[str, ByteRange]:
    return {name.removesuffix(CHECKPOINTED): found for name, found in ranges_of(spans, position).items()}


def store_to(segments: Segments, position: int, entries: int) -> None:
    segments.was_read(position, entries)
    segments.mark_stored(position)


def test_positions_go_on_from_file_to_file(segments: Segments) -> None:
    """As if they were one."""
    assert [file.base for file in segments.files] == [0, HEADER + 3 * SIZE, 2 * HEADER + 5 * SIZE]
    assert segments.stored == HEADER
    assert (segments.waiting_records, segments.waiting_bytes) == (6, 6 * SIZE)


def test_what_is_stored_waits_no_more_and_its_files_are_finished(segments: Segments) -> None:
    """But for the one that is written to."""
    store_to(segments, HEADER + 2 * SIZE, 2)
    assert names(segments.finished()) == []
    assert (segments.waiting_records, segments.waiting_bytes) == (4, 4 * SIZE)
    store_to(segments, segments.current.limit, 4)
    assert names(segments.finished()) == ["a", "b"]
    assert segments.stored == segments.current.limit
    assert (segments.waiting_records, segments.waiting_bytes, segments.oldest_age_s) == (0, 0, 0.0)
    assert names(segments.let_go(1)) == ["a"]
    assert names(segments.files) == ["b", "c"]


def test_a_checkpoint_names_the_files_that_are_too_far(segments: Segments) -> None:
    """Those that it is further with and those of which nothing is stored are not; one that it doesn't name may be."""
    store_to(segments, segments.files[1].base + HEADER + SIZE, 4)

    a, b, c = (file.name for file in segments.files)
    assert names(segments.behind({a: HEADER + 3 * SIZE, b: 1 << 40, c: 0})) == []
    assert names(segments.behind({a: HEADER + SIZE, b: 0, c: 0})) == ["a", "b"]
    assert names(segments.behind({a: HEADER + 3 * SIZE})) == ["b"]


def test_a_file_of_a_version_that_kept_no_checkpoints_is_behind_only_what_is_said(tmp_path: Path) -> None:
    """What it says itself must do."""
    segments = Segments()
    segments.add(SegmentFile.create(tmp_path / "old.journal"))
    segments.append(ENTRY)
    store_to(segments, segments.current.limit, 1)

    assert segments.behind({}) == []
    assert segments.behind({"old": 0}) == [segments.current]


def test_what_waits_again_is_counted_and_comes_first(segments: Segments) -> None:
    """With what was still waiting behind it."""
    store_to(segments, segments.files[1].limit, 5)
    segments.wait_again(segments.files[0], HEADER + SIZE, 2)

    assert (segments.waiting_records, segments.waiting_bytes) == (3, 3 * SIZE)
    assert segments.stored == HEADER + SIZE
    assert names(segments.finished()) == []
    store_to(segments, segments.files[0].limit, 2)
    assert names(segments.finished()) == ["a", "b"]


def test_the_ranges_of_a_batch_begin_where_each_file_was_stored(segments: Segments) -> None:
    """0 is the beginning; a file that was not reached, or had nothing to read, has none."""
    store_to(segments, HEADER + SIZE, 1)
    spans = segments.spans()

    assert ranges(spans, segments.files[1].base + HEADER + SIZE) == {
        "a": ByteRange(HEADER + SIZE, HEADER + 3 * SIZE),
        "b": ByteRange(0, HEADER + SIZE),
    }
    store_to(segments, segments.files[0].limit, 2)
    assert ranges(segments.spans(), segments.current.limit) == {
        "b": ByteRange(0, HEADER + 2 * SIZE),
        "c": ByteRange(0, HEADER + SIZE),
    }


def test_what_was_passed_over_belongs_to_the_next_range(segments: Segments) -> None:
    """A store that keeps the ends of ranges would take it for a gap."""
    segments.was_read(segments.files[1].base + HEADER + SIZE, 4)
    segments.pass_over(segments.files[1].base + HEADER + SIZE)

    assert segments.waiting_records == 2
    assert ranges(segments.spans(), segments.files[1].limit) == {
        "a": ByteRange(0, HEADER + 3 * SIZE),
        "b": ByteRange(0, HEADER + 2 * SIZE),
    }
    store_to(segments, segments.files[1].limit, 1)
    assert ranges(segments.spans(), segments.files[1].limit) == {}
    segments.wait_again(segments.files[1], HEADER + SIZE, 1)
    assert ranges(segments.spans(), segments.files[1].limit) == {
        "b": ByteRange(HEADER + SIZE, HEADER + 2 * SIZE)
    }
