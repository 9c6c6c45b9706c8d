"""`python -m tests.bench.startup`: how long the command takes to answer, and which imports that goes to.

Time and CPU of `ai-gateway --help` and of `ai-gateway config show`, from their start to their end; of `ai-gateway
serve` until the first answer to a probe, on a database that isn't there yet and on one that is. Each is the median
of several runs, begun one after the other. Then what `serve` imports: CPU of the packages' own modules, without what
they import in turn. The interpreter takes longer when it tells these times, so they are to be compared with each
other only.

The files are in the page cache and compiled, as at every start but the first.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import BinaryIO, NamedTuple

from tests.bench.conditions import machine
from tests.bench.targets import free_port

COMMAND = (sys.executable, "-m", "gateway")
PROBE = "/anthropic"
PATIENCE_S = 60.0
POLL_S = 0.002
TOP = 10


class Start(NamedTuple):
    """From the start of the process; `cpu_s` is of all its threads."""

    wall_s: float
    cpu_s: float


class StartFailedError(Exception):
    """The command didn't do what was to be measured."""


def ended(arguments: Sequence[str], environment: Mapping[str, str]) -> Start:
    """A command that ends by itself."""
    began = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise StartFailedError(f"{' '.join(arguments)}: exit {process.returncode}")
    return Start(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def answered(environment: Mapping[str, str]) -> Start:
    """`serve` until it has answered a probe; then it is ended."""
    began = time.perf_counter()
    with _answering(COMMAND, environment, subprocess.DEVNULL) as process:
        return Start(time.perf_counter() - began, _cpu_s(process.pid))


@contextmanager
def _answering(
    command: Sequence[str], environment: Mapping[str, str], stderr: int | BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """`serve`, from its first answer on. Raises `StartFailedError`."""
    port = free_port()
    deadline = time.perf_counter() + PATIENCE_S
    process = subprocess.Popen([*command, "serve", "--port", str(port)], stderr=stderr, env=environment)
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() > deadline:
                raise StartFailedError(f"serve did not answer: exit {process.poll()}")
            time.sleep(POLL_S)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("HEAD", PROBE)
        return connection.getresponse().status == 200
    except (ConnectionError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _cpu_s(pid: int) -> float:
    # The clock ID that clock_getcpuclockid(3) makes of a process ID.
    return time.clock_gettime((~pid << 3) | 2)


def environment_in(folder: Path) -> dict[str, str]:
    """Settings of a gateway whose data lie in `folder`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CODER_AI_GATEWAY_")},
        "CODER_AI_GATEWAY_DATABASE_URL": f"sqlite:///{folder}/gateway.db",
        "CODER_AI_GATEWAY_JOURNAL_DIR": str(folder / "journal"),
        "CODER_AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "CODER_AI_GATEWAY_PROVIDER_0_KEY": "sk-bench-not-a-key",
    }


def measured(name: str, start: Callable[[], Start], runs: int) -> str:
    """A line with the medians."""
    starts = [start() for _ in range(runs)]
    wall_ms = median(one.wall_s for one in starts) * 1e3
    cpu_ms = median(one.cpu_s for one in starts) * 1e3
    return f"{name:32}{wall_ms:8.0f} ms{cpu_ms:10.0f} ms"


# -- imports -----------------------------------------------------------------------------------------------------------


def import_times(told: Iterable[str]) -> dict[str, int]:
    """Microseconds in the own modules of each package, of what `-X importtime` tells."""
    times: Counter[str] = Counter()
    for line in told:
        head, _, rest = line.partition("import time:")
        own_us, _, place = rest.partition("|")
        module = place.rpartition("|")[2].strip()
        if not head and module and own_us.strip().isdecimal():
            times[module.partition(".")[0]] += int(own_us)
    return dict(times)


def dearest(times: Mapping[str, int], top: int) -> list[str]:
    """The packages that take longest, a line each."""
    total = sum(times.values())
    ordered = sorted(times.items(), key=lambda item: item[1], reverse=True)[:top]
    return [f"{name:32}{us / 1e3:8.1f} ms{us / total:10.1%}" for name, us in ordered]


def imports_of_serve(environment: Mapping[str, str], log: Path) -> dict[str, int]:
    """What `serve` has imported when it answers."""
    command = [COMMAND[0], "-X", "importtime", *COMMAND[1:]]
    with log.open("wb") as file, _answering(command, environment, file):
        pass
    return import_times(log.read_text(encoding="utf-8", errors="replace").splitlines())


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when something did not start."""
    parser = argparse.ArgumentParser(description="Time and CPU of the command until it answers.")
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args(argv).runs
    try:
        with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-") as folder:
            run(Path(folder), runs)
    except StartFailedError as failure:
        print(f"startup: {failure}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, runs: int) -> None:
    """Measure and print."""
    existing = environment_in(folder)
    fresh = (environment_in(folder / f"fresh-{number}") for number in count())
    print(f"startup: {machine()}; the median of {runs} runs")
    print(f"{'':32}{'time':>11}{'CPU':>13}")
    print(measured("ai-gateway --help", lambda: ended(["--help"], existing), runs))
    print(measured("ai-gateway config show", lambda: ended(["config", "show"], existing), runs))
    print(measured("serve, new SQLite database", lambda: answered(next(fresh)), runs))
    answered(existing)  # makes the database
    print(measured("serve, the same again", lambda: answered(existing), runs))
    print(f"\n{'imports of serve':32}{'own time':>11}{'share':>10}")
    print("\n".join(dearest(imports_of_serve(existing, folder / "importtime"), TOP)))


if __name__ == "__main__":
    sys.exit(main())
