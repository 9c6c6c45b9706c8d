"""Several workers, one answer: each writes its values into a folder, and the supervisor tells all of them together.

It is prometheus-client's own way: files that are mapped into memory, named by kind and process, found by a variable
of the environment. Values of a dead worker's counters and histograms stay and go on counting; its gauges go.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.metrics.exposition import served

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus-client when it is imported: so it belongs to the workers' environment, and to no other."""


@dataclass(frozen=True, slots=True)
class SharedFolder:
    path: str

    @property
    def variables(self) -> Mapping[str, str]:
        """What is to be in the environment of a worker."""
        return {VARIABLE: self.path}

    def forget(self, pid: int) -> None:
        """That worker has ended: its gauges say nothing any more."""
        mark_process_dead(pid, self.path)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def shared_metrics(address: str) -> Iterator[SharedFolder]:
    """A new folder for workers to share; `address` answers for all of them, if it isn't empty.

    Raises `MetricsAddressError`.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ai-gateway-metrics-"))
        if address:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
            stack.enter_context(served(address, registry, _nothing))
        yield SharedFolder(folder)


def _nothing() -> None:
    """The workers read for themselves."""
