"""The requests that `tests.bench.instructions` counts: a program to be run under callgrind.

    python -m tests.bench.counted FOLDER ROW[,ROW...]

Each row begins with requests that warm up; then come `BATCHES` of them. Between two batches stands a call of the C
function `MARKER`, which nothing else here calls, and at which callgrind writes down what it has counted so far. So the
start of the interpreter and of the gateway count for nothing.

What would make two counts differ is out of the way: no uvloop, no thread that syncs the journal by the clock, no
garbage collector, whose runs fall now into one batch and now into another.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from types import MappingProxyType

from tests.bench.in_process import in_process
from tests.bench.rows import ROWS

MARKER = "getloadavg"
WARM_UP = 10
BATCHES = 5
REQUESTS = MappingProxyType({"small": 10, "turn": 5, "blocking": 5, "models": 10})
"""The rows that are counted, and how many requests a batch of them has."""


async def serve(name: str, folder: Path) -> None:
    """The batches of one row."""
    async with in_process(ROWS[name], folder, journal_fsync="never") as gateway:
        await gateway.requests(WARM_UP)
        gc.collect()
        gc.disable()
        os.getloadavg()
        for _ in range(BATCHES):
            await gateway.requests(REQUESTS[name])
            os.getloadavg()
        gc.enable()


def main(folder: Path, rows: str) -> None:
    for name in rows.split(","):
        own_folder = folder / name
        own_folder.mkdir()
        asyncio.run(serve(name, own_folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
