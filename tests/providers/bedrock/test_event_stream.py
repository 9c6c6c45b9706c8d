"""The decoder: frames whole, split at every byte, and with something wrong in them."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from providers.bedrock.event_stream import MAX_MESSAGE_BYTES, EventMessage, EventStreamDecoder
from tests.answers.bedrock import chunk, exception, frame, raw_frame

FRAMES = [chunk(b'{"type":"ping"}'), frame({}, b""), exception("throttlingException", "slow down")]
STREAM = b"".join(FRAMES)


def decoded(*pieces: bytes) -> tuple[list[EventMessage], str]:
    decoder = EventStreamDecoder()
    messages = [message for piece in pieces for message in decoder.feed(piece)]
    decoder.close()
    return messages, decoder.broken


def prelude(total: int, headers: int) -> bytes:
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", crc32(lengths))


WHOLE = decoded(STREAM)


def test_the_messages_are_those_that_botocore_reads() -> None:
    """Headers and payloads, by another reader of the same format."""
    other = EventStreamBuffer()
    other.add_data(STREAM)
    messages, broken = WHOLE
    assert broken == ""
    assert [(m.headers, m.payload) for m in messages] == [(m.headers, m.payload) for m in other]
    assert len(messages) == len(FRAMES)


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_a_split_makes_no_difference(at: int) -> None:
    """Wherever the network cuts it in two."""
    assert decoded(STREAM[:at], STREAM[at:]) == WHOLE


def test_byte_by_byte_each_message_comes_with_its_last_byte() -> None:
    """None waits for what follows it."""
    decoder = EventStreamDecoder()
    counts = [len(decoder.feed(bytes([byte]))) for byte in STREAM]
    ends = [len(b"".join(FRAMES[: number + 1])) - 1 for number in range(len(FRAMES))]
    assert [place for place, count in enumerate(counts) if count] == ends


@pytest.mark.parametrize("at", range(len(FRAMES[0])))
def test_a_byte_that_is_wrong_is_noticed(at: int) -> None:
    """Wherever it is: the messages before it are told, and nothing after it is."""
    wrong = bytearray(FRAMES[2] + FRAMES[0] + FRAMES[1])
    wrong[len(FRAMES[2]) + at] ^= 1
    messages, broken = decoded(bytes(wrong))
    assert [message.headers[":message-type"] for message in messages] == ["exception"]
    assert "checksum" in broken


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (prelude(MAX_MESSAGE_BYTES + 1, 0), "lengths"),
        (prelude(15, 0), "lengths"),
        (prelude(100, 85), "lengths"),
        (raw_frame(b"\x01a\x07\x00\xff", b""), "headers"),
        (raw_frame(b"\x01a\x0a", b""), "headers"),
        (raw_frame(b"\x05a", b""), "headers"),
        (raw_frame(b"\x01a\x07\x00\x01\xff", b""), "headers"),
        (FRAMES[0][:-1], "ended within a message"),
    ],
)
def test_what_cannot_be_a_message_ends_the_reading(data: bytes, why: str) -> None:
    """Although its checksums may be right."""
    messages, broken = decoded(data)
    assert (messages, why in broken) == ([], True), broken


def test_nothing_is_read_after_that() -> None:
    """Where one message is broken, nobody knows where the next begins."""
    decoder = EventStreamDecoder()
    assert decoder.feed(b"\0" * 12) == []
    assert decoder.feed(STREAM) == []


def test_headers_of_other_types_are_stepped_over() -> None:
    """Each of the ten that there are."""
    values = [
        b"\0",
        b"\1",
        b"\2a",
        b"\3ab",
        b"\4abcd",
        b"\5abcdefgh",
        b"\6\0\3abc",
        b"\x08abcdefgh",
        b"\x09" + b"u" * 16,
    ]
    headers = b"".join(b"\1n" + value for value in [*values, b"\7\0\4last"])
    (message,), _ = decoded(raw_frame(headers, b"payload"))
    assert (message.headers, message.payload) == ({"n": "last"}, b"payload")


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_it_never_raises(pieces: list[bytes]) -> None:
    """Whatever a provider sends."""
    decoded(*pieces)
    decoded(STREAM, *pieces)
    decoded(raw_frame(b"".join(pieces), b""))
