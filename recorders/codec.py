"""Records as bytes, for journals: JSON, one object per record, its `record_type` inside.

What came from a client or a provider may hold what no encoding of text takes (a lone surrogate, an integer of a
hundred digits). Such a value is made plain rather than lost: a record never fails to encode.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from recorders.records import Record

MAX_INTEGER: Final = 2**63 - 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as JSON; what JSON in UTF-8 can't say is replaced as `plain` describes."""
    try:
        return _encoder.encode(record)
    except (UnicodeEncodeError, OverflowError, TypeError):
        fields = {name: plain(value) for name, value in msgspec.structs.asdict(record).items()}
        return _encoder.encode(fields | {"record_type": type(record).__struct_config__.tag})


def decode(data: bytes) -> Record:
    """The record that `encode` wrote; raises `msgspec.DecodeError` on anything else."""
    record: Record = _decoder.decode(data)
    return record


def plain(value: Any) -> Any:
    """A copy that every store and log can hold.

    Lone surrogates become U+FFFD, integers are clamped to 64 bits, unknown types become their text.
    """
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return plain(str(value))


def _well_formed(text: str) -> str:
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        # Through UTF-16, where two halves of a character that came apart find each other again.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
