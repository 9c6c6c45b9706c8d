"""The load generator against the benchmark's upstream, and against one that errs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.bench.load import Job, WrongAnswerError, send_load
from tests.bench.rows import ROWS
from tests.bench.upstream import UpstreamProtocol, answer
from tests.waiting import Changes


class Server(UpstreamProtocol):
    """A connection of the benchmark's upstream that tells when it begins and ends."""

    def __init__(self, connections: set[Server], changes: Changes) -> None:
        super().__init__()
        self._connections = connections
        self._changes = changes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._changes.notify()


class Liar(Server):
    """Answers as the row says, but for one letter."""

    def data_received(self, data: bytes) -> None:
        body = ROWS["small"].answer_body(1).replace(b"assistant", b"assassins")
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


class Quitter(Server):
    """Hangs up in the middle of the answer."""

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{")
        self._transport.close()


@asynccontextmanager
async def serving(protocol: type[Server] = Server) -> AsyncIterator[int]:
    """A server on loopback; gives its port, and ends when all connections have."""
    connections: set[Server] = set()
    changes = Changes()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(connections, changes), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await changes.until(lambda: not connections, "the connections to end")


def job(row: str, port: int, **options: float) -> Job:
    values = {"requests": 6, "connections": 2, **options}
    return Job(
        row=row,
        port=port,
        path=ROWS[row].path,
        headers={},
        first_number=0,
        cores=[],
        requests=int(values["requests"]),
        connections=int(values["connections"]),
        rate_per_s=values.get("rate_per_s", 0.0),
    )


@pytest.mark.parametrize("row", ROWS)
async def test_every_row_is_answered_rightly_by_the_upstream(row: str) -> None:
    """Each request gives a time to its first and to its last byte."""
    async with serving() as port:
        result = await send_load(job(row, port))
    assert len(result.first_byte_s) == len(result.last_byte_s) == 6
    assert all(0 < first <= last for first, last in zip(result.first_byte_s, result.last_byte_s, strict=True))


async def test_requests_with_a_rate_start_on_their_schedule() -> None:
    """The run takes at least as long as the schedule."""
    async with serving() as port:
        result = await send_load(job("small", port, rate_per_s=200.0, requests=5))
    assert result.seconds >= 4 / 200


@pytest.mark.parametrize("upstream", [Liar, Quitter])
async def test_there_is_no_figure_for_a_wrong_answer(upstream: type[Server]) -> None:
    """One letter too many or a cut ends the run."""
    async with serving(upstream) as port:
        with pytest.raises(ExceptionGroup) as raised:
            await send_load(job("small", port, requests=1, connections=1))
    assert raised.group_contains(WrongAnswerError)


def test_upstream_refuses_a_body_that_was_changed() -> None:
    """A body that was re-serialised on the way is answered by an error, so that the run ends."""
    body = ROWS["small"].request.render(1).replace(b'":', b'": ', 1)
    [(refusal, _)] = answer(b"POST /v1/chat/completions HTTP/1.1", body)
    assert refusal.startswith(b"HTTP/1.1 400 ")
