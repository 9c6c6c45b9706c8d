"""Lets go of a connection when its client does.

When a client closes a connection, hypercorn 0.18 stops reading it and then waits for everything that was begun for it;
the keep-alive timer is among that. So a connection that was idle stays half open, and holds a file descriptor, until
the time for keeping it alive is over. Here that timer ends with the client.

hypercorn has no setting and no hook for this: the class that it makes of each connection is replaced by one of ours.
Requests under way are not touched; they learn of their client's leaving as ever.
"""

from __future__ import annotations

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio.tcp_server import TCPServer


class Connection(TCPServer):
    """A connection whose keep-alive timer ends with its client."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


def close_with_clients() -> None:
    """Make hypercorn use `Connection` from now on, in this process."""
    hypercorn_run.TCPServer = Connection  # type: ignore[attr-defined]
