"""What callgrind leaves is read as it is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import callgrind

HEAD = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 1
part: 2

desc: Trigger: --dump-before=getloadavg

positions: line
events: Ir
summary: 14096933
"""


def test_the_head_of_a_dump_has_the_count() -> None:
    """The sum of the part, not of all parts."""
    assert callgrind.count_of(HEAD) == 14_096_933


def test_a_dump_without_a_sum_is_refused() -> None:
    """A dump that was cut is not counted as nothing."""
    with pytest.raises(callgrind.CountingFailedError, match="without a sum"):
        callgrind.count_of(HEAD.partition("summary")[0])


@pytest.mark.skipif(not callgrind.installed(), reason="there is no valgrind")
def test_a_program_that_fails_is_no_count(tmp_path: Path) -> None:
    """Its exit status is in the message."""
    with pytest.raises(callgrind.CountingFailedError, match="exit 3"):
        callgrind.segments(["sh", "-c", "exit 3"], "getloadavg", tmp_path, timeout_s=60)


@pytest.mark.skipif(not callgrind.installed(), reason="there is no valgrind")
def test_what_lies_between_two_markers_is_counted_and_nothing_else(tmp_path: Path) -> None:
    """Ten times the work between the second pair of markers costs about ten times as much."""
    program = """
import os
def work(number):
    for _ in range(number): pass
os.getloadavg(); work(1000); os.getloadavg(); work(10000); os.getloadavg()
"""
    python = [sys.executable, "-I", "-S", "-c", program]

    start, little, much = callgrind.segments(python, "getloadavg", tmp_path, timeout_s=60)

    assert start > much
    assert 8 < much / little < 12
