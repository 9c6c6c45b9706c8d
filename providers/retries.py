"""What an answer or a number of tries says about trying again: which statuses, when, and after how long.

The rules are those of the vendors' SDKs, which retry the same way; a request that two hops retry is sent more often
than either would. Knows no clock and no chance of its own: both come in as arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

from providers.base import Header

RETRIED_STATUSES: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
LONGEST_TOLD_WAIT_S: Final = 60.0
SHORTEST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 8.0

_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


def is_retried(status: int, headers: Iterable[Header]) -> bool:
    """Whether trying again may help; `x-should-retry` decides over an error when it is there."""
    told = _first(headers, b"x-should-retry")
    if status >= 400 and told in ("true", "false"):
        return told == "true"
    return status in RETRIED_STATUSES


def told_wait_s(headers: Iterable[Header], unix_s: float) -> float | None:
    """Seconds to wait by `retry-after-ms`, else by `retry-after` (RFC 9110, 10.2.3: seconds, or a date).

    `unix_s` is the time now. None when neither header says anything that can be read.
    """
    headers = list(headers)
    milliseconds = _number(_first(headers, b"retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = _first(headers, b"retry-after")
    seconds = _number(told)
    return _until(told, unix_s) if seconds is None else seconds


def backoff_s(retry: int, chance: float) -> float:
    """Seconds before retry number `retry` (0, 1, ...): 0.5 to 1, then 1 to 2, and so on up to 8. 0 <= `chance` < 1."""
    return min(LONGEST_BACKOFF_S, SHORTEST_BACKOFF_S * 2.0**retry * (1 + chance))


def _first(headers: Iterable[Header], name: bytes) -> str:
    return next(
        (value.decode("latin-1").strip().lower() for key, value in headers if key.lower() == name), ""
    )


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(date: str, unix_s: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - unix_s)
    except (ValueError, TypeError, OverflowError):
        return None
