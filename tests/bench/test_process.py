"""Processes watched from outside."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.process import LOAD_CORES, NotReadyError, Process, allow_open_files

BUSY = "import sys; sum(range(3_000_000)); print('done', flush=True); sys.stdin.read()"


def test_cpu_time_and_memory_are_the_processes_own(tmp_path: Path) -> None:
    """A process that has worked has used CPU time, and none any more once it waits."""
    process = Process([sys.executable, "-c", BUSY], cores=LOAD_CORES, log=tmp_path / "log")
    try:
        assert process.line() == "done"
        used = process.settled_cpu_s()
        assert 0.005 < used < 30
        assert process.cpu_s() - used < 0.005
        assert process.rss_mb() > 3
        assert process.waited_s() >= 0
    finally:
        process.stop()


def test_process_that_ends_early_says_why(tmp_path: Path) -> None:
    """What it wrote to standard error is in the error."""
    process = Process(
        [sys.executable, "-c", "raise SystemExit('no port')"], cores=LOAD_CORES, log=tmp_path / "log"
    )
    with pytest.raises(NotReadyError, match="no port"):
        process.line()
    assert process.stop() == 1


def test_hard_limit_that_is_too_low_is_said() -> None:
    """Before anything is measured, with what would be needed."""
    with pytest.raises(NotReadyError, match=r"9,999,999,999 open files .* hard limit"):
        allow_open_files(9_999_999_999)
