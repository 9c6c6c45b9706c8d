from __future__ import annotations

import pytest

from tests.bench.retention import run


async def test_it_tells_rows_a_second_and_how_long_a_batch_waited(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And finds every record that it wrote, and none that it deleted."""
    await run(database_url, rows=150, load=200, alone_s=0.3)

    printed = capsys.readouterr().out
    assert "recording while deleting" in printed
    assert "deleted 150 interceptions" in printed
