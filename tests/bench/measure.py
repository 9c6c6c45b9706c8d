"""Sends load to a target and reads what it cost: a cell of the table, or streams that are held open.

Rounds go through all targets before the next begins, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import msgspec

from tests.bench.load import NUMBERS_PER_CONVERSATION, Job, Result
from tests.bench.process import LOAD_CORES, NotReadyError, Process
from tests.bench.rows import Row
from tests.bench.streams import Held, StreamsJob
from tests.bench.targets import Target

FIRST_REQUESTS = 8
WARM_UP = 100
FEWEST_REQUESTS = 16
ROUND_S = 4.0
"""A slow target's round takes about as long, a fast one's a second or so."""


class LoadFailedError(Exception):
    """The load generator refused a figure: an answer was wrong, or none came."""


class GoalMissedError(Exception):
    """A figure isn't what it must be; the message says both."""


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
    requests: int = 0
    """How many a round has, once the warm-up has shown how fast the target is."""

    def half_load_per_s(self) -> float:
        return median(self.requests_per_s) / 2


def percentile_ms(seconds: list[float], percent: int) -> float:
    """A percentile of durations, in milliseconds."""
    return quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


class Bench:
    """Sends load, keeps the numbers of requests apart, and counts what each target was sent."""

    def __init__(self, connections: int, folder: Path) -> None:
        self._connections = connections
        self._folder = folder
        self._conversations = 0
        self.sent: dict[str, Counter[str]] = {}
        """By target, the requests of each row."""

    def warm_up(self, cell: Cell, requests: int) -> None:
        """Find out how many requests a round of this cell has: `requests`, or fewer for a target that is slow."""
        first = self.send(cell.row, cell.target, FIRST_REQUESTS)
        likely = int(FIRST_REQUESTS / first.seconds * ROUND_S)
        cell.requests = min(requests, max(FEWEST_REQUESTS, likely))
        self.send(cell.row, cell.target, min(cell.requests, WARM_UP))

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
        result = self.send(cell.row, cell.target, requests, rate_per_s=rate_per_s)
        return result, process.settled_cpu_s() - before if process else 0.0

    def send(self, row: Row, target: Target, requests: int, *, rate_per_s: float = 0.0) -> Result:
        """Requests, as many at once as there are connections, or on a schedule. Raises `LoadFailedError`."""
        connections = min(self._connections, requests)
        job = Job(
            row=row.name,
            port=target.port,
            path=target.path(row),
            headers=target.headers(row),
            exact=target.exact,
            requests=requests,
            connections=connections,
            first_number=self._numbers_for(connections),
            cores=sorted(LOAD_CORES),
            rate_per_s=rate_per_s,
        )
        command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(job).decode()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LoadFailedError(f"{row.name} on {target.name}: {done.stderr.strip()[-2_000:]}")
        self._count(row, target, requests)
        return msgspec.json.decode(done.stdout, type=Result)

    @contextmanager
    def streams(self, row: Row, target: Target, number: int) -> Iterator[Streams]:
        """So many streams, which are all open inside. Raises `LoadFailedError`."""
        job = StreamsJob(
            row=row.name,
            port=target.port,
            path=target.path(row),
            headers=target.headers(row),
            streams=number,
            first_number=self._numbers_for(number),
        )
        command = [sys.executable, "-m", "tests.bench.streams", msgspec.json.encode(job).decode()]
        log = self._folder / f"streams-{job.first_number}.log"
        process = Process(command, cores=LOAD_CORES, log=log)
        try:
            streams = Streams(process, f"{number} of {row.name} on {target.name}")
            yield streams
        finally:
            process.stop()
        self._count(row, target, number)

    def _numbers_for(self, conversations: int) -> int:
        """The first number of so many new conversations."""
        self._conversations += conversations
        return (self._conversations - conversations) * NUMBERS_PER_CONVERSATION

    def _count(self, row: Row, target: Target, requests: int) -> None:
        self.sent.setdefault(target.name, Counter())[row.name] += requests


class Streams:
    """Streams that a process of their own holds open."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name
        self._line()

    def end(self) -> Held:
        """Wait for all to end. Raises `LoadFailedError` when an answer wasn't the upstream's."""
        return msgspec.json.decode(self._line(), type=Held)

    def _line(self) -> str:
        try:
            return self._process.line()
        except NotReadyError as failure:
            raise LoadFailedError(f"{self._name}: {str(failure)[-2_000:]}") from failure
