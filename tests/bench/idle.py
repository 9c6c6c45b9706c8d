"""The row `idle`: many streams open at once on one target, and how a small request fares beside them.

Each stream is a coding agent's turn of 115 KB whose answer brings an event every few seconds; with `idle-small` the
request is short. Memory is the target's growth from before the first was opened until all were and the rush was over,
divided by their number. The small requests come on a schedule, first without the streams, then beside them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Bench, LoadFailedError, percentile_ms
from tests.bench.rows import ROWS, SLOW_ROWS
from tests.bench.targets import Target

FILES_PER_STREAM = 2
OTHER_FILES = 512
RATE_PER_S = 100.0
WARM_UP = 100
SAMPLES = 5
REST_S = 3.0
"""After the last stream was opened, for the records of all of them to be stored."""
AT_MOST_KB = 60
_HEADINGS = f"{'alone p50':>10}  {'p99':>10}  {'beside p50':>10}  {'p99 ms':>10}"


@dataclass(frozen=True, slots=True)
class Idle:
    """What open streams cost a target."""

    row: str
    target: str
    streams: int
    before_mb: float | None
    open_mb: float | None
    alone_s: list[float]
    """Times to the last byte of small requests without the streams."""
    beside_s: list[float]

    @property
    def kb_per_stream(self) -> float | None:
        """Memory for each of the streams."""
        if self.before_mb is None or self.open_mb is None:
            return None
        return (self.open_mb - self.before_mb) * 1024 / self.streams


def open_files(streams: int) -> int:
    """How many files a target opens that holds so many streams."""
    return streams * FILES_PER_STREAM + OTHER_FILES


def measure(
    bench: Bench, name: str, target: Target, *, streams: int, requests: int, rest_s: float = REST_S
) -> Idle:
    """Streams that live long enough for `requests` small requests beside them."""
    small = ROWS["small"]
    process = target.process
    for row in (small, ROWS["turn"]):
        bench.send(row, target, WARM_UP)
    alone = bench.send(small, target, requests, rate_per_s=RATE_PER_S)
    if process:
        process.settled_cpu_s()
    before_mb = process.rss_mb() if process else None
    with bench.streams(SLOW_ROWS[name], target, streams) as held:
        time.sleep(rest_s)
        samples: list[float] = []
        beside: list[float] = []
        for _ in range(SAMPLES):
            result = bench.send(small, target, max(1, requests // SAMPLES), rate_per_s=RATE_PER_S)
            beside += result.last_byte_s
            if process:
                samples.append(process.rss_mb())
        finished_s = time.perf_counter()
        if held.end().first_end_s < finished_s:
            raise LoadFailedError(f"{name} on {target.name}: streams ended before the measurement did")
    return Idle(
        row=name,
        target=target.name,
        streams=streams,
        before_mb=before_mb,
        open_mb=median(samples) if samples else None,
        alone_s=alone.last_byte_s,
        beside_s=beside,
    )


def table(rows: Sequence[Idle]) -> str:
    """A line for each target."""
    lines = [f"{'row':10}  {'target':30} {'streams':>8} {'KB/stream':>10}  small: {_HEADINGS}"]
    for row in rows:
        memory = "" if row.kb_per_stream is None else f"{row.kb_per_stream:.1f}"
        times = "  ".join(
            f"{percentile_ms(seconds, percent):10.2f}"
            for seconds in (row.alone_s, row.beside_s)
            for percent in (50, 99)
        )
        lines.append(f"{row.row:10}  {row.target:30} {row.streams:8,} {memory:>10}         {times}")
    return "\n".join(lines)


def goals(rows: Sequence[Idle]) -> str:
    """Whether each gateway keeps to the memory that an idle stream may cost."""
    return "\n".join(
        f"  {row.row} on {row.target}: {row.kb_per_stream:.1f} KB for each of {row.streams:,} streams, "
        f"at most {AT_MOST_KB}: {'met' if row.kb_per_stream <= AT_MOST_KB else 'MISSED'}"
        for row in rows
        if row.kb_per_stream is not None and row.target.startswith("gateway")
    )
