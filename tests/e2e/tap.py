"""A tap in the wire between a client and the gateway: every byte goes on as it came, and both ways are noted.

It is a TCP relay, so it can't change what it shows; `Tap.exchanges` reads the notes as HTTP/1.1 afterwards. Only so
is it known what a client really sent, to be compared with what the provider got.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import h11

READ_BYTES = 64 * 1024

_Head = TypeVar("_Head", h11.Request, h11.Response)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One request of the client and its answer, as they were on the wire; header names are lower-cased."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    status: int
    answer_headers: list[tuple[bytes, bytes]]
    answer: bytes
    ended: bool
    """Whether the end of the answer was on the wire too: a client may leave once it has read enough."""


@dataclass(slots=True)
class _Connection:
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Tap:
    """`url` is where the client is pointed."""

    target_port: int
    url: str = ""
    connections: list[_Connection] = field(default_factory=list)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        notes = _Connection()
        self.connections.append(notes)
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_carry(reader, onward_writer, notes.sent))
            ways.create_task(_carry(onward_reader, writer, notes.received))

    def exchanges(self) -> list[Exchanged]:
        """All requests that were answered, connection by connection."""
        return [exchange for notes in self.connections for exchange in _read(notes)]


@asynccontextmanager
async def tapped(target_port: int) -> AsyncIterator[Tap]:
    tap = Tap(target_port)
    server = await asyncio.start_server(tap.relay, "127.0.0.1", 0)
    tap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield tap


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notes: bytearray) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            notes += data
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side has gone; the other learns it by the close
    finally:
        writer.close()


def _read(notes: _Connection) -> list[Exchanged]:
    """Split what went over one connection into its exchanges."""
    found = []
    sent, received = bytes(notes.sent), bytes(notes.received)
    while sent and received:
        asked = _message(h11.Connection(h11.SERVER), sent, h11.Request)
        reader = h11.Connection(h11.CLIENT)
        reader.send(
            h11.Request(method=asked.head.method, target=asked.head.target, headers=[("host", "tap")])
        )
        reader.send(h11.EndOfMessage())
        answered = _message(reader, received, h11.Response)
        sent, received = asked.rest, answered.rest
        found.append(
            Exchanged(
                method=asked.head.method.decode(),
                target=asked.head.target,
                headers=list(asked.head.headers),
                body=asked.body,
                status=answered.head.status_code,
                answer_headers=list(answered.head.headers),
                answer=answered.body,
                ended=answered.ended,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Message(Generic[_Head]):
    head: _Head
    body: bytes
    ended: bool
    rest: bytes


def _message(connection: h11.Connection, data: bytes, kind: type[_Head]) -> _Message[_Head]:
    """The first message in `data`, as far as it got, and what follows it."""
    connection.receive_data(data)
    head, body, ended = None, bytearray(), False
    while not ended and (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        if isinstance(event, kind):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        ended = isinstance(event, h11.EndOfMessage)
    if head is None:
        raise AssertionError("the wire was cut within the head of a message")
    return _Message(head, bytes(body), ended, connection.trailing_data[0] if ended else b"")
