"""Durations as operators write them: `90d`, `12h`, `1d12h`, `30s`, `500ms`, `0`; seconds in the program.

Units stand from the longest to the shortest and each at most once. A bare number has no unit and is refused, except
`0`, which needs none.
"""

from __future__ import annotations

import re
from typing import Final

DAY_S: Final = 86_400
HOUR_S: Final = 3_600
MINUTE_S: Final = 60

_UNITS: Final = (("d", DAY_S * 1000), ("h", HOUR_S * 1000), ("m", MINUTE_S * 1000), ("s", 1000), ("ms", 1))
_NUMBER: Final = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_PATTERN: Final = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit, _ in _UNITS), re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds. Raises `ValueError` when `text` is no duration; the message does not repeat it."""
    if text == "0":
        return 0.0
    match = _PATTERN.fullmatch(text)
    if match is None or not text:
        raise ValueError("not a duration")
    amounts = zip(match.groups(), _UNITS, strict=True)
    return sum(float(amount) * scale for amount, (_, scale) in amounts if amount) / 1000


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, to the millisecond."""
    rest = round(seconds * 1000)
    pieces: list[str] = []
    for unit, scale in _UNITS:
        amount, rest = divmod(rest, scale)
        if amount:
            pieces.append(f"{amount}{unit}")
    return "".join(pieces) or "0"
