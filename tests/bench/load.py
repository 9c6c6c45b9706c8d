"""The load generator: so many requests over so many connections, every answer checked to the byte.

    python -m tests.bench.load '{"row": "turn", "port": 4001, "path": ..., "requests": 500, ...}'

prints a `Result` as JSON. Without a rate each connection asks again as soon as it has its answer; with a rate the
requests start on a schedule, and one that finds no free connection waits with its clock running. The first answer
that isn't right ends the run with an error: there is no figure for wrong answers. Of a target that writes answers anew
(`exact` is false) what they mean is compared, once all are there, for that takes long.

Each connection is a conversation: its numbers follow each other, and a turn returns the tool result that the answer
before it asked for.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from tests.bench.answers import AnswerReader
from tests.bench.content import UnreadableError, content
from tests.bench.event_loop import run
from tests.bench.rows import ROWS, Row

NUMBERS_PER_CONVERSATION = 100_000


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and where to."""

    row: str
    port: int
    path: str
    headers: Mapping[str, str]
    requests: int
    connections: int
    first_number: int
    """The number of the first conversation's first request; each has `NUMBERS_PER_CONVERSATION` of its own."""
    cores: list[int]
    exact: bool = True
    rate_per_s: float = 0.0
    timeout_s: float = 120.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Times are seconds from the request's start to its answer's first and last body byte."""

    seconds: float
    start_s: list[float]
    """When each request started, by the clock that all processes of a machine share."""
    first_byte_s: list[float]
    last_byte_s: list[float]


class WrongAnswerError(Exception):
    """An answer wasn't what the upstream sent."""


def request_head(row: Row, port: int, path: str, headers: Mapping[str, str]) -> bytes:
    """What stands before the body of a request of this row."""
    lines = [f"{row.method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if row.method == "POST":
        lines += ["content-type: application/json", f"content-length: {len(row.request)}"]
    return "\r\n".join([*lines, "", ""]).encode()


class _Connection(asyncio.Protocol):
    """One kept-alive connection that asks one question at a time."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._first_byte = 0.0
        self._answered: asyncio.Future[float] | None = None
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    async def ask(self, request: bytes) -> tuple[bytes, float, float]:
        """Send a request; the answer's body, and when its first and last byte came."""
        self._reader = AnswerReader()
        self._first_byte = 0.0
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        last_byte = await self._answered
        if self._reader.status != 200:
            raise WrongAnswerError(f"status {self._reader.status}: {self._reader.body()[:300]!r}")
        return self._reader.body(), self._first_byte, last_byte

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        complete = self._reader.feed(data)
        if not self._first_byte and self._reader.has_body:
            self._first_byte = now
        if complete and self._answered is not None and not self._answered.done():
            self._answered.set_result(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(
                WrongAnswerError("the connection was closed before the answer ended")
            )

    async def close(self) -> None:
        self._transport.close()
        await self._lost.wait()


class _Load:
    """A job while it runs."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._row = ROWS[job.row]
        self._start_s: list[float] = []
        self._first_byte_s: list[float] = []
        self._last_byte_s: list[float] = []
        self._other_bytes: list[tuple[int, bytes]] = []
        """Answers to be compared later, and their numbers."""
        self._head = request_head(self._row, job.port, job.path, job.headers)

    async def run(self) -> Result:
        loop = asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(_Connection, "127.0.0.1", self._job.port))[1]
            for _ in range(self._job.connections)
        ]
        try:
            seconds = await self._converse_on_all(connections)
        finally:
            for connection in connections:
                await connection.close()
        self._check_other_bytes()
        return Result(
            seconds=seconds,
            start_s=self._start_s,
            first_byte_s=self._first_byte_s,
            last_byte_s=self._last_byte_s,
        )

    async def _converse_on_all(self, connections: list[_Connection]) -> float:
        """All requests on all connections; how long that took."""
        start = time.perf_counter()
        schedule = self._schedule(start)
        async with asyncio.timeout(self._job.timeout_s), asyncio.TaskGroup() as group:
            for index, connection in enumerate(connections):
                number = self._job.first_number + index * NUMBERS_PER_CONVERSATION
                group.create_task(self._converse(connection, number, schedule))
        return time.perf_counter() - start

    def _schedule(self, start: float) -> Iterator[float]:
        """When each request is due, shared by all connections; 0 means at once."""
        rate = self._job.rate_per_s
        for index in range(self._job.requests):
            yield start + index / rate if rate else 0.0

    async def _converse(self, connection: _Connection, number: int, schedule: Iterator[float]) -> None:
        for due in schedule:
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            start = due or time.perf_counter()
            body, first, last = await connection.ask(self._head + self._row.request.render(number))
            number = self._checked(number, body)
            self._start_s.append(start)
            self._first_byte_s.append(first - start)
            self._last_byte_s.append(last - start)

    def _checked(self, number: int, body: bytes) -> int:
        """The number that the answer to `number` brings, once the answer is proved right."""
        answered = number + 1 if len(self._row.request) else 1
        if body != self._row.answer_body(answered):
            if self._job.exact:
                raise WrongAnswerError(
                    f"{self._row.name}: the answer's bytes aren't the upstream's: {body[:300]!r}"
                )
            self._other_bytes.append((answered, body))
        return answered

    def _check_other_bytes(self) -> None:
        for number, body in self._other_bytes:
            if content(body) != content(self._row.answer_body(number)):
                raise WrongAnswerError(f"{self._row.name}: the answer says something else: {body[:300]!r}")


async def send_load(job: Job) -> Result:
    """Do the job in this event loop. Raises, in an exception group, `WrongAnswerError`, `OSError` or `TimeoutError`."""
    return await _Load(job).run()


def main() -> None:
    """Run the job on the command line; say its result, or why there is none."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    os.sched_setaffinity(0, job.cores)
    try:
        result = run(send_load(job))
    except* (WrongAnswerError, UnreadableError, OSError, TimeoutError) as failures:
        sys.exit(f"load: {failures.exceptions[0]!r}")
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
