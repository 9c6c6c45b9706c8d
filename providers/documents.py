"""JSON as clients and providers send it: typed and fast where it is as expected, lenient where it is not.

Struct fields of type `Raw` or `Loose` take any JSON value, so an odd shape leaves one fact empty and never costs the
rest of the document. What msgspec refuses but others take (lone surrogates, NaN, numbers beyond 64 bits) is
repaired once and read again; nothing that is repaired ever goes upstream.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw

T = TypeVar("T")

Loose: TypeAlias = list[Raw] | dict[str, Raw] | str | float | bool | None
"""Any JSON value, its members not looked into."""

ABSENT: Final = Raw(b"null")


MAX_REPAIRED_BYTES: Final = 4 * 1024 * 1024
"""Repairing walks over a document in Python and blocks the event loop for tens of milliseconds a megabyte."""


class Unreadable(Exception):
    """Not JSON, or of another shape; the message says why and where, and quotes nothing of the document."""


def read(decoder: msgspec.json.Decoder[T], data: bytes | Raw) -> T:
    """Decode a document, leniently when it must be. Raises `Unreadable`."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(data) > MAX_REPAIRED_BYTES:
            raise Unreadable(str(error)) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    try:
        return decoder.decode(_repaired(bytes(data)))
    except msgspec.DecodeError as error:
        raise Unreadable(str(error)) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def _repaired(data: bytes) -> bytes:
    """The same document without what msgspec refuses. Raises `Unreadable` when it is no JSON at all."""
    text = data.decode("utf-8", "replace")
    try:
        document = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        raise Unreadable(f"{error.msg.removesuffix(' at')} at byte {position}") from None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 18 else _float(digits)


def _float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else 0.0


_ANY: Final = msgspec.json.Decoder(Any)


def anything(raw: bytes | Raw) -> Any:
    """A value, untyped; None when it can't be read."""
    try:
        return read(_ANY, raw)
    except Unreadable:
        return None


def text(value: object) -> str | None:
    """`value` when it is text and not empty."""
    return value if isinstance(value, str) and value else None


def items(value: Loose, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """The members of a list that have the expected shape, in order."""
    found = (_item(raw, decoder) for raw in value) if isinstance(value, list) else ()
    return [item for item in found if item is not None]


def last(value: Loose, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The last member of a list, when it has the expected shape."""
    return _item(value[-1], decoder) if isinstance(value, list) and value else None


def _item(raw: Raw, decoder: msgspec.json.Decoder[T]) -> T | None:
    try:
        return read(decoder, raw)
    except Unreadable:
        return None


def written(raw: Raw) -> str:
    """What the model wrote: a JSON string's text, any other value as its JSON stands, nothing for null."""
    source = bytes(raw)
    if source.startswith(b'"'):
        return text(anything(raw)) or ""
    return "" if source == b"null" else source.decode("utf-8", "replace")
