"""What is tried again, and after how long: the table of statuses, headers and waits."""

from __future__ import annotations

import pytest

from providers.retries import backoff_s, is_retried, told_wait_s

NOW_S = 1_767_225_600.0  # Thu, 01 Jan 2026 00:00:00 GMT

RETRIED = [408, 409, 429, 500, 502, 503, 504, 529]
FINAL = [200, 204, 301, 307, 400, 401, 402, 403, 404, 413, 422, 501, 505]


@pytest.mark.parametrize(
    ("status", "retried"), [*((status, True) for status in RETRIED), *((status, False) for status in FINAL)]
)
def test_the_status_decides(status: int, retried: bool) -> None:
    """Passing troubles are tried again; everything else is the provider's answer."""
    assert is_retried(status, []) is retried


@pytest.mark.parametrize(
    ("status", "told", "retried"),
    [
        (503, b"false", False),
        (400, b"true", True),
        (429, b" False ", False),
        (404, b"TRUE", True),
        (503, b"maybe", True),
        (400, b"", False),
        (200, b"true", False),
        (307, b"true", False),
    ],
)
def test_the_providers_own_word_decides_over_an_error(status: int, told: bytes, retried: bool) -> None:
    """`x-should-retry`, when it says true or false; an answer that is no error stays the answer."""
    assert is_retried(status, [(b"X-Should-Retry", told)]) is retried


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"Retry-After", b" 1.5 ")], 1.5),
        ([(b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"soon")], 7.0),
        ([(b"retry-after", b"Thu, 01 Jan 2026 00:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Thursday, 01-Jan-26 00:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Wed, 31 Dec 2025 23:59:59 GMT")], 0.0),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"1e9")], None),
        ([(b"retry-after", b"9" * 400)], None),
        ([(b"retry-after", b"tomorrow")], None),
        ([(b"retry-after", b"\xff")], None),
        ([(b"retry-after", b"")], None),
        ([(b"retry-after", b"3"), (b"retry-after", b"9")], 3.0),
    ],
)
def test_the_wait_is_what_the_provider_told(headers: list[tuple[bytes, bytes]], wait_s: float | None) -> None:
    """Milliseconds before seconds before a date; what can't be read says nothing."""
    assert told_wait_s(headers, NOW_S) == wait_s


@pytest.mark.parametrize(
    ("retry", "shortest_s", "longest_s"),
    [(0, 0.5, 1.0), (1, 1.0, 2.0), (2, 2.0, 4.0), (3, 4.0, 8.0), (4, 8.0, 8.0), (10, 8.0, 8.0)],
)
def test_the_backoff_doubles_from_half_a_second_to_eight(
    retry: int, shortest_s: float, longest_s: float
) -> None:
    """Chance spreads those who failed together over the time until the next step."""
    assert backoff_s(retry, 0.0) == shortest_s
    assert backoff_s(retry, 1.0) == longest_s
    assert shortest_s <= backoff_s(retry, 0.5) <= longest_s
