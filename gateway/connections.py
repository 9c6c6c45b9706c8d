"""Connections of hypercorn that let go when their client does, and whose idle time costs nothing.

When a client closes a connection, hypercorn 0.18 stops reading it and then waits for everything that was begun for it.
Two things of that would not end by themselves:

- The keep-alive timer. A connection that was idle would stay half open, and hold a file descriptor, until the time for
  keeping it alive is over.
- Over HTTP/2, an answer that is still being sent: nobody takes its bytes any more, and the `send` of its last ones
  would wait for ever, with all that the request holds.

It holds what it read last until something else comes: during a long answer, that is the end of a large request. And it
makes a task with a timer of its own at the end of each request and cancels it at the beginning of the next, at a
twentieth of the cost of a small one. Here one task lives as long as the connection and looks when it was last idle.

hypercorn has no setting and no hook for this: the class that it makes of each connection is replaced by one of ours.
Requests under way learn of their client's leaving as ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol


class Connection(TCPServer):
    """A connection of which nothing goes on for a client that is gone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._client_left = False
        self._idle_since: float | None = self.loop.time()

    async def _read_data(self) -> None:
        while not self.reader.at_eof() and (event := await self._received()) is not None:
            await self.protocol.handle(event)
            del event
        await self.protocol.handle(Closed())
        self._client_left = True
        await self.idle_task.stop()
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol):
            for unsent in list(protocol.stream_buffers.values()):
                await unsent.close()

    async def _received(self) -> RawData | None:
        """What comes next, empty at the end; None when the connection broke."""
        try:
            return RawData(await asyncio.wait_for(self.reader.read(MAX_RECV), self.config.read_timeout))
        except (OSError, TimeoutError):  # of TLS too
            return None

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, Updated):
            await super().protocol_send(event)
            return
        self._idle_since = self.loop.time() if event.idle else None
        if event.idle and self.context.terminated.is_set():  # the server ends, and this was the last request
            await self.idle_task.restart(self._task_group, self._idle_timeout)

    async def _idle_timeout(self) -> None:
        """Close when the connection has been idle for long enough, or is so when the server ends."""
        while (left_s := self._idle_time_left()) > 0 and not self.context.terminated.is_set():
            try:
                async with asyncio.timeout(left_s):
                    await self.context.terminated.wait()
            except TimeoutError:
                pass
        if self._idle_since is not None and not self._client_left:
            await asyncio.shield(self._initiate_server_close())

    def _idle_time_left(self) -> float:
        """At most; a request that begins meanwhile makes it longer."""
        keep_alive_s: float = self.config.keep_alive_timeout
        return (
            keep_alive_s if self._idle_since is None else self._idle_since + keep_alive_s - self.loop.time()
        )


def close_with_clients() -> None:
    """Make hypercorn use `Connection` from now on, in this process."""
    hypercorn_run.TCPServer = Connection  # type: ignore[attr-defined,assignment]
