from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from recorders.stores.database import read_time, read_time_or_none, time_value

CET = timezone(timedelta(hours=1))


def test_times_are_kept_in_utc_with_a_fixed_width_so_that_text_sorts_by_time() -> None:
    """A time without a fraction is as long as one with."""
    earlier = datetime(2026, 1, 2, 3, 4, 5, tzinfo=CET)
    later = datetime(2026, 1, 2, 2, 4, 5, 1, tzinfo=UTC)

    assert time_value(earlier) == "2026-01-02T02:04:05.000000Z"
    assert time_value(earlier) < time_value(later)


@pytest.mark.parametrize(
    "value", ["2026-01-02T02:04:05.000006Z", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=CET)]
)
def test_a_time_is_read_as_utc_from_text_and_from_what_a_driver_made(value: object) -> None:
    """Two databases, one answer."""
    time = read_time(value)

    assert time == datetime(2026, 1, 2, 2, 4, 5, 6, tzinfo=UTC)
    assert time.tzinfo is UTC
    assert read_time_or_none(value) == time


def test_no_time_is_none() -> None:
    """Of a key that never expires, for example."""
    assert read_time_or_none(None) is None
