"""Where the members of a JSON object stand in its bytes, for edits that change nothing else.

The object must be valid JSON; decoders have read it before. Only its own members are told, not those of objects
within it, and names are compared as decoders see them, escapes resolved. This walks over the whole text in Python,
so it is for the rare request that needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]', re.DOTALL)
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_OPEN: Final = frozenset((b"{", b"["))
_CLOSE: Final = frozenset((b"}", b"]"))


class Member(NamedTuple):
    """A member's name, and the span of its value without the white space around it."""

    name: str
    start: int
    end: int


def skip_space(data: bytes, start: int) -> int:
    found = _SPACE.match(data, start)
    return found.end() if found else start


def members(data: bytes, start: int) -> Iterator[Member]:
    """The members of the object whose brace opens at `start`, in order, duplicates too."""
    depth, name, value = 0, b"", -1
    text = b""
    for token in _TOKEN.finditer(data, start):
        kind = token.group()
        if kind in _OPEN:
            depth += 1
        elif depth == 1 and value == -1:
            if kind == b":":
                name, value = text, skip_space(data, token.end())
            text = kind
        elif depth == 1 and kind in (b",", b"}"):
            yield Member(json.loads(name.decode("utf-8", "replace")), value, _end(data, value, token.start()))
            value = -1
        if kind in _CLOSE:
            depth -= 1
            if depth == 0:
                return


def _end(data: bytes, start: int, end: int) -> int:
    return start + len(data[start:end].rstrip(b" \t\r\n"))


def last_member(data: bytes, start: int, name: str) -> Member | None:
    """The member that decoders take: of several with one name, the last."""
    found = None
    for member in members(data, start):
        if member.name == name:
            found = member
    return found
