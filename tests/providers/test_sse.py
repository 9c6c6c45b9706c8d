"""Server-sent events out of bytes: the rules of WHATWG HTML, section 9.2.6, and the bounds."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.flaws import Flaws
from providers.sse import EventSplitter, data_of, event_end, name_of

bounded = settings(max_examples=300, derandomize=True, deadline=None, database=None)
STREAMS = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"data: a", b"data", b"event:x", b":", b"data:b", b"\xef\xbb\xbf"]
    ),
    max_size=16,
).map(b"".join)


def events(*pieces: bytes, max_event_bytes: int = 1000) -> list[bytes]:
    splitter = EventSplitter(Flaws(), max_event_bytes)
    found = [event for piece in pieces for event in splitter.feed(piece)]
    return [*found, *splitter.close()]


def messages(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    """Name and data of the events that have any."""
    return [(name_of(event), data_of(event)) for event in events(*pieces) if data_of(event)]


def by_the_book(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's own algorithm, line by line; it also dispatches what stands at the end."""
    found: list[tuple[bytes, bytes]] = []
    name, data = b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        field, _, value = line.partition(b":")
        if not line:
            if b"\n".join(data):
                found.append((name, b"\n".join(data)))
            name, data = b"", []
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return found


@given(STREAMS)
@bounded
def test_it_reads_as_the_standard_says(stream: bytes) -> None:
    """Against a line-by-line reading of the standard, whole and byte by byte."""
    assert messages(stream) == by_the_book(stream)
    assert messages(*(stream[at : at + 1] for at in range(len(stream)))) == by_the_book(stream)


@given(STREAMS, st.integers(0, 60))
@bounded
def test_a_split_anywhere_changes_nothing(stream: bytes, at: int) -> None:
    """Two chunks are read as one."""
    assert messages(stream[:at], stream[at:]) == by_the_book(stream)


def test_a_name_and_data_may_have_a_space_or_none() -> None:
    """One space after the colon belongs to the format, a second one to the value."""
    assert messages(b"event:a\ndata:1\n\nevent: b\ndata:  2\n\n") == [(b"a", b"1"), (b"b", b" 2")]


def test_data_lines_are_joined_by_line_feeds() -> None:
    """Several data lines are one value, also the empty ones."""
    assert messages(b"data: a\ndata\ndata: b\n\n") == [(b"", b"a\n\nb")]


def test_comments_and_other_fields_are_passed_over() -> None:
    """Comments, `id`, `retry` and unknown fields leave no trace."""
    assert messages(b": hi\nid: 1\ndata: a\nretry: 5\n:\nDATA: b\n\n: ping\n\n") == [(b"", b"a")]


def test_the_unicode_line_separator_is_no_line_end() -> None:
    """U+2028, U+2029, U+0085 and the ASCII separators stand within data."""
    data = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()
    assert messages(b"data: " + data + b"\n\n") == [(b"", data)]


def test_a_crlf_split_between_chunks_is_one_line_end() -> None:
    """The LF that follows a CR at the end of a chunk is not an empty line."""
    assert messages(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [(b"", b"a\nb")]


def test_an_event_is_told_as_soon_as_its_blank_line_is_there() -> None:
    """Nothing waits for the next chunk, also not with CR line ends."""
    splitter = EventSplitter(Flaws())
    assert splitter.feed(b"data: a\n\n") == [b"data: a"]
    assert splitter.feed(b"data: b\r\r") == [b"data: b"]
    assert splitter.feed(b"data: c\r\n\r") == [b"data: c"]


def test_the_byte_order_mark_counts_only_at_the_start() -> None:
    """A BOM is taken off the stream, split or not; later it is part of a field's name."""
    assert messages(b"\xef", b"\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [(b"", b"a")]
    assert events(b"\xef\xbb") == [b"\xef\xbb"]


def test_what_stands_at_the_end_without_a_blank_line_is_told_at_close() -> None:
    """The end of the stream may cut anywhere; the reader decides what to make of it."""
    assert events(b"data: a\n\ndata: b") == [b"data: a", b"data: b"]


def test_an_event_of_exactly_the_limit_is_told_and_one_more_byte_is_not() -> None:
    """The limit is the same whether an event comes whole or in pieces."""
    fits, too_long = b"data: 7890", b"data: 78901"
    for stream in (
        fits + b"\n\n" + too_long + b"\n\n" + fits,
        b"\n\n".join((too_long, fits, too_long, fits)),
    ):
        whole = events(stream, max_event_bytes=10)
        assert whole == [fits, fits]
        assert events(*(stream[at : at + 1] for at in range(len(stream))), max_event_bytes=10) == whole


def test_a_skipped_event_is_a_flaw_and_holds_no_memory() -> None:
    """However long the event is, at most the limit of it is kept."""
    flaws = Flaws()
    splitter = EventSplitter(flaws, 10)
    for _ in range(100):
        assert splitter.feed(b"x" * 100) == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\ndata: a\n\n") == [b"data: a"]
    assert flaws == ["an event longer than 10 bytes was skipped"]


def test_a_skipped_event_at_the_end_is_not_told_at_close() -> None:
    """The end does not bring an event back that was too long."""
    assert events(b"x" * 50, max_event_bytes=10) == []
    assert events(b"x" * 11, max_event_bytes=10) == []


@given(STREAMS)
@bounded
def test_event_end_finds_the_events_in_the_bytes_as_they_are(stream: bytes) -> None:
    """Cut at each end that is found, the stream says the same, and every part but the last ends in a blank line."""
    start, parts = 0, []
    while (end := event_end(stream, start)) != -1:
        parts.append(stream[start:end])
        start = end
    assert all(re.search(rb"(\r\n|\n|\r(?!\n))(\r\n?|\n)\Z", part) for part in parts)
    assert [m for part in [*parts, stream[start:]] for m in by_the_book(part)] == by_the_book(stream)
