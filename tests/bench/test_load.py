"""The load generator against the benchmark's upstream, and against one that errs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
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


def test_lenient_upstream_knows_a_body_that_was_written_anew() -> None:
    """A peer's encoder may put spaces; the row and the number are found, and what was cut short is refused."""
    head = b"POST /v1/messages?beta=true HTTP/1.1"
    for name in ("turn", "long", "blocking"):
        body = json.dumps(json.loads(ROWS[name].request.render(41))).encode()
        pieces = b"".join(piece for piece, _ in answer(head, body, lenient=True))
        assert b"toolu_0000000042" in pieces
        [(refusal, _)] = answer(head, body[: len(body) // 2], lenient=True)
        assert refusal.startswith(b"HTTP/1.1 400 ")


class Rewriter(Server):
    """Answers what the row says, written anew; and to every second question something else."""

    answered = 0

    def data_received(self, data: bytes) -> None:
        answer = json.loads(ROWS["small"].answer_body(1))
        if self.answered:
            answer["choices"][0]["message"]["content"] = "something else"
        self.answered += 1
        body = json.dumps(answer).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def test_answer_that_was_written_anew_must_say_the_same() -> None:
    """Of a target that isn't held to the bytes."""
    async with serving(Rewriter) as port:
        lenient = msgspec.structs.replace(job("small", port, requests=1, connections=1), exact=False)
        assert len((await send_load(lenient)).start_s) == 1
        with pytest.raises(WrongAnswerError, match="something else"):
            await send_load(msgspec.structs.replace(lenient, requests=2))


def test_upstream_refuses_a_body_that_was_changed() -> None:
    """A body that was re-serialised on the way is answered by an error, so that the run ends."""
    body = ROWS["small"].request.render(1).replace(b'":', b'": ', 1)
    [(refusal, _)] = answer(b"POST /v1/chat/completions HTTP/1.1", body)
    assert refusal.startswith(b"HTTP/1.1 400 ")
