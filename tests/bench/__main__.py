"""`python -m tests.bench`: rows of load against the gateway, nginx and the upstream itself, in one run.

Saturation comes first: rounds that go through all targets in turn, each asked as fast as it can answer. Then the same
at half load: the same rate for all, half of what the first gateway could do (or half of its own, for a target that
could do less). CPU time is that of the target's process alone; the ratio to nginx is taken at half load, where events
of a stream don't pile up before a relay that is late.

Every answer is checked to the byte and the gateway's records are counted; what is wrong ends the run. `--short` sends
a few requests for those checks alone, and judges no figure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

from tests.bench import table
from tests.bench.gateway import SWITCHED_ON, Gateway, RecordsMissingError, Variant
from tests.bench.measure import Bench, Cell, LoadFailedError
from tests.bench.process import LOAD_CORES, TARGET_CORE, NotReadyError, Process
from tests.bench.rows import ROWS
from tests.bench.targets import Direct, Nginx, Target, install_nginx

REQUESTS = MappingProxyType({"small": 2_000, "turn": 300, "blocking": 800, "models": 2_000})
"""Requests of a round: a second or so on the gateway."""
WARM_UP = 100
PACED_S = 2.0
SHORT_REQUESTS = 50


def main() -> None:
    """Run, and end with an error when an answer or a record was wrong."""
    options = _arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-") as folder:
            _run(options, Path(folder))
    except (LoadFailedError, NotReadyError, RecordsMissingError) as failure:
        sys.exit(f"bench: {failure}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    for name, known in (
        ("rows", tuple(ROWS)),
        ("transport", ("aiohttp", "httpx")),
        ("server", ("hypercorn", "uvicorn")),
    ):
        parser.add_argument(f"--{name}", type=_names(known), default=list(known), help=",".join(known))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--short", action="store_true", help="a few requests, no figures: for CI")
    return parser.parse_args()


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def _variants(options: argparse.Namespace) -> list[Variant]:
    """Every server with the first transport, then the other transports under the first server."""
    first_server, first_transport = options.server[0], options.transport[0]
    return [
        *(Variant(server, first_transport) for server in options.server),
        *(Variant(first_server, transport) for transport in options.transport[1:]),
    ]


def _run(options: argparse.Namespace, folder: Path) -> None:
    cells: list[Cell] = []
    with ExitStack() as stack:
        targets = _start(options, folder, stack)
        bench = Bench(options.connections)
        for name in options.rows:
            row_cells = [Cell(ROWS[name], target) for target in targets]
            if options.short:
                _check(bench, row_cells)
            else:
                _measure(bench, row_cells, options.rounds)
            cells += row_cells
    if not options.short:
        _print_figures(options, cells)
    for target in targets:
        if isinstance(target, Gateway):
            print(
                target.check_records(
                    {cell.row.name: cell.sent for cell in cells if cell.target is target}, ROWS
                )
            )
    print(f"{sum(cell.sent for cell in cells):,} answers, each as the upstream sent it")


def _start(options: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Target]:
    """The upstream and everything that stands before it, each stopped when the stack is left."""
    command = [sys.executable, "-m", "tests.bench.upstream"]
    upstream = Process(command, cores=LOAD_CORES, log=folder / "upstream.log")
    stack.callback(upstream.stop)
    port = int(upstream.line())
    targets: list[Target] = []

    def add(target: Target) -> None:
        stack.callback(target.stop)
        targets.append(target)

    add(Direct(port))
    no_nginx = install_nginx(allowed=not options.short)
    if no_nginx:
        print(f"no nginx beside the gateway: {no_nginx}")
    else:
        add(Nginx(port, folder / "nginx"))
    for variant in _variants(options):
        add(Gateway(variant, port, folder / variant.name.replace(" ", "-")))
    return targets


def _check(bench: Bench, cells: list[Cell]) -> None:
    for cell in cells:
        bench.warm_up(cell, SHORT_REQUESTS)


def _measure(bench: Bench, cells: list[Cell], rounds: int) -> None:
    for cell in cells:
        bench.warm_up(cell, WARM_UP)
    for number in range(rounds):
        for cell in cells:
            _progress(f"{cell.row.name}: round {number + 1} of {rounds}, {cell.target.name}")
            bench.saturate(cell, REQUESTS[cell.row.name])
    common = next(cell.half_load_per_s() for cell in cells if isinstance(cell.target, Gateway))
    for number in range(rounds):
        for cell in cells:
            _progress(f"{cell.row.name}: at half load {number + 1} of {rounds}, {cell.target.name}")
            rate = min(common, cell.half_load_per_s())
            bench.pace(cell, max(50, min(int(rate * PACED_S), REQUESTS[cell.row.name])), rate)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _print_figures(options: argparse.Namespace, cells: list[Cell]) -> None:
    _progress("")
    print(f"machine: {table.machine()}")
    print(f"targets on core {sorted(TARGET_CORE)}, upstream and load on {sorted(LOAD_CORES)}, 1 worker each")
    print(f"gateway with {SWITCHED_ON}")
    print(
        f"{options.rounds} rounds, {options.connections} connections; times in ms over direct, at half load"
    )
    print(table.bodies({cell.row.name: cell.row for cell in cells}.values()))
    print(f"\n{table.table(cells)}\n")
    for paragraph in (table.disturbance(cells), table.goals(cells)):
        if paragraph:
            print(paragraph)


if __name__ == "__main__":
    main()
