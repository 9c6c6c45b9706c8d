"""Lets go of a connection when its client does.

When a client closes a connection, hypercorn 0.18 stops reading it and then waits for everything that was begun for it.
Two things of that would not end by themselves:

- The keep-alive timer. A connection that was idle would stay half open, and hold a file descriptor, until the time for
  keeping it alive is over.
- Over HTTP/2, an answer that is still being sent: nobody takes its bytes any more, and the `send` of its last ones
  would wait for ever, with all that the request holds.

hypercorn has no setting and no hook for this: the class that it makes of each connection is replaced by one of ours.
Requests under way learn of their client's leaving as ever.
"""

from __future__ import annotations

from typing import Any

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol


class Connection(TCPServer):
    """A connection of which nothing goes on for a client that is gone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._client_left = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._client_left = True
        await self.idle_task.stop()
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol):
            for unsent in list(protocol.stream_buffers.values()):
                await unsent.close()

    async def _idle_timeout(self) -> None:
        if not self._client_left:  # the end of an HTTP/2 request starts the timer again
            await super()._idle_timeout()


def close_with_clients() -> None:
    """Make hypercorn use `Connection` from now on, in this process."""
    hypercorn_run.TCPServer = Connection  # type: ignore[attr-defined,assignment]
