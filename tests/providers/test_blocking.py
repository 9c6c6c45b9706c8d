"""Answers that are one document: collected, bounded, read at the end."""

from __future__ import annotations

from providers.base import Fact, ProviderFailure
from providers.blocking import BlockingReader
from providers.documents import Unreadable


def read_answer(body: bytes) -> tuple[str, list[Fact]]:
    if body == b"broken":
        raise Unreadable("no JSON")
    return "id", [ProviderFailure(type="t", message=body.decode())]


def test_the_document_is_read_when_it_is_over() -> None:
    """Pieces tell nothing, the end tells all."""
    reader = BlockingReader(read_answer)
    assert list(reader.feed(b"ab")) == []
    assert list(reader.feed(b"cd")) == []
    assert list(reader.close()) == [ProviderFailure(type="t", message="abcd")]
    assert (reader.msg_id, reader.flaws) == ("id", [])


def test_a_document_beyond_the_limit_is_dropped_and_named() -> None:
    """Nothing is kept of it, however much more comes."""
    reader = BlockingReader(read_answer, max_bytes=4)
    for _ in range(100):
        reader.feed(b"abc")
    assert list(reader.close()) == []
    assert reader.flaws == ["an answer longer than 4 bytes was not read"]


def test_a_document_of_exactly_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    reader = BlockingReader(read_answer, max_bytes=4)
    reader.feed(b"abcd")
    assert len(list(reader.close())) == 1


def test_what_cannot_be_read_is_a_flaw() -> None:
    """A cut answer, or a page of HTML."""
    reader = BlockingReader(read_answer)
    reader.feed(b"broken")
    assert list(reader.close()) == []
    assert reader.flaws == ["the answer was not read: no JSON"]


def test_an_empty_answer_is_no_flaw() -> None:
    """HEAD, 204, or a client that left before the body began."""
    reader = BlockingReader(read_answer)
    reader.feed(b" \n")
    assert list(reader.close()) == []
    assert reader.flaws == []
