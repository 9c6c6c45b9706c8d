"""The format of the journal's files: whatever is cut or turned, the whole entries before it are there."""

from __future__ import annotations

import pytest

from recorders import segment

PAYLOADS = [b'{"a": 1}', b"x", b'{"name": "Z\xc3\xbcrich"}' * 3]
WHOLE = b"".join(segment.entry(payload) for payload in PAYLOADS)
ENDS = [sum(len(segment.entry(payload)) for payload in PAYLOADS[:count]) for count in range(4)]
MANY = 100


def whole_before(offset: int) -> int:
    """How many entries end at or before it."""
    return sum(end <= offset for end in ENDS[1:])


def test_what_was_written_is_read() -> None:
    """Entry by entry, in order, and zeros behind them end the file."""
    got = segment.scan(WHOLE + bytes(64), MANY)
    assert (got.payloads, got.used_bytes, got.ended, got.torn) == (PAYLOADS, len(WHOLE), True, False)


def test_no_more_entries_are_read_than_asked_for() -> None:
    """A batch has a bound; the rest is for the next."""
    got = segment.scan(WHOLE, 2)
    assert (got.payloads, got.used_bytes, got.ended) == (PAYLOADS[:2], ENDS[2], False)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_cut_anywhere_the_whole_entries_are_kept(length: int) -> None:
    """The piece says how much more it takes to go on, and what is complete is not held back."""
    got = segment.scan(WHOLE[:length], MANY)
    assert got.payloads == PAYLOADS[: whole_before(length)]
    assert got.used_bytes == ENDS[whole_before(length)]
    assert got.wanted_bytes > length - got.used_bytes
    assert not got.torn


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_with_any_byte_turned_nothing_before_it_is_lost_and_nothing_wrong_is_given(place: int) -> None:
    """A wrong checksum is noticed, and a wrong length points out of the file or at a wrong checksum."""
    for turned in {0x00, 0xFF, WHOLE[place] ^ 0x01, WHOLE[place] ^ 0x80} - {WHOLE[place]}:
        data = WHOLE[:place] + bytes([turned]) + WHOLE[place + 1 :]
        got = segment.scan(data, MANY)
        assert got.payloads == PAYLOADS[: whole_before(place)]
        assert got.torn or got.wanted_bytes > len(data) - got.used_bytes


def test_zeros_where_a_checksum_should_be_are_no_end() -> None:
    """A length of zero ends a file only when nothing stands beside it."""
    got = segment.scan(bytes(4) + b"\x01\x02\x03\x04", MANY)
    assert (got.ended, got.torn) == (True, True)


def test_a_length_that_cannot_be_is_torn_and_not_waited_for() -> None:
    """Nobody reads gigabytes because of four bytes."""
    got = segment.scan((segment.MAX_PAYLOAD_BYTES + 1).to_bytes(4, "little") + bytes(4), MANY)
    assert (got.torn, got.wanted_bytes) == (True, 0)


def test_an_empty_entry_is_refused() -> None:
    """Its length would be the end of the file."""
    with pytest.raises(ValueError, match="0 bytes"):
        segment.entry(b"")


@pytest.mark.parametrize("committed", [segment.HEADER_BYTES, 4711, 2**40])
def test_the_header_holds_the_checkpoint(committed: int) -> None:
    """It can be overwritten alone, at a place of its own."""
    head = segment.header()
    changed = head[: segment.COMMITTED_AT] + segment.committed_bytes(committed)
    assert segment.committed_of(head) == segment.HEADER_BYTES
    assert segment.committed_of(changed) == committed


@pytest.mark.parametrize("head", [b"", segment.header()[:-1], b"\x00" * 16, b"{}" * 8])
def test_what_is_no_header_is_told_apart(head: bytes) -> None:
    """Another file that lies in the folder is not read as a journal."""
    assert segment.committed_of(head) is None


def test_a_checkpoint_within_the_header_means_the_first_entry() -> None:
    """Zeros where the checkpoint should be skip nothing."""
    assert segment.committed_of(segment.MAGIC + bytes(8)) == segment.HEADER_BYTES
