"""`python -m tests.bench soak`: a million small requests to one worker, and what they do to its memory.

Memory is read after each batch, once the worker has come to rest; what it has after the warm-up is compared with what
it has at the end. Every answer is checked, and the records are counted when all is done.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from tests.bench import conditions
from tests.bench.gateway import Gateway, Variant
from tests.bench.measure import Bench, GoalMissedError
from tests.bench.rows import ROWS
from tests.bench.scene import scene


def main(argv: Sequence[str]) -> None:
    """Run, print the memory as it goes, and raise `GoalMissedError` when there is too much of it at the end."""
    options = _arguments(argv)
    with scene() as here:
        gateway = here.gateway(Variant(options.server, options.transport))
        print(f"machine: {conditions.machine()}\n{gateway.name}, 1 worker, with {conditions.SWITCHED_ON}")
        bench = Bench(options.connections, here.folder)
        samples = _soak(bench, gateway, options.requests, options.batch)
        here.stop()
        print(gateway.check_records(bench.sent[gateway.name]))
    print(verdict(samples, warm_up=options.warm_up, at_most_mb=options.at_most_mb))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--warm-up", type=int, help="requests, at first 5%% of all")
    parser.add_argument("--batch", type=int, help="requests between two readings, at first 1%% of all")
    parser.add_argument("--at-most-mb", type=float, default=8.0, help="how much memory may grow")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--server", choices=("hypercorn", "uvicorn"), default="hypercorn")
    parser.add_argument("--transport", choices=("aiohttp", "httpx"), default="aiohttp")
    options = parser.parse_args(argv)
    options.warm_up = options.warm_up or options.requests // 20
    options.batch = options.batch or max(1, options.requests // 100)
    return options


def _soak(bench: Bench, gateway: Gateway, requests: int, batch: int) -> list[tuple[int, float]]:
    """Requests sent so far, and the memory in megabytes, after each batch."""
    samples: list[tuple[int, float]] = []
    sent, start = 0, time.monotonic()
    while sent < requests:
        number = min(batch, requests - sent)
        bench.send(ROWS["small"], gateway, number)
        sent += number
        gateway.process.settled_cpu_s()
        samples.append((sent, gateway.process.rss_mb()))
        print(
            f"  {sent:10,} requests, {time.monotonic() - start:6.0f} s: {samples[-1][1]:.1f} MB", flush=True
        )
    return samples


def verdict(samples: Sequence[tuple[int, float]], *, warm_up: int, at_most_mb: float) -> str:
    """What the memory did from the end of the warm-up on; raises `GoalMissedError` when that is too much."""
    warm, after_warm_up = next(((sent, mb) for sent, mb in samples if sent >= warm_up), samples[-1])
    sent, at_end = samples[-1]
    grown = at_end - after_warm_up
    said = (
        f"{after_warm_up:.1f} MB after {warm:,} requests, {at_end:.1f} MB after {sent:,}: {grown:+.1f} MB, "
        f"at most {at_most_mb:+.1f}"
    )
    if grown > at_most_mb:
        raise GoalMissedError(said)
    return f"{said}: met"
