"""The provider of the benchmark: a bare HTTP/1.1 server on loopback, cheap enough not to be what is measured.

    python -m tests.bench.upstream        prints its port, serves until its standard input is closed

It compares each request body with the row's, byte for byte, and answers 400 when anything in it changed on the way. A
stream leaves one event at a time, each in a turn of the event loop of its own and in a chunk of its own, as fast as
the socket takes them, or with the pauses that the row asks for; `--hurry` makes these so many times shorter. It knows
only what this benchmark sends: a length, no chunked request, no pipelining.

With `--lenient` it serves peers, which write the body anew: a request is known by its model then, and must have the
size of the row's at least, so that nothing of it was left out.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import cast

from tests.bench.event_loop import run
from tests.bench.payloads import STAMP
from tests.bench.rows import ALL_ROWS, Row

_MODEL = re.compile(rb'"model":\s*"([^"]*)"')
_NUMBER = re.compile(rb"(?:toolu_|Request )(\d{10})\b")
NEARLY = 0.95
"""Of a body: what else a peer's encoder may save."""
HEAD_END = b"\r\n\r\n"
Piece = tuple[bytes, float]
"""What to write at once, and the seconds to wait before the next."""
_OK = b"HTTP/1.1 200 OK\r\nrequest-id: req_bench\r\n"


@cache
def _rows_by_target() -> dict[bytes, list[Row]]:
    rows: dict[bytes, list[Row]] = {}
    for row in ALL_ROWS.values():
        rows.setdefault(f"{row.method} {row.path}".encode(), []).append(row)
    return rows


def content_length(head: bytes) -> int:
    """The length that a request head declares, 0 when it declares none."""
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    end = lowered.find(b"\r\n", start + 2)
    return int(lowered[start + 17 : end if end >= 0 else None])


def answer(head: bytes, body: bytes, *, lenient: bool = False) -> Iterator[Piece]:
    """The pieces of the answer to a request, each to be written by itself."""
    target = head[: head.find(b" HTTP/")].partition(b"?")[0]
    for row in _rows_by_target().get(target, []):
        number = _number_in_rewritten(row, body) if lenient else row.request.number_of(body)
        if number is not None:
            return _stream(row, number + 1) if row.streamed else _document(row, number + 1)
    return iter([(_refusal(target), 0.0)])


def _number_in_rewritten(row: Row, body: bytes) -> int | None:
    """The number of a request of this row that somebody else encoded; None when it is another row's, or cut short."""
    model, number = _MODEL.search(body), _NUMBER.search(body)
    if model is None or number is None or len(body) < NEARLY * len(row.request):
        return None
    return int(number[1]) if model[1] == _model_in(row.request.text) else None


@cache
def _model_in(request: bytes) -> bytes | None:
    model = _MODEL.search(request)
    return model and model[1]


def _document(row: Row, number: int) -> Iterator[Piece]:
    head = _OK + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % row.answer_bytes
    yield head + row.answer_body(number), 0.0


def _stream(row: Row, number: int) -> Iterator[Piece]:
    yield _OK + b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n", 0.0
    for event in row.answer:
        text = event.render(number)
        if row.stamped:
            text = text.replace(STAMP, b"%016d" % (time.perf_counter_ns() // 1000))
        yield b"%x\r\n%b\r\n" % (len(event), text), row.gap_s
    yield b"0\r\n\r\n", 0.0


def _refusal(target: bytes) -> bytes:
    text = b'{"error": {"message": "not a request of this benchmark, or its body was changed: %b"}}' % target
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(text) + text


class UpstreamProtocol(asyncio.Protocol):
    """One connection: reads a request whole, then writes the answer piece by piece."""

    def __init__(self, hurry: float = 1.0, *, lenient: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._hurry = hurry
        self._lenient = lenient
        self._buffer = bytearray()
        self._pieces: Iterator[Piece] = iter(())
        self._due = 0.0
        self._writable = True
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return
        head = bytes(self._buffer[:end])
        start = end + len(HEAD_END)
        if len(self._buffer) - start >= content_length(head):
            self._pieces = answer(head, bytes(self._buffer[start:]), lenient=self._lenient)
            self._buffer.clear()
            self._due = self._loop.time()
            self._write_next()

    def _write_next(self) -> None:
        if not self._writable:
            self._waiting = True
            return
        piece, pause_s = next(self._pieces, (None, 0.0))
        if piece is None or self._transport.is_closing():
            return
        self._transport.write(piece)
        if pause_s:
            self._due += pause_s / self._hurry
            self._loop.call_at(self._due, self._write_next)
        else:
            self._loop.call_soon(self._write_next)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._waiting:
            self._waiting = False
            self._write_next()


async def serve_until_stdin_closes(hurry: float, *, lenient: bool) -> None:
    """Listen on a free port of loopback, print it, and end with the process that started this one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: UpstreamProtocol(hurry, lenient=lenient), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upstream", description=__doc__)
    parser.add_argument("--hurry", type=float, default=1.0)
    parser.add_argument("--lenient", action="store_true")
    options = parser.parse_args()
    run(serve_until_stdin_closes(options.hurry, lenient=options.lenient))


if __name__ == "__main__":
    main()
