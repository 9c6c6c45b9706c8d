"""What is said of the memory of a worker."""

from __future__ import annotations

import pytest

from tests.bench.measure import GoalMissedError
from tests.bench.soak import verdict

SAMPLES = [(10, 60.0), (20, 80.0), (30, 81.0), (40, 82.5)]


def test_memory_is_compared_with_what_it_was_after_the_warm_up() -> None:
    """What the first requests bring into memory is no growth."""
    assert "80.0 MB after 20 requests, 82.5 MB after 40: +2.5 MB" in verdict(
        SAMPLES, warm_up=15, at_most_mb=3
    )


def test_memory_that_grew_fails_the_run() -> None:
    """The message has the figure and what it may be."""
    with pytest.raises(GoalMissedError, match=r"\+2\.5 MB, at most \+2\.0"):
        verdict(SAMPLES, warm_up=15, at_most_mb=2.0)
