"""The figures of the table."""

from __future__ import annotations

import pytest

from tests.bench.measure import Cell
from tests.bench.rows import ROWS
from tests.bench.table import added_ms, disturbance, goals, table, times_cpu
from tests.bench.targets import Direct, Target


class Named(Direct):
    """A target that is only a name."""

    def __init__(self, name: str) -> None:
        super().__init__(0)
        self.name = name


def cell(name: str, *, cpu_ms: list[float], delay_s: float) -> Cell:
    target: Target = Named(name)
    delays = [delay_s] * 10
    return Cell(
        ROWS["turn"],
        target,
        cpu_ms=cpu_ms,
        requests_per_s=[100.0] * 3,
        first_byte_s=delays,
        last_byte_s=[2 * delay for delay in delays],
    )


CELLS = [
    cell("direct", cpu_ms=[], delay_s=0.001),
    cell("nginx", cpu_ms=[1.0, 2.0, 4.0], delay_s=0.002),
    cell("gateway hypercorn+aiohttp", cpu_ms=[1.5, 3.0, 9.0], delay_s=0.004),
]


def test_ratio_to_nginx_is_the_median_of_the_rounds() -> None:
    """Each round is compared with the same round, so that a slow moment of the machine falls on both."""
    assert times_cpu(CELLS[2], CELLS, "nginx") == pytest.approx(1.5)
    assert times_cpu(CELLS[0], CELLS, "nginx") is None


def test_times_are_those_added_to_the_direct_connection() -> None:
    """The direct connection itself is shown as it is."""
    assert added_ms(CELLS[2], CELLS, "first_byte_s", 50) == pytest.approx(3.0)
    assert added_ms(CELLS[0], CELLS, "first_byte_s", 50) is None


def test_table_has_a_line_for_every_cell_and_goals_a_verdict() -> None:
    """A goal that was missed says so."""
    assert len(table(CELLS).splitlines()) == 4
    assert "1.50 times nginx's CPU, at most 2.0: met" in goals(CELLS)
    assert "3.00 ms added to the first byte, p50, at most 2.0: MISSED" in goals(CELLS)


def test_peers_are_found_whatever_their_version() -> None:
    """Half of Portkey's CPU is less than all of it."""
    cells = [*CELLS, cell("portkey 1.2.3", cpu_ms=[3.0, 6.0, 18.0], delay_s=0.01)]
    assert "0.50 of portkey's CPU, at most 1.0: met" in goals(cells)
    assert "litellm" not in goals(cells)


def test_run_on_a_busy_machine_says_so() -> None:
    """Figures are taken on a core of their own, and a run in which that was not so warns of itself."""
    busy = cell("nginx", cpu_ms=[1.0], delay_s=0.001)
    assert disturbance([busy]) == ""
    busy.waited = [0.02, 0.3]
    assert "30%" in disturbance([busy])
