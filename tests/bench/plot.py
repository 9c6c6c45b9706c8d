"""The table as a picture: CPU of a request, and what is added to its first byte, for each row and target.

Both scales are logarithmic, because a relay and a gateway that parses everything are a thousand times apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.measure import Cell
from tests.bench.table import added_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 0.8
"""Of a row's height, what its bars fill."""
LEAST_MS = 0.01
"""Smaller ones, and those below zero, are drawn as this."""
_COLOURS = {"nginx": "#2a9d5c", "bare relay": "#9bc9a9", "litellm": "#e08e2b", "portkey": "#8a5fbf"}
_BLUES = ("#1f4e9c", "#3f7fd1", "#7fb0ea", "#b5d3f5")


def draw(cells: Sequence[Cell], file: Path, machine: str) -> str | None:
    """Write a PNG; or say why there is none."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return "matplotlib is not installed"
    measured = [cell for cell in cells if cell.cpu_ms]
    rows = list(dict.fromkeys(cell.row.name for cell in measured))
    targets = list(dict.fromkeys(cell.target.name for cell in measured))
    colours = _colours(targets)
    figure = Figure(figsize=(14, 1.4 + 0.26 * len(rows) * (len(targets) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    cpu, first_byte = figure.subplots(1, 2, sharey=True)
    for cell in measured:
        position = rows.index(cell.row.name) + _offset(targets.index(cell.target.name), len(targets))
        height, colour = BAR / len(targets), colours[cell.target.name]
        _draw_cpu(cpu, cell, position, height, colour)
        added = [added_ms(cell, cells, "first_byte_s", percent) for percent in (50, 99)]
        _draw_first_byte(first_byte, added, position, height, colour)
    for axes, title in (
        (cpu, "CPU of a request, ms"),
        (first_byte, "added to the first byte, ms: bar p50, line p99"),
    ):
        axes.set_xscale("log")
        axes.set_title(title, fontsize=11, loc="left")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.margins(x=0.12, y=0.02)
        axes.grid(axis="x", which="major", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    cpu.set_yticks(range(len(rows)), rows, fontsize=11)
    cpu.invert_yaxis()
    handles = [cpu.barh([0], [0], color=colours[target], label=target) for target in targets]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(targets), frameon=False)
    figure.supxlabel(
        f"at half load, one worker unless the name says more, {machine}", fontsize=9, color="#555555"
    )
    figure.savefig(file, dpi=110)
    return None


def _colours(targets: Sequence[str]) -> dict[str, str]:
    """The gateway's variants are blue; who else there is has a colour of its own."""
    blues = iter(_BLUES * len(targets))
    return {target: _COLOURS.get(target.split()[0]) or next(blues) for target in targets}


def _offset(index: int, number: int) -> float:
    """Where a target's bar lies around the middle of its row."""
    return (index - (number - 1) / 2) * BAR / number


def _draw_cpu(axes: Axes, cell: Cell, position: float, height: float, colour: str) -> None:
    value = median(cell.cpu_ms)
    axes.barh(position, value, height * 0.9, color=colour)
    axes.text(value * 1.06, position, _figure(value), va="center", fontsize=8)


def _draw_first_byte(
    axes: Axes, added: Sequence[float | None], position: float, height: float, colour: str
) -> None:
    p50, p99 = added
    if p50 is None or p99 is None:
        return
    start, end = max(p50, LEAST_MS), max(p99, p50, LEAST_MS)
    axes.barh(position, start, height * 0.9, color=colour)
    axes.plot([start, end], [position, position], color=colour, linewidth=1.2, marker="|", markersize=6)
    axes.text(end * 1.12, position, f"{_figure(p50)}, {_figure(p99)}", va="center", fontsize=8)


def _figure(value: float) -> str:
    """Three digits, and none of them an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
