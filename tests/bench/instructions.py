"""`python -m tests.bench.instructions`: how many instructions one request of each row costs, in process.

    --check    fail when a row costs more than the kept count allows
    --write    keep what was counted

CI compares these counts and not times, for they are the same on a noisy machine. They stand in `instructions.json`
beside this file, by the build of the interpreter, because another compiler makes other instructions of the same
program; where none is kept for the interpreter that runs, `--check` says so and passes.

A count is the median of the batches of `tests.bench.counted`. The same program may count two or three in a hundred
more in one process than in the next, for its names lie elsewhere in memory and meet others in the interpreter's
caches. So what seems too dear is counted again, and the smaller count is held against the kept one; `--write` counts
twice as well.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeAlias

import msgspec

from tests.bench import callgrind
from tests.bench.conditions import machine
from tests.bench.counted import BATCHES, MARKER, REQUESTS

KEPT = Path(__file__).with_suffix(".json")
ALLOWED = 1.05
NOTABLE = 0.95
"""From here on the gain is worth keeping."""
TIMEOUT_S = 240.0

Counts: TypeAlias = dict[str, int]
"""Instructions a request, by row."""

AllCounts: TypeAlias = dict[str, Counts]
"""Of all builds of the interpreter that were counted."""


def build() -> str:
    """Which counts can be compared: those of the same interpreter, made by the same compiler, for one processor."""
    python, compiler = platform.python_version(), platform.python_compiler()
    return f"callgrind, {platform.python_implementation()} {python}, {compiler}, {platform.machine()}"


def count(rows: Sequence[str]) -> Counts:
    """The instructions of one request of each row, in one process. Raises `CountingFailedError`."""
    with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "tests.bench.counted", name, ",".join(rows)]
        return by_row(rows, callgrind.segments(command, MARKER, folder, timeout_s=TIMEOUT_S))


def by_row(rows: Sequence[str], segments: Sequence[int]) -> Counts:
    """Each row has one segment of preparations, then its batches."""
    if len(segments) != len(rows) * (1 + BATCHES):
        raise callgrind.CountingFailedError(f"{len(segments)} counts for {len(rows)} rows")
    counts: Counts = {}
    for place, row in enumerate(rows):
        first = place * (1 + BATCHES) + 1
        counts[row] = round(median(segments[first : first + BATCHES]) / REQUESTS[row])
    return counts


def smaller(one: Counts, other: Mapping[str, int]) -> Counts:
    """Of each row the smaller count."""
    return {row: min(instructions, other.get(row, instructions)) for row, instructions in one.items()}


def too_dear(counts: Counts, kept: Mapping[str, int]) -> list[str]:
    """The rows that cost more than what is kept of them allows."""
    return [
        row for row, instructions in counts.items() if instructions > ALLOWED * kept.get(row, instructions)
    ]


def checked(rows: Sequence[str], kept: Mapping[str, int], count: Callable[[Sequence[str]], Counts]) -> Counts:
    """The counts; those of rows that seem too dear are the smaller of two."""
    counts = count(rows)
    again = too_dear(counts, kept)
    return smaller(counts, count(again)) if again else counts


def lines(counts: Counts, kept: Mapping[str, int]) -> Iterable[str]:
    """A table of what was counted and what is kept."""
    yield f"{'row':10}{'instructions':>14}{'kept':>14}"
    for row, instructions in counts.items():
        known = kept.get(row)
        change = f"{known:14,}{instructions / known - 1:+8.1%}" if known else f"{'none':>14}"
        yield f"{row:10}{instructions:14,}{change}"


def read(path: Path) -> AllCounts:
    return msgspec.json.decode(path.read_bytes(), type=AllCounts) if path.exists() else {}


def write(path: Path, name: str, counts: Counts) -> None:
    """Keep `counts` for the build of that name; of rows that were not counted, what was kept of them."""
    everything = read(path)
    everything[name] = everything.get(name, {}) | counts
    path.write_bytes(msgspec.json.format(msgspec.json.encode(everything, order="sorted"), indent=2) + b"\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when `--check` found a row too dear, or nothing could be counted."""
    parser = argparse.ArgumentParser(description="Instructions of one request, in process.")
    parser.add_argument("--rows", default=",".join(REQUESTS), help="some of " + ",".join(REQUESTS))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail when a row got dearer")
    what.add_argument("--write", action="store_true", help="keep what was counted")
    args = parser.parse_args(argv)
    rows = args.rows.split(",")
    if unknown := sorted(set(rows) - set(REQUESTS)):
        parser.error(f"{unknown[0]!r} is no row: {', '.join(REQUESTS)}")
    if not callgrind.installed():
        print(f"instructions: not counted, {callgrind.MISSING}")
        return 0
    try:
        return run(rows, check=args.check, keep=args.write)
    except callgrind.CountingFailedError as failure:
        print(f"instructions: {failure}", file=sys.stderr)
        return 1


def run(rows: Sequence[str], *, check: bool, keep: bool) -> int:
    """Count, tell, and keep what was counted or hold it against what is kept; the exit status."""
    name = build()
    kept = read(KEPT).get(name, {})
    counts = smaller(count(rows), count(rows)) if keep else checked(rows, kept, count)
    print(f"instructions a request, in process: {machine()}; counted with {callgrind.version()}")
    print("\n".join(lines(counts, kept)))
    if keep:
        write(KEPT, name, counts)
        print(f"kept for {name}")
        return 0
    if not kept:
        print(f"nothing is kept for {name}: keep these with --write")
    cheaper = [row for row in rows if counts[row] < NOTABLE * kept.get(row, 0)]
    if cheaper:
        print(f"got cheaper: {', '.join(cheaper)}; keep that with --write, so that it stays so")
    dear = too_dear(counts, kept)
    if dear:
        print(
            f"more than {ALLOWED - 1:.0%} over what is kept: {', '.join(dear)}; if it is worth it, --write keeps it"
        )
    return 1 if check and dear else 0


if __name__ == "__main__":
    sys.exit(main())
