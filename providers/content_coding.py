"""Lets a reader look into an answer that came compressed although it was asked for plain.

The bytes that pass are not touched; this is for the reader's copy only. gzip and deflate are understood; of anything
else the reader is told nothing, and says so in `flaws`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from providers.base import Fact, Reader

MAX_STEP = 1024 * 1024


def decoding(reader: Reader, coding: str) -> Reader:
    """`reader` behind a decoder for `coding` (a `Content-Encoding` value)."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return reader
    return DecodingReader(reader, coding)


class DecodingReader:
    """Feeds the decoded bytes on, at most `MAX_STEP` at a time, so that a small answer can't fill the memory."""

    def __init__(self, reader: Reader, coding: str) -> None:
        self._reader = reader
        self._decoder = _decoder() if coding in ("gzip", "deflate") else None
        self.flaws: list[str] = []
        if self._decoder is None:
            self.flaws.append(f"content-encoding {coding[:20]} can't be read")

    @property
    def msg_id(self) -> str:
        return self._reader.msg_id

    @msg_id.setter
    def msg_id(self, value: str) -> None:
        self._reader.msg_id = value

    @property
    def complete(self) -> bool:
        return self._reader.complete

    @complete.setter
    def complete(self, value: bool) -> None:
        self._reader.complete = value

    def feed(self, data: bytes) -> Sequence[Fact]:
        facts: list[Fact] = []
        while data and self._decoder is not None:
            if self._decoder.eof:
                self._decoder = _decoder()  # the next member of several (RFC 1952 section 2.2)
            try:
                plain = self._decoder.decompress(data, MAX_STEP)
            except zlib.error as error:
                self.flaws.append(f"compressed answer can't be read: {error}")
                self._decoder = None
                break
            facts += self._reader.feed(plain)
            data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        return facts

    def close(self) -> Sequence[Fact]:
        facts = self._reader.close()
        self.flaws += [flaw for flaw in self._reader.flaws if flaw not in self.flaws]
        return facts


def _decoder() -> zlib._Decompress:
    """For a zlib or a gzip header, whichever comes."""
    return zlib.decompressobj(zlib.MAX_WBITS | 32)
