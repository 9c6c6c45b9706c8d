"""Many streams held open at once, each answer checked to the byte.

    python -m tests.bench.streams '{"row": "idle", "port": 4001, "path": ..., "streams": 2000, ...}'

prints `open` once each has begun to be answered and none has ended, and when all have ended a `Held` as JSON. What is
said of a row whose events tell when they were written is how long each was under way: writer and reader share a clock.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Mapping
from typing import cast

import msgspec

from tests.bench.answers import AnswerReader
from tests.bench.event_loop import run
from tests.bench.load import NUMBERS_PER_CONVERSATION, WrongAnswerError, request_head
from tests.bench.payloads import STAMP
from tests.bench.rows import SLOW_ROWS

OPENERS = 16
"""How many requests are on their way while the streams are opened."""
_STAMPED = re.compile(rb"at (\d{16}) ")
_STAMPED_BYTES = len(STAMP) + 4


class StreamsJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to hold open, and where."""

    row: str
    port: int
    path: str
    headers: Mapping[str, str]
    streams: int
    first_number: int
    timeout_s: float = 300.0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """When the first stream ended; and of each event that told when it was written, when it came and after how long."""

    first_end_s: float
    came_s: list[float]
    delay_s: list[float]


class _Stream(asyncio.Protocol):
    """One connection with one answer."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.end_s = 0.0
        self.came_s: list[float] = []
        self.delay_s: list[float] = []
        self._reader = AnswerReader()
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def ask(self, request: bytes) -> None:
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        complete = self._reader.feed(data)
        self._read_stamps(data, now)
        if self._reader.has_body and not self.begun.done():
            self.begun.set_result(None)
        if complete:
            self.end_s = now
            self.ended.set_result(None)
            self._transport.close()

    def _read_stamps(self, data: bytes, now: float) -> None:
        text, end = self._unread + data, 0
        for stamp in _STAMPED.finditer(text):
            self.came_s.append(now)
            self.delay_s.append(now - int(stamp[1]) / 1e6)
            end = stamp.end()
        self._unread = text[end:][-_STAMPED_BYTES:]  # one that has come in part

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_exception(WrongAnswerError("the connection was closed before the stream ended"))

    def answer(self) -> bytes:
        """The body of the answer, without what its events told. Raises `WrongAnswerError`."""
        if self._reader.status != 200:
            raise WrongAnswerError(f"status {self._reader.status}: {self._reader.body()[:300]!r}")
        return _STAMPED.sub(b"at " + STAMP + b" ", self._reader.body())


async def hold(job: StreamsJob) -> Held:
    """Open all, say so, wait for their ends. In an exception group: `WrongAnswerError`, `OSError`, `TimeoutError`."""
    row = SLOW_ROWS[job.row]
    numbers = [job.first_number + index * NUMBERS_PER_CONVERSATION for index in range(job.streams)]
    head = request_head(row, job.port, job.path, job.headers)
    streams: dict[int, _Stream] = {}
    waiting = iter(numbers)

    async def open_some() -> None:
        loop = asyncio.get_running_loop()
        for number in waiting:
            _, streams[number] = await loop.create_connection(_Stream, "127.0.0.1", job.port)
            streams[number].ask(head + row.request.render(number))
            await streams[number].begun

    async with asyncio.timeout(job.timeout_s):
        async with asyncio.TaskGroup() as group:
            for _ in range(OPENERS):
                group.create_task(open_some())
        if any(stream.ended.done() for stream in streams.values()):
            raise WrongAnswerError("a stream had ended before all were open")
        print("open", flush=True)
        await asyncio.gather(*(stream.ended for stream in streams.values()))
    for number, stream in streams.items():
        if stream.answer() != row.answer_body(number + 1):
            raise WrongAnswerError(f"{row.name}: the answer's bytes aren't the upstream's")
    return Held(
        first_end_s=min(stream.end_s for stream in streams.values()),
        came_s=[came for stream in streams.values() for came in stream.came_s],
        delay_s=[delay for stream in streams.values() for delay in stream.delay_s],
    )


def main() -> None:
    """Run the job on the command line; say its result, or why there is none."""
    job = msgspec.json.decode(sys.argv[1], type=StreamsJob)
    try:
        held = run(hold(job))
    except* (WrongAnswerError, OSError, TimeoutError) as failures:
        sys.exit(f"streams: {failures.exceptions[0]!r}")
    print(msgspec.json.encode(held).decode(), flush=True)


if __name__ == "__main__":
    main()
