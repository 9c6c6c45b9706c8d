"""A reader's own copy of an answer that came compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence

import pytest

from providers.base import Fact, ProviderFailure
from providers.content_coding import MAX_STEP, decoding

PLAIN = b'{"answer": "' + b"word " * 400 + b'"}'


class Keeping:
    """A reader that keeps what it is fed, and tells one fact a piece and one at the end."""

    def __init__(self) -> None:
        self.msg_id, self.complete = "msg-1", False
        self.flaws: list[str] = []
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[Fact]:
        self.pieces.append(data)
        return [ProviderFailure(type="piece", message=str(len(self.pieces)))]

    def close(self) -> Sequence[Fact]:
        self.flaws.append("an own flaw")
        return [ProviderFailure(type="closed", message="")]

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


@pytest.mark.parametrize("coding", ["", "identity", " Identity "])
def test_a_plain_answer_has_no_decoder(coding: str) -> None:
    """The reader itself is handed back."""
    reader = Keeping()
    assert decoding(reader, coding) is reader


@pytest.mark.parametrize(
    ("coding", "coded"),
    [("gzip", gzip.compress(PLAIN)), ("GZip ", gzip.compress(PLAIN)), ("deflate", zlib.compress(PLAIN))],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_reader_sees_the_plain_bytes(coding: str, coded: bytes, size: int) -> None:
    """In whatever pieces the coded ones come; facts and the message ID come through."""
    inner = Keeping()
    reader = decoding(inner, coding)
    facts = [fact for at in range(0, len(coded), size) for fact in reader.feed(coded[at : at + size])]
    assert inner.data == PLAIN
    assert len(facts) == len(inner.pieces)
    assert reader.close() == [ProviderFailure(type="closed", message="")]
    assert reader.flaws == ["an own flaw"]
    assert reader.msg_id == "msg-1"


def test_an_answer_that_unpacks_to_much_is_fed_in_steps() -> None:
    """A small answer can't fill the memory at one go."""
    inner = Keeping()
    size = 3 * MAX_STEP + 17
    decoding(inner, "gzip").feed(gzip.compress(bytes(size)))
    assert sum(map(len, inner.pieces)) == size
    assert max(map(len, inner.pieces)) <= MAX_STEP


def test_members_of_one_answer_are_read_one_after_the_other() -> None:
    """A gzip answer may be several, set end to end (RFC 1952 section 2.2)."""
    inner = Keeping()
    coded = gzip.compress(PLAIN) + gzip.compress(b"more")
    reader = decoding(inner, "gzip")
    for at in range(0, len(coded), 5):
        reader.feed(coded[at : at + 5])
    assert inner.data == PLAIN + b"more"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x" * 100])
def test_an_unknown_coding_is_a_flaw(coding: str) -> None:
    """The reader is told nothing, and the flaw names the coding, shortened."""
    inner = Keeping()
    reader = decoding(inner, coding)
    assert reader.feed(b"\x00\x01") == []
    reader.close()
    assert inner.pieces == []
    assert reader.flaws[0] == f"content-encoding {coding[:20]} can't be read"


def test_an_answer_that_does_not_unpack_is_a_flaw() -> None:
    """What came before the trouble was read, what comes after isn't, and nothing is raised."""
    inner = Keeping()
    reader = decoding(inner, "gzip")
    coded = bytearray(gzip.compress(PLAIN))
    coded[-6] ^= 0xFF
    reader.feed(bytes(coded))
    assert reader.feed(b"more") == []
    assert any("can't be read" in flaw for flaw in reader.flaws)


def test_the_message_id_can_be_set_through_it() -> None:
    """It is the reader's own."""
    inner = Keeping()
    reader = decoding(inner, "gzip")
    reader.msg_id = "msg-2"
    assert inner.msg_id == "msg-2"
