"""What is said, as every database takes it: PostgreSQL has no NUL in texts, and none has half a character.

Both become U+FFFD, as in the records. What is looked up is treated in the same way, so it is found as it was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.chat.content import Part
from recorders.codec import plain

_NUL_IN_JSON: Final = "\\u0000"
_decoder: Final = msgspec.json.Decoder(tuple[Part, ...])


def storable(text: str) -> str:
    return str(plain(text.replace("\x00", "\ufffd")))


def storable_count(value: int) -> int:
    """A provider may count beyond 64 bits."""
    return int(plain(value))


def parts_to_json(parts: Sequence[Part]) -> str:
    """Looked through only when it must be: an image is long."""
    try:
        text = msgspec.json.encode(parts).decode()
    except UnicodeEncodeError:
        text = _NUL_IN_JSON
    if _NUL_IN_JSON not in text:
        return text
    return msgspec.json.encode(_storable(msgspec.to_builtins(parts))).decode()


def parts_from_json(text: str) -> tuple[Part, ...]:
    return _decoder.decode(text)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
