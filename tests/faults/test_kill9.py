"""The scenario on which most rests, a few times in every test run: the real process, `kill -9`, and the count."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kill9 import kill_rounds
from tests.faults.report import Report


# The provider in this process writes to connections whose other end was killed.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_every_answer_of_a_gateway_that_is_killed_is_in_the_store_once(tmp_path: Path) -> None:
    """After a restart; for each answer its start, prompt, tool call, tokens and end."""
    report = Report("kill9")
    await kill_rounds(report, tmp_path / "scene", 2)
    assert report.violations == []
