"""`python -m tests.bench beside`: what one large request does to the streams that run beside it.

A hundred streams bring an event every 20 ms, each telling when the provider wrote it. They run alone first, then while
a request of 600 KB is sent every second. What counts are the events that came while such a request was under way:
their delay at the 99th percentile, less that of the streams alone. The direct connection shows what upstream and load
generator add of their own.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import conditions
from tests.bench.gateway import Variant
from tests.bench.idle import open_files
from tests.bench.load import Result
from tests.bench.measure import Bench, GoalMissedError, percentile_ms
from tests.bench.process import allow_open_files
from tests.bench.rows import ROWS, SLOW_ROWS
from tests.bench.scene import scene
from tests.bench.streams import Held
from tests.bench.targets import Target

AT_MOST_MS = 10.0
RATE_PER_S = 1.0
LARGE_REQUESTS = 8
"""They end before the streams do."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Delays of the events on one target, in seconds."""

    target: str
    alone_s: list[float]
    beside_s: list[float]
    """All events while large requests were sent."""
    during_s: list[float]
    """Those that came while one was under way."""

    @property
    def added_p99_ms(self) -> float:
        """What a large request adds to the delay of an event, at the 99th percentile."""
        return percentile_ms(self.during_s, 99) - percentile_ms(self.alone_s, 99)


def main(argv: Sequence[str]) -> None:
    """Run, print the delays, and raise `GoalMissedError` when the gateway's are too long."""
    options = _arguments(argv)
    allow_open_files(open_files(options.streams))
    with scene() as here:
        targets: list[Target] = [here.direct()]
        gateway = here.gateway(Variant(options.server, options.transport))
        targets.append(gateway)
        print(f"machine: {conditions.machine()}\n{gateway.name}, 1 worker, with {conditions.SWITCHED_ON}")
        bench = Bench(16, here.folder)
        found = [_measure(bench, target, options.streams) for target in targets]
        here.stop()
        print(f"{table(found)}\n{gateway.check_records(bench.sent[gateway.name])}")
    print(verdict(found[-1]))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench beside", description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--server", choices=("hypercorn", "uvicorn"), default="hypercorn")
    parser.add_argument("--transport", choices=("aiohttp", "httpx"), default="aiohttp")
    return parser.parse_args(argv)


def _measure(bench: Bench, target: Target, streams: int) -> Beside:
    steady, large = SLOW_ROWS["steady"], ROWS["long"]
    bench.send(large, target, 20)
    with bench.streams(steady, target, streams) as running:
        alone = running.end()
    with bench.streams(steady, target, streams) as running:
        sent = bench.send(large, target, LARGE_REQUESTS, rate_per_s=RATE_PER_S)
        beside = running.end()
    return Beside(target.name, alone.delay_s, beside.delay_s, during(beside, sent))


def during(held: Held, sent: Result) -> list[float]:
    """The delays of the events that came between the start and the last byte of one of the requests."""
    events = sorted(zip(held.came_s, held.delay_s, strict=True))
    times = [came for came, _ in events]
    delays: list[float] = []
    for start, took in zip(sent.start_s, sent.last_byte_s, strict=True):
        first, last = bisect_left(times, start), bisect_right(times, start + took)
        delays += [delay for _, delay in events[first:last]]
    return delays


def table(rows: Sequence[Beside]) -> str:
    """A line for each target, in milliseconds."""
    lines = [
        f"{'delay of an event, ms':30} {'alone p50':>10} {'p99':>7} {'beside p50':>11} {'p99':>7}"
        f" {'during p50':>11} {'p99':>7}"
    ]
    for row in rows:
        figures = [
            percentile_ms(times, percent)
            for times in (row.alone_s, row.beside_s, row.during_s)
            for percent in (50, 99)
        ]
        lines.append(
            f"{row.target:30} {figures[0]:10.2f} {figures[1]:7.2f} {figures[2]:11.2f} {figures[3]:7.2f}"
            f" {figures[4]:11.2f} {figures[5]:7.2f}"
        )
    return "\n".join(lines)


def verdict(row: Beside) -> str:
    """Whether the streams go on undisturbed; raises `GoalMissedError` when not."""
    said = (
        f"{row.added_p99_ms:+.2f} ms at the 99th percentile for events beside a large request, "
        f"at most {AT_MOST_MS:+.1f}"
    )
    if row.added_p99_ms > AT_MOST_MS:
        raise GoalMissedError(said)
    return f"{said}: met"
