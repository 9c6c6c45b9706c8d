"""What is written of a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import results
from tests.bench.idle import Idle
from tests.bench.measure import Cell
from tests.bench.report import Run
from tests.bench.rows import ROWS
from tests.bench.targets import Direct


class Named(Direct):
    """A target that is only a name."""

    def __init__(self, name: str) -> None:
        super().__init__(0)
        self.name = name


def cell(row: str, name: str, cpu_ms: list[float], delay_s: float) -> Cell:
    delays = [delay_s, 2 * delay_s, 3 * delay_s]
    return Cell(
        ROWS[row],
        Named(name),
        requests_per_s=[100.0, 110.0],
        cpu_ms=cpu_ms,
        first_byte_s=delays,
        last_byte_s=delays,
    )


@pytest.fixture
def run() -> Run:
    cells = [
        cell(row, name, cpu_ms, delay_s)
        for row in ("small", "turn")
        for name, cpu_ms, delay_s in (
            ("direct", [], 0.001),
            ("nginx", [0.1, 0.2], 0.002),
            ("gateway hypercorn+aiohttp", [1.0, 2.0], 0.003),
        )
    ]
    idle = Idle("idle", "nginx", 10, 5.0, 6.0, alone_s=[0.001] * 2, beside_s=[0.002] * 2)
    return Run(["small", "turn", "idle"], 2, 16, [1, 2], cells, [idle])


def test_json_has_every_figure_of_every_round(run: Run) -> None:
    """With the conditions under which they were taken."""
    written = results.as_json(run)
    assert written["rows"]["turn"]["request_bytes"] == 115_000
    assert written["cells"][1]["half_load_cpu_ms"] == [0.1, 0.2]
    assert written["cells"][1]["half_load_first_byte_us"] == [2_000, 4_000, 6_000]
    assert written["idle"][0]["kb_per_stream"] == 102.4
    assert written["machine"]["cores"] >= 1
    assert written["switched_on"]


def test_folder_has_figures_table_and_plot(run: Run, tmp_path: Path) -> None:
    """The plot where there is something to draw with, and a sentence says when it isn't there."""
    said = results.write(run, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "results.json").read_text())["rounds"] == 2
    assert "| turn | nginx | 105 |" in (tmp_path / "new" / "table.md").read_text()
    drawn = tmp_path / "new" / "plot.png"
    assert drawn.read_bytes().startswith(b"\x89PNG") if drawn.exists() else "no plot" in said
