"""Counts the instructions of a program between calls of a C function, with valgrind's callgrind.

The count is that of a simulated processor: it knows nothing of caches or of neighbours on the machine, and is the
same on a busy machine and on a quiet one. What is left of chance (where things lie in memory) is taken out as far as
that can be done from outside: no hash seeds, no random addresses, an environment of the same few variables.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

MISSING = "there is no valgrind here (on Debian and Ubuntu: apt-get install valgrind)"
_HEADER_LINES = 40


class CountingFailedError(Exception):
    """The program did not run to its end under callgrind, or left other counts than were expected."""


def installed() -> bool:
    return shutil.which("valgrind") is not None


def version() -> str:
    """As in `valgrind-3.19.0`."""
    return subprocess.run(
        ["valgrind", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


def segments(command: Sequence[str], marker: str, folder: Path, *, timeout_s: float) -> list[int]:
    """Run `command`; the instructions up to the first call of `marker`, and between each call and the one before it.

    The dumps go to `folder`. Raises `CountingFailedError`.
    """
    valgrind = [
        *_same_addresses(),
        "valgrind",
        "--tool=callgrind",
        f"--dump-before={marker}",
        f"--callgrind-out-file={folder}/callgrind",
    ]
    try:
        done = subprocess.run(
            [*valgrind, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired as error:
        raise CountingFailedError(f"{' '.join(command)} took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise CountingFailedError(f"{' '.join(command)} (exit {done.returncode}): {done.stderr[-2_000:]}")
    dumps = sorted(folder.glob("callgrind.*"), key=lambda path: int(path.suffix[1:]))
    return [count_of(_head(dump)) for dump in dumps if _trigger(_head(dump)) == f"--dump-before={marker}"]


def _same_addresses() -> list[str]:
    """What runs a program without random addresses; nothing where a container doesn't allow that."""
    command = ["setarch", "-R"]
    if shutil.which(command[0]) is None:
        return []
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if allowed else []


def _head(dump: Path) -> str:
    with dump.open(encoding="utf-8", errors="replace") as lines:
        return "".join(islice(lines, _HEADER_LINES))


def _trigger(head: str) -> str:
    found = re.search(r"^desc: Trigger: (.*)$", head, re.MULTILINE)
    return found.group(1) if found else ""


def count_of(head: str) -> int:
    """The instructions that the head of a dump sums up."""
    found = re.search(r"^summary: (\d+)", head, re.MULTILINE)
    if found is None:
        raise CountingFailedError("callgrind left a dump without a sum")
    return int(found.group(1))
