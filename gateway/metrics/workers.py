"""Several workers, one answer: each writes its values into a folder, and the supervisor tells all of them together.

It is prometheus-client's own way: files that are mapped into memory, named by kind and process, found by a variable
of the environment. Of a worker that has ended the gauges go, and what it counted is added to what all others counted
that have ended: a worker that can't start is tried again every second, and files for each would fill the folder.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.metrics.exposition import served

log = logging.getLogger("ai_gateway.metrics")

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus-client when it is imported: so it belongs to the workers' environment, and to no other."""

ADDED_UP: Final = ("counter", "histogram")
ENDED: Final = "ended"
"""Stands where the name of a file has the number of its process."""


class SharedFolder:
    """The folder at `path`, in the process that has started those who write there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._changing = threading.Lock()

    @property
    def variables(self) -> Mapping[str, str]:
        """What is to be in the environment of a worker."""
        return {VARIABLE: self.path}

    def collect(self) -> Iterator[Metric]:
        """What all workers have written, never while a dead one's counts are in two places."""
        with self._changing:
            files = [str(path) for path in Path(self.path).glob("*.db") if _is_begun(path)]
            yield from list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]

    def forget(self, pid: int) -> None:
        """That worker has ended: its gauges say nothing any more, and what it counted stays."""
        try:
            with self._changing:
                mark_process_dead(pid, self.path)  # type: ignore[no-untyped-call]
                for kind in ADDED_UP:
                    _move_counts(Path(self.path, f"{kind}_{pid}.db"), Path(self.path, f"{kind}_{ENDED}.db"))
        except OSError as error:
            log.warning("what a worker had counted can't be put aside: %s", error)


def _is_begun(path: Path) -> bool:
    """Whether there is anything in the file: a worker makes it first and gives it a size then, if it still lives.

    prometheus-client 0.26 can't read a file of no size (its issue 1199).
    """
    return path.exists() and path.stat().st_size > 0


def _move_counts(dead: Path, ended: Path) -> None:
    if not _is_begun(dead):
        dead.unlink(missing_ok=True)
        return
    total = MmapedDict(str(ended))  # type: ignore[no-untyped-call]
    try:
        values = MmapedDict.read_all_values_from_file(str(dead))  # type: ignore[no-untyped-call]
        for key, value, _, _ in values:
            before, _ = total.read_value(key)  # type: ignore[no-untyped-call]
            total.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        total.close()  # type: ignore[no-untyped-call]
    dead.unlink()


@contextlib.contextmanager
def shared_metrics(address: str) -> Iterator[SharedFolder]:
    """A new folder for workers to share; `address` answers for all of them, if it isn't empty.

    Raises `MetricsAddressError`.
    """
    with contextlib.ExitStack() as stack:
        shared = SharedFolder(stack.enter_context(tempfile.TemporaryDirectory(prefix="ai-gateway-metrics-")))
        if address:
            stack.enter_context(served(address, shared, _nothing))
        yield shared


def _nothing() -> None:
    """The workers read for themselves."""
