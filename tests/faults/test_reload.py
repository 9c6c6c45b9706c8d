"""The scenario of the reloads, without waiting between them: a real process, live streams, SIGHUP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.reload import reload_under_streams
from tests.faults.report import Report


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="counts connections in /proc")
async def test_streams_go_on_while_providers_come_and_go(tmp_path: Path) -> None:
    """Each byte of each stream arrives, new requests have the new keys, and no connection is left."""
    report = Report("reload")
    await reload_under_streams(report, tmp_path / "scene", 10, 5, every_s=0.0)
    assert report.violations == []
