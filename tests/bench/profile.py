"""`python -m tests.bench.profile turn`: where the CPU of a row's request goes, function by function.

The request runs in this process, as `tests.bench.in_process` describes. First comes its CPU time without a profiler,
then the functions by the time spent in themselves, calls and microseconds a request. A profiler makes short functions
look dearer than they are: the calls a request are exact, the times a hint. `--callers NAME` tells who calls the
functions of that name, `--sort cumulative` counts the functions that they call too.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.bench.event_loop import run
from tests.bench.in_process import in_process
from tests.bench.rows import ROWS, Row

WARM_UP = 20
REQUESTS = MappingProxyType({"turn": 100, "blocking": 200})
OTHER_REQUESTS = 1_000


class Profile:
    """What a request costs: `cpu_ms` without a profiler, `stats` with one, over `requests` of them."""

    def __init__(self, row: Row, requests: int) -> None:
        self.row, self.requests = row, requests
        self.cpu_ms = 0.0
        self._profiler = cProfile.Profile()

    async def measure(self, folder: Path) -> None:
        async with in_process(self.row, folder) as gateway:
            await gateway.requests(WARM_UP)
            began = time.thread_time()
            await gateway.requests(self.requests)
            self.cpu_ms = (time.thread_time() - began) * 1e3 / self.requests
            self._profiler.enable()
            await gateway.requests(self.requests)
            self._profiler.disable()

    @property
    def stats(self) -> pstats.Stats:
        return pstats.Stats(self._profiler)


def lines(profile: Profile, *, sort: str, top: int) -> list[str]:
    """The dearest functions, a line each: microseconds in itself, with what it calls, calls, all a request."""
    own, total = 2, 3
    key = own if sort == "tottime" else total
    entries: dict[tuple[str, int, str], Any] = profile.stats.stats  # type: ignore[attr-defined]
    dearest = sorted(entries.items(), key=lambda entry: entry[1][key], reverse=True)[:top]
    per = 1e6 / profile.requests
    return [f"{'own us':>9}{'with all us':>13}{'calls':>9}  function"] + [
        f"{entry[own] * per:9.1f}{entry[total] * per:13.1f}{entry[1] / profile.requests:9.1f}  {_place(*function)}"
        for function, entry in dearest
    ]


def _place(file: str, line: int, name: str) -> str:
    """A function as `middleware/upstream.py:157 _relay`; what is built in has no file."""
    if file == "~":
        return name
    path = Path(file)
    for root in (Path.cwd(), *(Path(entry) for entry in sys.path if entry)):
        if path.is_relative_to(root):
            path = path.relative_to(root)
            break
    return f"{path}:{line} {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the CPU of one request goes, in process.")
    parser.add_argument("row", choices=tuple(ROWS))
    parser.add_argument("--requests", type=int)
    parser.add_argument("--sort", choices=("tottime", "cumulative"), default="tottime")
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--callers", metavar="NAME", help="who calls the functions of this name")
    args = parser.parse_args()
    profile = Profile(ROWS[args.row], args.requests or REQUESTS.get(args.row, OTHER_REQUESTS))
    with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-") as folder:
        run(profile.measure(Path(folder)))
    print(f"{args.row}: {profile.cpu_ms:.3f} ms CPU a request in process, {profile.requests} requests\n")
    print("\n".join(lines(profile, sort=args.sort, top=args.top)))
    if args.callers:
        profile.stats.sort_stats("tottime").print_callers(args.callers)


if __name__ == "__main__":
    main()
