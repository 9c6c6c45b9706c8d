"""Processes of the benchmark: started on a core of their own, watched from outside, ended with the benchmark.

CPU time is the operating system's count of the process with all its threads and children (nginx's worker), in
nanoseconds; the counters of `/proc/<pid>/stat` tick a hundred times a second, too coarse for a short run. Linux only.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
TARGET_CORE = {CORES[-1]}
"""Where the measured process runs, alone of ours."""
LOAD_CORES = set(CORES[:-2] if len(CORES) > 3 else CORES[:-1]) or TARGET_CORE
"""Where upstream and load generator run."""


def target_cores(workers: int) -> set[int]:
    """A core for each worker; on a machine of few cores some are those of upstream and load generator too."""
    return set(CORES[-workers:])


class NotReadyError(Exception):
    """A process ended, or said nothing in time, before it was ready."""


def allow_open_files(number: int) -> None:
    """Let this process and those it starts open `number` files each; `NotReadyError` when that isn't allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise NotReadyError(
            f"{number:,} open files a process are needed and the hard limit is {hard:,}: raise it (`ulimit -Hn`, "
            "LimitNOFILE= of systemd, --ulimit of Docker) or ask for fewer streams"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


class Process:
    """A child process. Standard error goes to `log`, which `failure` quotes, and output that is no `line` as well."""

    def __init__(
        self,
        command: list[str],
        *,
        cores: set[int],
        log: Path,
        env: Mapping[str, str | None] | None = None,
        says_lines: bool = True,
    ) -> None:
        self.command = command
        self._log = log
        with log.open("ab") as stderr:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if says_lines else stderr,
                stderr=stderr,
                env=_environment(env or {}),
                preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 - there are no threads here
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def line(self) -> str:
        """The next line of standard output; raises `NotReadyError` when the process ended instead."""
        assert self._child.stdout is not None
        line: bytes = self._child.stdout.readline()
        if not line:
            raise NotReadyError(self.failure())
        return line.decode().strip()

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Ask `ready` again and again until it says yes."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise NotReadyError(self.failure())
            time.sleep(0.05)

    def failure(self) -> str:
        """What the process said last."""
        said = self._log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        return f"{' '.join(self.command)} (exit {self._child.poll()}): {said}"

    def cpu_s(self) -> float:
        """CPU seconds used so far by the process and its living descendants."""
        return sum(_cpu_s(pid) for pid in _tree(self.pid))

    def settled_cpu_s(self) -> float:
        """`cpu_s` once the process has finished the work that it put off."""
        before = self.cpu_s()
        for _ in range(100):
            time.sleep(0.05)
            now = self.cpu_s()
            if now - before < 0.001:
                return now
            before = now
        return before

    def waited_s(self) -> float:
        """Seconds for which its threads were ready to run and something else had the core."""
        return sum(_waited_s(pid) for pid in _tree(self.pid))

    def rss_mb(self) -> float:
        """Resident memory of the process and its descendants, in megabytes."""
        return sum(_rss_kb(pid) for pid in _tree(self.pid)) / 1024

    def stop(self, *, timeout_s: float = 15.0) -> int:
        """End the process as an operator would, and give its exit code."""
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        return self._child.returncode


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """That of this process, with changes; None takes a variable away."""
    return {name: value for name, value in {**os.environ, **changes}.items() if value is not None}


def _tree(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            children += _tree(int(child))
    return [pid, *children]


def _cpu_s(pid: int) -> float:
    # The clock ID that clock_getcpuclockid(3) makes of a process ID.
    return time.clock_gettime((~pid << 3) | 2)


def _waited_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[1]) for task in tasks) / 1e9


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
