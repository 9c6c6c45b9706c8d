"""One cell of the table: a row's load against a target, with what it cost the target.

Rounds go through all targets before the next begins, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from statistics import median, quantiles

import msgspec

from tests.bench.load import NUMBERS_PER_CONVERSATION, Job, Result
from tests.bench.process import LOAD_CORES
from tests.bench.rows import Row
from tests.bench.targets import Target


class LoadFailedError(Exception):
    """The load generator refused a figure: an answer was wrong, or none came."""


@dataclass(slots=True)
class Cell:
    """What is known of a row on a target. Lists of figures have one entry a round, lists of times one a request."""

    row: Row
    target: Target
    requests_per_s: list[float] = field(default_factory=list)
    saturated_cpu_ms: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    """The share of its core that the target used at saturation; well under 1: something else was the limit."""
    cpu_ms: list[float] = field(default_factory=list)
    """CPU time per request at half load."""
    waited: list[float] = field(default_factory=list)
    """The share of the time at half load in which the target waited for its core, which something else had."""
    first_byte_s: list[float] = field(default_factory=list)
    last_byte_s: list[float] = field(default_factory=list)
    rss_mb: float = 0.0
    sent: int = 0

    def half_load_per_s(self) -> float:
        return median(self.requests_per_s) / 2


def percentile_ms(seconds: list[float], percent: int) -> float:
    """A percentile of durations, in milliseconds."""
    return quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


class Bench:
    """Sends load, and keeps the numbers of requests apart."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._conversations = 0

    def saturate(self, cell: Cell, requests: int) -> None:
        """As many requests as the target can take."""
        result, cpu_s = self._counted(cell, requests, rate_per_s=0.0)
        cell.requests_per_s.append(requests / result.seconds)
        if cell.target.process:
            cell.saturated_cpu_ms.append(cpu_s / requests * 1000)
            cell.busy.append(cpu_s / result.seconds)
            cell.rss_mb = max(cell.rss_mb, cell.target.process.rss_mb())

    def pace(self, cell: Cell, requests: int, rate_per_s: float) -> None:
        """Requests on a schedule, what they cost, and the times to their answers."""
        process = cell.target.process
        waited_s = process.waited_s() if process else 0.0
        result, cpu_s = self._counted(cell, requests, rate_per_s=rate_per_s)
        cell.first_byte_s += result.first_byte_s
        cell.last_byte_s += result.last_byte_s
        if process:
            cell.cpu_ms.append(cpu_s / requests * 1000)
            cell.waited.append((process.waited_s() - waited_s) / result.seconds)

    def _counted(self, cell: Cell, requests: int, *, rate_per_s: float) -> tuple[Result, float]:
        """The load's result, and the CPU seconds that the target used from its start until it had nothing to do."""
        process = cell.target.process
        before = process.settled_cpu_s() if process else 0.0
        result = self._load(cell, requests, rate_per_s=rate_per_s)
        return result, process.settled_cpu_s() - before if process else 0.0

    def warm_up(self, cell: Cell, requests: int) -> None:
        """Requests that count for nothing but the records they leave."""
        self._load(cell, requests, rate_per_s=0.0)

    def _load(self, cell: Cell, requests: int, *, rate_per_s: float) -> Result:
        job = Job(
            row=cell.row.name,
            port=cell.target.port,
            path=cell.target.path(cell.row),
            headers=cell.target.headers,
            requests=requests,
            connections=min(self._connections, requests),
            first_number=self._conversations * NUMBERS_PER_CONVERSATION,
            cores=sorted(LOAD_CORES),
            rate_per_s=rate_per_s,
        )
        self._conversations += job.connections
        command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(job).decode()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LoadFailedError(f"{cell.row.name} on {cell.target.name}: {done.stderr.strip()[-2_000:]}")
        cell.sent += requests
        return msgspec.json.decode(done.stdout, type=Result)
