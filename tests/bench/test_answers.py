"""The load generator's reader of answers."""

from __future__ import annotations

import pytest

from tests.bench.answers import AnswerReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nfirst\r\n" + b"d\r\nin\r\n0\r\n\r\nbody\r\n" + b"0\r\n\r\n"
)
WITH_LENGTH = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nbody"
EMPTY = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (WITH_LENGTH, 404, b"body"),
        (EMPTY, 200, b""),
        (CHUNKED.replace(b"in\r\n0\r\n\r\nbody", b"in the middle"), 200, b"firstin the middle"),
    ],
)
def test_answer_is_read_in_whatever_pieces_it_comes(answer: bytes, status: int, body: bytes) -> None:
    """Whole, and byte by byte: complete at the last byte and not before."""
    for size in (len(answer), 1):
        reader = AnswerReader()
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        complete = [reader.feed(piece) for piece in pieces]
        assert complete == [False] * (len(pieces) - 1) + [True]
        assert (reader.status, reader.body()) == (status, body)


def test_body_begins_when_its_first_byte_has_come() -> None:
    """The head alone is no first byte."""
    reader = AnswerReader()
    reader.feed(WITH_LENGTH[:-4])
    assert not reader.has_body
    reader.feed(b"b")
    assert reader.has_body
