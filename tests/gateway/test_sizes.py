"""Sizes: what operators write, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("33554432", 32 * 1024**2),
        ("32MiB", 32 * 1024**2),
        ("1 GiB", 1024**3),
        ("512KiB", 512 * 1024),
    ],
)
def test_a_size_is_read_in_bytes(text: str, size_bytes: int) -> None:
    """Plain bytes and each unit."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MiB", "32MB", "32M", "-1", "1.5MiB", "32mib", "1  KiB", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Units that could mean 1000 or 1024, signs, fractions, other digits."""
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**14))
def test_what_is_shown_reads_back_as_the_same_size(size_bytes: int) -> None:
    """Showing and reading are inverse."""
    assert parse_size(format_size(size_bytes)) == size_bytes
