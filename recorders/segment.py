"""The format of a journal's files: entries with length and checksum, behind a header that holds the checkpoint.

    offset 0   8 bytes  magic, with the version of the format
    offset 8   8 bytes  committed: where the entries begin that no store has yet
    offset 16  entries: 4 bytes length, 4 bytes CRC-32 of the payload, the payload

Numbers are little-endian. A file is allocated before it is filled, so behind the last entry there are zeros: a length
of zero ends it. An entry that is cut, or whose checksum is wrong, was being written when the machine died; it and
whatever follows is torn. This module reads and writes bytes, never files.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"AIGWJ\x00\x00\x01"
HEADER_BYTES: Final = 16
MAX_PAYLOAD_BYTES: Final = 512 * 1024 * 1024
"""More than a prompt of the largest usual body can grow to when JSON escapes each of its characters."""

_ENTRY: Final = struct.Struct("<II")
_COMMITTED: Final = struct.Struct("<Q")
COMMITTED_AT: Final = len(MAGIC)
ENTRY_HEAD_BYTES: Final = _ENTRY.size


def header(committed: int = HEADER_BYTES) -> bytes:
    return MAGIC + committed_bytes(committed)


def committed_bytes(committed: int) -> bytes:
    return _COMMITTED.pack(committed)


def committed_of(head: bytes) -> int | None:
    """The checkpoint in a file's first bytes, or None when they are not a journal's."""
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        return None
    committed: int = _COMMITTED.unpack_from(head, COMMITTED_AT)[0]
    return max(committed, HEADER_BYTES)


def entry(payload: bytes) -> bytes:
    """The payload as it is written. Raises `ValueError` when it is empty or longer than an entry may be."""
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"an entry of {len(payload)} bytes can't be written")
    return _ENTRY.pack(len(payload), zlib.crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class Scan:
    """What a piece of a file holds. `wanted_bytes` is more than 0 when the next entry needs a longer piece."""

    payloads: list[bytes]
    used_bytes: int
    wanted_bytes: int = 0
    torn: bool = False
    ended: bool = False


def scan(piece: bytes, max_entries: int) -> Scan:
    """The whole entries at the beginning of `piece`, at most `max_entries`."""
    payloads: list[bytes] = []
    position = 0
    while len(payloads) < max_entries:
        if len(piece) - position < _ENTRY.size:
            return Scan(payloads, position, wanted_bytes=_ENTRY.size)
        length, checksum = _ENTRY.unpack_from(piece, position)
        if length == 0:
            return Scan(payloads, position, ended=True, torn=checksum != 0)
        if length > MAX_PAYLOAD_BYTES:
            return Scan(payloads, position, torn=True)
        end = position + _ENTRY.size + length
        if end > len(piece):
            return Scan(payloads, position, wanted_bytes=end - position)
        payload = piece[position + _ENTRY.size : end]
        if zlib.crc32(payload) != checksum:
            return Scan(payloads, position, torn=True)
        payloads.append(payload)
        position = end
    return Scan(payloads, position)
