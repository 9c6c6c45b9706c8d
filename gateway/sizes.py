"""Sizes as operators write them: `33554432`, `32MiB`, `512KiB`, `1GiB`; bytes in the program.

Units are powers of 1024 and are spelled so; `MB` would leave open which of the two was meant, and is refused.
"""

from __future__ import annotations

import re
from typing import Final

MEBIBYTE: Final = 1024**2

_UNITS: Final = {"GiB": 1024**3, "MiB": MEBIBYTE, "KiB": 1024, "": 1}
_PATTERN: Final = re.compile(r"([0-9]{1,15}) ?(GiB|MiB|KiB|)", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes. Raises `ValueError` when `text` is no size; the message does not repeat it."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size_bytes: int) -> str:
    """The size in the largest unit that divides it."""
    for unit, scale in _UNITS.items():
        if size_bytes and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return "0"
