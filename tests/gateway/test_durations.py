"""Durations: what operators write, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90d", 7_776_000),
        ("12h", 43_200),
        ("1d12h", 129_600),
        ("30s", 30),
        ("500ms", 0.5),
        ("10m", 600),
        ("1.5h", 5_400),
        ("1m500ms", 60.5),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """Each unit, several units, a fraction, and a zero that needs none."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "60", "d", "-1d", "1w", "12h1d", "1d1d", "1 d", "1D", " 1d", "1d ", "1e3s", "inf", "nan", "٣d"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No unit, an unknown unit, a wrong order, a sign, blanks, other digits."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(5_184_000, "60d"), (3_600, "1h"), (0.5, "500ms"), (0, "0"), (90, "1m30s")]
)
def test_a_duration_is_shown_in_the_longest_units(seconds: float, text: str) -> None:
    """The text is the one that an operator would have written."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**13))
def test_what_is_shown_reads_back_as_the_same_duration(milliseconds: int) -> None:
    """Showing and reading are inverse to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000
