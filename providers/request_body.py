"""Reading a request body, strictly as JSON and leniently as a shape.

A body that is no JSON object is refused with the place where it broke; any other is read as far as it goes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from providers.base import RequestRefused
from providers.documents import Unreadable, read

T = TypeVar("T")


def read_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a request body into a struct of loose fields. Raises `RequestRefused` (400)."""
    try:
        if not body.isascii():
            body.decode()  # msgspec doesn't check the text that it skips
        return read(decoder, body)
    except UnicodeDecodeError as error:
        raise _refused(f"invalid UTF-8 at byte {error.start}") from None
    except Unreadable as error:
        if _is_other_json(body):
            raise RequestRefused(400, "request body must be a JSON object") from None
        raise _refused(str(error)) from None


def _refused(reason: str) -> RequestRefused:
    return RequestRefused(400, f"request body is not valid JSON: {reason}")


def _is_other_json(body: bytes) -> bool:
    try:
        read(_VALUE, body)
    except Unreadable:
        return False
    return True


_VALUE = msgspec.json.Decoder(msgspec.Raw)
