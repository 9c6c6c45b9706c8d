"""The metrics of one gateway, put together: what counts, what reads, and the registry that knows all of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.metrics.instruments import Instruments
from gateway.metrics.labels import Models, Users
from gateway.metrics.readings import Readings, Sources
from gateway.metrics.records import RecordMeter
from gateway.metrics.requests import RequestMeter
from recorders.tasks import end

if TYPE_CHECKING:
    from gateway.reload import Reloads

log = logging.getLogger("ai_gateway.metrics")

TAKE_EVERY_S: Final = 1.0
"""What a worker has counted and not written yet is lost when it is killed."""


class Metrics:
    """`requests` is the meter of the layer, `records` an observer of the sink.

    `registry` is what to ask: of this process, or of all that share a folder (`gateway.metrics.workers`). With
    `initiator`, users are told apart. `pause` waits so many seconds.
    """

    def __init__(
        self, *, initiator: bool = False, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        instruments, models = Instruments(initiator=initiator), Models()
        users = Users() if initiator else None
        self.requests = RequestMeter(instruments, models, users)
        self.records = RecordMeter(instruments, models, users)
        self.shared = bool(getattr(values.ValueClass, "_multiprocess", False))
        self.registry = instruments.registry
        if self.shared:
            self.registry = CollectorRegistry()
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        self._instruments = instruments
        self._pause = pause
        self._readings: Readings | None = None

    def read_from(self, sources: Sources) -> None:
        """Where `take` reads. Until then it reads nothing."""
        self._readings = Readings(self._instruments, self.requests, sources)

    def read_reloads(self, reloads: Reloads) -> None:
        """What became of reloads, where somebody reloads."""
        if self._readings is not None:
            self._readings.sources.reloads = reloads

    def take(self) -> None:
        """Bring everything up to date, for who asks now. For the event loop's thread."""
        self.requests.hand_on()
        self.records.hand_on()
        if self._readings is not None:
            self._readings.take()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Where another process answers for this one, read now, again and again, and once more at the end."""
        if not self.shared:
            yield
            return
        self.take()
        task = asyncio.create_task(self._take_again_and_again(), name="metrics")
        try:
            yield
        finally:
            await end(task)
            self.take()

    async def _take_again_and_again(self) -> None:
        while True:
            await self._pause(TAKE_EVERY_S)
            try:
                self.take()
            except Exception:
                log.exception("metrics could not be read")
