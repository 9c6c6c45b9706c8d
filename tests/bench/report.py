"""What is told of a finished run: its conditions, its tables, and whether the goals were met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench import conditions, idle, table
from tests.bench.measure import Cell
from tests.bench.process import LOAD_CORES, TARGET_CORE, target_cores
from tests.bench.rows import ALL_ROWS


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for, and what was found."""

    rows: Sequence[str]
    rounds: int
    connections: int
    workers: Sequence[int]
    cells: Sequence[Cell]
    idles: Sequence[idle.Idle]


def text(run: Run) -> str:
    """For a terminal."""
    paragraphs = [_conditions(run), conditions.bodies(ALL_ROWS[name] for name in run.rows)]
    if run.cells:
        paragraphs += [table.table(run.cells), table.LEGEND]
    if run.idles:
        paragraphs.append(idle.table(run.idles))
    paragraphs += [table.disturbance(run.cells), _goals(run)]
    return "\n\n".join(filter(None, paragraphs))


def markdown(run: Run) -> str:
    """For a page."""
    paragraphs = ["# What the gateway costs", _conditions(run).replace("\n", "  \n")]
    paragraphs.append(_preformatted(conditions.bodies(ALL_ROWS[name] for name in run.rows)))
    if run.cells:
        paragraphs += [table.markdown(run.cells), table.LEGEND.replace("\n", "  \n")]
    if run.idles:
        paragraphs.append(_preformatted(idle.table(run.idles)))
    paragraphs += [
        table.disturbance(run.cells),
        _preformatted(_goals(run)),
        "![The same as a plot](plot.png)",
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _preformatted(lines: str) -> str:
    return f"```\n{lines}\n```" if lines else ""


def _conditions(run: Run) -> str:
    return "\n".join(_condition_lines(run))


def _condition_lines(run: Run) -> Iterator[str]:
    yield f"machine: {conditions.machine()}"
    yield f"targets on core {sorted(TARGET_CORE)}, upstream and load on {sorted(LOAD_CORES)}; 1 worker each"
    for workers in run.workers:
        if workers > 1:
            cores = sorted(target_cores(workers))
            yield f"{workers} workers where it says x{workers}, on cores {cores}{_shared(workers)}"
    yield f"gateway with {conditions.SWITCHED_ON}"
    yield "nginx relays only, and so does the bare relay, on hypercorn and aiohttp as the gateway is"
    yield "LiteLLM checks a key and records nothing; Portkey's gateway does neither"
    yield f"{run.rounds} rounds, {run.connections} connections; times in ms over direct, at half load"


def _shared(workers: int) -> str:
    shared = sorted(target_cores(workers) & LOAD_CORES)
    return f", of which {shared} has the load too: requests/s say little of them" if shared else ""


def _goals(run: Run) -> str:
    return "\n".join(filter(None, (table.goals(run.cells), idle.goals(run.idles))))
