"""What is printed of the rows: a table, and the figures that the project holds itself to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Cell, percentile_ms

COLUMNS = (
    "row",
    "target",
    "req/s",
    "core busy",
    "CPU ms/req",
    "at half load",
    "x nginx",
    "first byte p50",
    "p99",
    "last byte p50",
    "p99",
    "RSS MB",
)
LEGEND = """\
req/s, core busy, CPU ms/req: as fast as the target answers; where its core was not busy, something else was the limit
at half load, x nginx: CPU ms per request at half the first gateway's requests/s, and its ratio to nginx's
first byte, last byte: ms added at half load to those of the direct connection, which is shown as it is"""


DISTURBED = 0.1
"""From this share of waiting on, the machine was too busy with other things."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a row on the targets whose name begins with `target`; a ratio to another's, or milliseconds."""

    row: str
    target: str
    figure: str
    at_most: float


GOALS = (
    Goal("turn", "gateway hypercorn+aiohttp", "times nginx's CPU", 2.0),
    Goal("turn", "gateway uvicorn+aiohttp", "times nginx's CPU", 1.6),
    Goal("turn", "gateway hypercorn+aiohttp", "ms added to the first byte, p50", 2.0),
    Goal("turn", "gateway hypercorn+aiohttp", "ms added to the first byte, p99", 5.0),
    Goal("turn", "gateway hypercorn+aiohttp", "of litellm's CPU", 1 / 25),
    Goal("turn", "gateway hypercorn+aiohttp", "of portkey's CPU", 1.0),
    Goal("small", "gateway hypercorn+aiohttp", "ms CPU", 1.0),
)


def table(cells: Sequence[Cell]) -> str:
    """The cells as lines; added times are over the direct connection of the same row."""
    lines = _lines(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(cells: Sequence[Cell]) -> str:
    """The same as a table of Markdown."""
    head, *lines = _lines(cells)
    rule = ("---", "---", *["---:"] * (len(COLUMNS) - 2))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _lines(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    return [COLUMNS, *(_line(cell, cells) for cell in cells)]


def _line(cell: Cell, cells: Sequence[Cell]) -> tuple[str, ...]:
    return (
        cell.row.name,
        cell.target.name,
        f"{median(cell.requests_per_s):,.0f}",
        f"{median(cell.busy):.0%}" if cell.busy else "",
        f"{median(cell.saturated_cpu_ms):.3f}" if cell.saturated_cpu_ms else "",
        f"{median(cell.cpu_ms):.3f}" if cell.cpu_ms else "",
        _optional(times_cpu(cell, cells, "nginx"), ".2f"),
        *(
            _added(cell, cells, figure, percent)
            for figure in ("first_byte_s", "last_byte_s")
            for percent in (50, 99)
        ),
        f"{cell.rss_mb:.0f}" if cell.rss_mb else "",
    )


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _added(cell: Cell, cells: Sequence[Cell], figure: str, percent: int) -> str:
    added = added_ms(cell, cells, figure, percent)
    if added is None:
        return f"{percentile_ms(getattr(cell, figure), percent):.2f}"
    return f"{added:+.2f}"


def _beside(cell: Cell, cells: Sequence[Cell], target: str) -> Cell | None:
    """The same row on another target; a peer's name has its version behind it."""
    return next(
        (other for other in cells if other.row is cell.row and other.target.name.split()[0] == target), None
    )


def times_cpu(cell: Cell, cells: Sequence[Cell], target: str) -> float | None:
    """CPU per request at half load as a multiple of a target's in the same round, the median of the rounds."""
    beside = _beside(cell, cells, target)
    if beside is None or not cell.cpu_ms:
        return None
    return median(ours / theirs for ours, theirs in zip(cell.cpu_ms, beside.cpu_ms, strict=True))


def added_ms(cell: Cell, cells: Sequence[Cell], figure: str, percent: int) -> float | None:
    """A percentile of a time less the same percentile without anything between."""
    direct = _beside(cell, cells, "direct")
    if direct is None or direct is cell:
        return None
    return percentile_ms(getattr(cell, figure), percent) - percentile_ms(getattr(direct, figure), percent)


def disturbance(cells: Sequence[Cell]) -> str:
    """A warning when something else was running on the targets' core; empty when it was quiet."""
    waited = max((share for cell in cells for share in cell.waited), default=0.0)
    if waited < DISTURBED:
        return ""
    return (
        f"DISTURBED: something else ran on the targets' core, which waited up to {waited:.0%} of the time for it; "
        "times are too long, and nginx, being late, relays several events at once: run it again on a quiet machine"
    )


def goals(cells: Sequence[Cell]) -> str:
    """Each goal that this run can speak of, and whether it was met."""
    lines = []
    for goal in GOALS:
        for cell in cells:
            if cell.row.name == goal.row and cell.target.name == goal.target:
                value = _figure(cell, cells, goal.figure)
                if value is not None:
                    verdict = "met" if value <= goal.at_most else "MISSED"
                    lines.append(
                        f"  {goal.row} on {cell.target.name}: {value:.2f} {goal.figure}, "
                        f"at most {goal.at_most}: {verdict}"
                    )
    return "\n".join(lines)


def _figure(cell: Cell, cells: Sequence[Cell], figure: str) -> float | None:
    if figure == "ms CPU":
        return median(cell.cpu_ms)
    if figure.endswith("'s CPU"):
        return times_cpu(cell, cells, figure.split()[1].removesuffix("'s"))
    return added_ms(cell, cells, "first_byte_s", 99 if figure.endswith("p99") else 50)
