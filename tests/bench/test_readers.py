"""The benchmark of the readers measures readers that read."""

from __future__ import annotations

import pytest

from tests.bench import readers


def test_each_api_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """A row with rates for each API; the benchmark itself raises when a reader doesn't read its stream."""
    readers.main(events=50)
    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split()[0] for row in rows] == ["messages", "chat_completions", "responses"]
    assert all(row.count("MB/s") == 3 for row in rows)
