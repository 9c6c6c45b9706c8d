"""Decodes `application/vnd.amazon.eventstream`, without I/O: bytes in, in whatever pieces, whole messages out.

    | total length 4 | headers length 4 | CRC32 of these 8 | headers | payload | CRC32 of all before it |

All numbers are big-endian. Both checksums are verified, the first one before its lengths are believed; a message is at
most `MAX_MESSAGE_BYTES` long. After something that can't be a message nothing more is read: `broken` says what it was.

Format: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html (event stream encoding).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from zlib import crc32

MAX_MESSAGE_BYTES: Final = 24 * 1024 * 1024

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_STRING: Final = 7
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""How many bytes the value of a header has, by its type; bytes (6) and strings (7) say it themselves."""
_COUNTED: Final = (6, _STRING)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One message. `headers` has those whose value is a string; Bedrock sends no others that matter."""

    headers: dict[str, str]
    payload: bytes


class EventStreamDecoder:
    """`feed` returns the messages that are now complete."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.broken = ""

    def feed(self, data: bytes) -> list[EventMessage]:
        found: list[EventMessage] = []
        if not self.broken:
            self._pending += data
        try:
            while not self.broken and (message := self._next()):
                found.append(message)
        except _Broken as reason:
            self.broken = str(reason)
            self._pending.clear()
        return found

    def close(self) -> None:
        """The stream is over: what is left over was to be a message."""
        if self._pending and not self.broken:
            self.broken = "the stream ended within a message"

    def _next(self) -> EventMessage | None:
        pending = self._pending
        if len(pending) < _PRELUDE.size:
            return None
        total, headers_length, prelude_crc = _PRELUDE.unpack_from(pending)
        if crc32(pending[:8]) != prelude_crc:
            raise _Broken("the checksum of a prelude is wrong")
        payload_start, end = _PRELUDE.size + headers_length, total - _CRC.size
        if total > MAX_MESSAGE_BYTES or payload_start > end:
            raise _Broken("the lengths of a message can't be")
        if len(pending) < total:
            return None
        whole = bytes(pending[:total])
        del pending[:total]
        if crc32(whole[:end]) != _CRC.unpack_from(whole, end)[0]:
            raise _Broken("the checksum of a message is wrong")
        return EventMessage(_string_headers(whole[_PRELUDE.size : payload_start]), whole[payload_start:end])


class _Broken(Exception):
    """What comes next can't be a message."""


def _string_headers(data: bytes) -> dict[str, str]:
    """| name length 1 | name | type 1 | value |, again and again."""
    found: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            name_end = position + 1 + data[position]
            name, kind = data[position + 1 : name_end], data[name_end]
            start = name_end + 1
            if kind in _COUNTED:
                size = _LENGTH.unpack_from(data, start)[0]
                start += _LENGTH.size
            else:
                size = _SIZES[kind]
            position = start + size
            if kind == _STRING:
                found[name.decode()] = data[start:position].decode()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise _Broken("the headers of a message can't be read") from error
    if position > len(data):
        raise _Broken("the headers of a message are longer than it says")
    return found
