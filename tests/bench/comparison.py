"""`python -m tests.bench`: rows of load against the gateway, nginx and the upstream itself, in one run.

Saturation comes first: rounds that go through all targets in turn, each asked as fast as it can answer. Then the same
at half load: the same rate for all, half of what the first gateway could do (or half of its own, for a target that
could do less). CPU time is that of the target's process alone; the ratio to nginx is taken at half load, where events
of a stream don't pile up before a relay that is late. The row `idle` is measured by itself (`tests.bench.idle`), on the
first gateway alone; of `idle-small`, which is not run unless asked for, the requests are short.

Every answer is checked to the byte and the gateway's records are counted; what is wrong ends the run. `--short` sends
a few requests for those checks alone, and judges no figure.

    soak, beside: two other measurements, `python -m tests.bench soak --help`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.bench import idle, report, results
from tests.bench.gateway import Gateway, Variant
from tests.bench.install import NotInstalledError
from tests.bench.measure import Bench, Cell, LoadFailedError
from tests.bench.peers import PEERS
from tests.bench.process import NotReadyError, allow_open_files
from tests.bench.rows import ROWS
from tests.bench.scene import Scene, scene
from tests.bench.targets import Target, install_nginx

IDLE_ROWS = frozenset({"idle", "idle-small"})
SERVERS = ("hypercorn", "uvicorn")
RELAYS = ("nginx", "relay")
TRANSPORTS = ("aiohttp", "httpx")
REQUESTS = MappingProxyType({"small": 2_000, "turn": 300, "long": 40, "blocking": 800, "models": 2_000})
"""Requests of a round: a second or so on the gateway."""
PACED_S = 2.0
FEWEST = 50
"""At least so many are paced, or as many as a round has: fewer have no 99th percentile to speak of."""
BESIDE_IDLE = 500
SHORT_REQUESTS = MappingProxyType({"small": 50, "turn": 50, "long": 8, "blocking": 50, "models": 50})
SHORT_STREAMS = 50
SHORT_BESIDE_IDLE = 25
SHORT_HURRY = 15.0


def main(argv: Sequence[str]) -> None:
    """Run and print. Raises what it can't measure or what was wrong."""
    options = _arguments(argv)
    if IDLE_ROWS & set(options.rows):
        allow_open_files(idle.open_files(options.streams))
    with scene(hurry=SHORT_HURRY if options.short else 1.0) as here:
        _start(options, here)
        bench = Bench(options.connections, here.folder)
        cells, idles = _run(options, here, bench)
        here.stop()
        gateways = [target for target in here.targets if isinstance(target, Gateway)]
        recorded = [gateway.check_records(bench.sent[gateway.name]) for gateway in gateways]
    _progress("")
    if not options.short:
        run = report.Run(options.rows, options.rounds, options.connections, options.workers, cells, idles)
        print(f"{report.text(run)}\n\n{results.write(run, options.output)}")
    answers = sum(sent.total() for sent in bench.sent.values())
    print("\n".join([*recorded, f"{answers:,} answers, each as the upstream sent it"]))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, known, by_default in (
        ("rows", (*ROWS, *sorted(IDLE_ROWS)), (*ROWS, "idle")),
        ("transport", TRANSPORTS, TRANSPORTS),
        ("server", SERVERS, SERVERS),
        ("peers", (*RELAYS, *PEERS, "none"), (*RELAYS, *PEERS)),
    ):
        parser.add_argument(
            f"--{name}", type=_names(known), default=list(by_default), help=f"of {','.join(known)}"
        )
    parser.add_argument("--workers", type=_counts, default=[1], help="of the gateway: 1, 2 or 1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--streams", type=int, default=2_000, help="how many are open in the row `idle`")
    parser.add_argument(
        "--output", type=Path, default=Path("bench-results"), help="folder for JSON, table, plot"
    )
    parser.add_argument("--short", action="store_true", help="a few requests, no figures: for CI")
    options = parser.parse_args(argv)
    if options.short:
        options.peers = list(RELAYS)
        options.streams = min(options.streams, SHORT_STREAMS)
    return options


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def _counts(text: str) -> list[int]:
    counts = [int(number) for number in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("a gateway has at least one worker")
    return counts


def _variants(options: argparse.Namespace) -> list[Variant]:
    """Every server with the first transport, the other transports under the first server, then more workers of it."""
    first_server, first_transport = options.server[0], options.transport[0]
    first, *more = options.workers
    return [
        *(Variant(server, first_transport, _workers(server, first)) for server in options.server),
        *(
            Variant(first_server, transport, _workers(first_server, first))
            for transport in options.transport[1:]
        ),
        *(Variant("hypercorn", first_transport, workers) for workers in more),
    ]


def _workers(server: str, wanted: int) -> int:
    """Only our own server has several."""
    return wanted if server == "hypercorn" else 1


def _start(options: argparse.Namespace, here: Scene) -> None:
    here.direct()
    for name in options.peers:
        _progress(f"starting {name}")
        reason = _start_peer(name, here, may_install=not options.short)
        if reason:
            print(f"no {name} beside the gateway: {reason}")
    for variant in _variants(options):
        here.gateway(variant)


def _start_peer(name: str, here: Scene, *, may_install: bool) -> str | None:
    """Start it; or why it isn't there."""
    try:
        if name in PEERS:
            here.peer(name)
        elif name == "nginx":
            reason = install_nginx(allowed=may_install)
            if reason:
                return reason
            here.nginx()
        elif name == "relay":
            here.relay()
    except (NotInstalledError, NotReadyError) as failure:
        return _in_short(failure)
    return None


def _in_short(failure: Exception) -> str:
    """The last line of what was said: the first ones are commands and tracebacks."""
    return str(failure).strip().splitlines()[-1][-300:]


def _run(options: argparse.Namespace, here: Scene, bench: Bench) -> tuple[list[Cell], list[idle.Idle]]:
    cells: list[Cell] = []
    idles: list[idle.Idle] = []
    for name in options.rows:
        if name in IDLE_ROWS:
            idles += [_idle(options, name, bench, target) for target in _idle_targets(options, here)]
            continue
        row_cells = [
            Cell(ROWS[name], target) for target in here.targets if target.rows is None or name in target.rows
        ]
        if options.short:
            for cell in row_cells:
                bench.send(cell.row, cell.target, SHORT_REQUESTS[name])
        else:
            cells += _measure(bench, row_cells, options.rounds)
    return cells, idles


def _idle_targets(options: argparse.Namespace, here: Scene) -> list[Target]:
    gateways: list[Target] = [target for target in here.targets if isinstance(target, Gateway)]
    if options.short:
        return gateways[:1]
    return [target for target in here.targets if target.rows is None and target not in gateways[1:]]


def _idle(options: argparse.Namespace, name: str, bench: Bench, target: Target) -> idle.Idle:
    _progress(f"{name}: {options.streams} streams, {target.name}")
    if options.short:
        return idle.measure(
            bench, name, target, streams=options.streams, requests=SHORT_BESIDE_IDLE, rest_s=0.0
        )
    return idle.measure(bench, name, target, streams=options.streams, requests=BESIDE_IDLE)


def _measure(bench: Bench, cells: list[Cell], rounds: int) -> list[Cell]:
    """Fill the cells, and give those whose answers were all right."""
    cells = keep_right(cells, "warm-up", lambda cell: bench.warm_up(cell, REQUESTS[cell.row.name]))
    for number in range(rounds):
        cells = keep_right(
            cells, f"round {number + 1} of {rounds}", lambda cell: bench.saturate(cell, cell.requests)
        )
    common = next(cell.half_load_per_s() for cell in cells if isinstance(cell.target, Gateway))

    def pace(cell: Cell) -> None:
        rate = min(common, cell.half_load_per_s())
        fewest = min(FEWEST, cell.requests)
        bench.pace(cell, max(fewest, min(int(rate * PACED_S), cell.requests)), rate)

    for number in range(rounds):
        cells = keep_right(cells, f"at half load {number + 1} of {rounds}", pace)
    return cells


def keep_right(cells: list[Cell], step: str, do: Callable[[Cell], None]) -> list[Cell]:
    """Do it for each, and drop a peer's cell that can't be trusted; a wrong answer of any other ends the run."""
    right: list[Cell] = []
    for cell in cells:
        _progress(f"{cell.row.name}: {step}, {cell.target.name}")
        try:
            do(cell)
        except LoadFailedError as failure:
            if cell.target.exact:
                raise
            _progress("")
            print(f"left out: {cell.row.name} on {cell.target.name}: {_in_short(failure)}")
        else:
            right.append(cell)
    return right


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
