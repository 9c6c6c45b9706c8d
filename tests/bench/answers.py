"""Reads one HTTP/1.1 answer as it comes, without I/O: a status, and a body with a length or in chunks.

Made to be cheap, for it shares a core with the upstream: bytes are collected, and chunks are taken apart once, when
the last one is there.
"""

from __future__ import annotations

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class AnswerReader:
    """One answer. `feed` says when it is complete."""

    def __init__(self) -> None:
        self.status = 0
        self._buffer = bytearray()
        self._body_start = 0
        self._length: int | None = None

    @property
    def has_body(self) -> bool:
        """Whether a byte of the body has come."""
        return bool(self._body_start) and len(self._buffer) > self._body_start

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether the answer is now complete."""
        self._buffer += data
        if not self._body_start and not self._read_head():
            return False
        if self._length is not None:
            return len(self._buffer) - self._body_start >= self._length
        # The CRLF before the last chunk may be the one that ends the head.
        return self._buffer.endswith(_LAST_CHUNK, self._body_start - 2)

    def _read_head(self) -> bool:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return False
        self._body_start = end + len(_HEAD_END)
        status, *lines = bytes(self._buffer[:end]).lower().split(b"\r\n")
        self.status = int(status.split(b" ")[1])
        headers = dict(line.split(b":", 1) for line in lines)
        if b"chunked" not in headers.get(b"transfer-encoding", b""):
            self._length = int(headers[b"content-length"])
        return True

    def body(self) -> bytes:
        """The body of a complete answer, without the framing."""
        payload = bytes(self._buffer[self._body_start :])
        if self._length is not None:
            return payload
        chunks: list[bytes] = []
        position = 0
        while True:
            line_end = payload.index(b"\r\n", position)
            size = int(payload[position:line_end], 16)
            if not size:
                return b"".join(chunks)
            chunks.append(payload[line_end + 2 : line_end + 2 + size])
            position = line_end + 2 + size + 2
