"""Which delays count, and what is said of them."""

from __future__ import annotations

import pytest

from tests.bench.beside import Beside, during, table, verdict
from tests.bench.load import Result
from tests.bench.measure import GoalMissedError
from tests.bench.streams import Held


def row(*, alone_s: float, during_s: float) -> Beside:
    return Beside("gateway", [alone_s] * 10, [alone_s] * 10, [during_s] * 10)


def test_events_count_that_came_while_a_large_request_was_under_way() -> None:
    """From its start to its last byte, for each of them."""
    held = Held(first_end_s=9.0, came_s=[4.2, 1.0, 2.0, 4.0, 3.0], delay_s=[0.5, 0.1, 0.2, 0.4, 0.3])
    sent = Result(seconds=5.0, start_s=[1.5, 3.9], first_byte_s=[0.1, 0.1], last_byte_s=[0.6, 0.2])
    assert during(held, sent) == [0.2, 0.4]


def test_delay_is_that_beyond_what_the_streams_have_alone() -> None:
    """12 ms beside a large request and 3 ms alone are 9 ms too many."""
    assert "+9.00 ms" in verdict(row(alone_s=0.003, during_s=0.012))
    assert "gateway" in table([row(alone_s=0.003, during_s=0.012)])


def test_streams_that_are_held_up_fail_the_run() -> None:
    """The message has the figure and what it may be."""
    with pytest.raises(GoalMissedError, match=r"\+11\.00 ms .* at most \+10"):
        verdict(row(alone_s=0.001, during_s=0.012))
