"""A tap in the wire between a client and the gateway: every byte goes on as it came, and both ways are noted.

It is a TCP relay, so it can't change what it shows; `Tap.exchanges` reads the notes as HTTP/1.1 afterwards. Only so
is it known what a client really sent, to be compared with what the provider got.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

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
        request, body, sent = _one(h11.Connection(h11.SERVER), sent, h11.Request)
        asked = h11.Connection(h11.CLIENT)
        asked.send(h11.Request(method=request.method, target=request.target, headers=[("host", "tap")]))
        asked.send(h11.EndOfMessage())
        response, answer, received = _one(asked, received, h11.Response)
        found.append(
            Exchanged(
                method=request.method.decode(),
                target=request.target,
                headers=list(request.headers),
                body=body,
                status=response.status_code,
                answer_headers=list(response.headers),
                answer=answer,
            )
        )
    return found


def _one(connection: h11.Connection, data: bytes, kind: type[_Head]) -> tuple[_Head, bytes, bytes]:
    """The first message in `data`: its head, its body, and what follows it."""
    connection.receive_data(data)
    head, body = None, bytearray()
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, kind):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            raise AssertionError(f"the wire was cut in the middle of a message: {event!r}")
    if head is None:
        raise AssertionError("a message without a head")
    return head, bytes(body), connection.trailing_data[0]
