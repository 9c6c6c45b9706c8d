"""Streams that are held open, against the benchmark's upstream in a hurry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.bench.load import WrongAnswerError
from tests.bench.rows import SLOW_ROWS
from tests.bench.streams import Held, StreamsJob, hold
from tests.bench.upstream import UpstreamProtocol
from tests.waiting import Changes

HURRY = 1_000.0


class Server(UpstreamProtocol):
    """A connection of the benchmark's upstream that tells when it ends."""

    def __init__(self, ended: Callable[[], None], hurry: float) -> None:
        super().__init__(hurry)
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()


class Quitter(Server):
    """Hangs up after the first event."""

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        self._transport.close()


@asynccontextmanager
async def serving(protocol: type[Server] = Server, *, hurry: float = HURRY) -> AsyncIterator[int]:
    """A server on loopback; gives its port, and ends when all connections have."""
    lost: list[int] = []
    made: list[Server] = []
    changes = Changes()

    def ended() -> None:
        lost.append(1)
        changes.notify()

    def make() -> Server:
        made.append(protocol(ended, hurry))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await changes.until(lambda: len(lost) == len(made), "the connections to end")


def job(row: str, port: int) -> StreamsJob:
    return StreamsJob(row=row, port=port, path=SLOW_ROWS[row].path, headers={}, streams=3, first_number=0)


async def held(row: str, *, hurry: float) -> Held:
    async with serving(hurry=hurry) as port:
        return await hold(job(row, port))


async def test_all_are_open_before_the_first_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, once; rows that tell no times have none."""
    found = await held("idle", hurry=50.0)
    assert capsys.readouterr().out == "open\n"
    assert found.first_end_s > 0
    assert not found.delay_s


async def test_each_event_that_tells_its_time_gives_a_delay() -> None:
    """None is missed, and none came before it was written."""
    found = await held("steady", hurry=50.0)
    told = sum(b"at @@@" in event.text for event in SLOW_ROWS["steady"].answer)
    assert told > 400
    assert len(found.delay_s) == len(found.came_s) == 3 * told
    assert min(found.delay_s) >= -1e-6


async def test_there_is_no_figure_for_a_stream_that_is_cut() -> None:
    """A lost connection ends the run."""
    async with serving(Quitter) as port:
        with pytest.raises((ExceptionGroup, WrongAnswerError)):
            await hold(job("idle", port))
