"""A line to PostgreSQL that a test can cut, hold and mend: what a client sees of a server that is down or hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


class Line:
    """Relays connections on a loopback port to the server of `url`; `self.url` is the way through it."""

    def __init__(self, url: str) -> None:
        self._server = conninfo_to_dict(url)
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        user, password = self._server.get("user") or "postgres", str(self._server.get("password") or "")
        login = f"{quote(str(user))}:{quote(password, safe='')}" if password else quote(str(user))
        return f"postgresql://{login}@127.0.0.1:{self._port}/{self._server['dbname']}"

    async def mend(self) -> None:
        """Take connections, on the same port as ever, and let everything flow."""
        self._flowing.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._listener.sockets[0].getsockname()[1]

    def hold(self) -> None:
        """Connections are taken and stay open; nothing passes."""
        self._flowing.clear()

    async def cut(self) -> None:
        """Connections break, and new ones are refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        try:
            server_reader, server_writer = await self._connect()
            self._writers |= {writer, server_writer}
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, server_writer))
                group.create_task(self._relay(server_reader, writer))
        except asyncio.CancelledError:
            pass  # cut; the streams' own callback would report it as an error
        except OSError:
            writer.close()  # the server itself is away
        finally:
            self._tasks.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._server.get("host") or "127.0.0.1"), int(self._server.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    line = Line(url)
    await line.mend()
    try:
        yield line
    finally:
        await line.cut()
