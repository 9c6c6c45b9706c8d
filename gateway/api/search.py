"""The `q` parameter: several filters in one line, as a person types them.

    initiator:anna model:claude-opus-4-6 started_after:"2026-01-02T00:00:00Z"

Terms are `key:value`; a value with spaces stands in double quotes. The keys are the names of the filters.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_TERM: Final = re.compile(r'\s*(?P<key>[a-z_]+):(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s"]+))(?=\s|$)')


class BadSearch(ValueError):
    """The line can't be read; the text says where."""


def parse_search(text: str, keys: Collection[str]) -> dict[str, str]:
    """The filters of the line, as they were written. Raises `BadSearch`."""
    found: dict[str, str] = {}
    text = text.strip()
    place = 0
    while place < len(text):
        term = _TERM.match(text, place)
        if term is None:
            raise BadSearch(f'can\'t be read from character {place + 1} on: write key:value or key:"a value"')
        key = term["key"]
        if key not in keys:
            raise BadSearch(f"has no key {key!r}: it is one of {', '.join(keys)}")
        if key in found:
            raise BadSearch(f"has {key} twice")
        found[key] = term["plain"] if term["quoted"] is None else term["quoted"]
        place = term.end()
    return found
