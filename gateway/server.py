"""Runs the gateway under hypercorn, with uvloop where it is installed.

One signal (SIGTERM or SIGINT) ends it in order: it isn't ready any more, and after `shutdown_delay_s` there are no new
connections, running answers have `shutdown_grace_s` to end, then what is recorded is stored. A second signal ends it
at once (`gateway.ending`). SIGHUP reads the settings again (`gateway.reload`).

The listening socket is made here, so that an address that is taken is one clear sentence, and so that several workers
share one: each is a process of its own that inherits the socket by its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from gateway.chunks.hypercorn import taking_chunks, write_chunks_together
from gateway.connections import close_with_clients
from gateway.ending import Ending
from gateway.reload import Reloader, hold_hangups, listen_for_hangups, took_hangup
from gateway.settings import Settings
from gateway.tuning import tune

try:
    import uvloop
except ImportError:  # it is not built for every platform
    uvloop = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.app import Gateway

log = logging.getLogger("ai_gateway.server")

BACKLOG: Final = 1024
KEEP_ALIVE_S: Final = 75.0
MAX_HEADER_BYTES: Final = 128 * 1024
RESTART_DELAY_S: Final = 1.0
TICK_S: Final = 0.1


class ListenError(Exception):
    """The address can't be listened on; the message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `ListenError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(
            f"can't listen on {host}:{port}: {reason}. Choose another with --host and --port."
        ) from error
    return listener


def listener_of(descriptor: int | None, settings: Settings) -> socket.socket:
    """The socket that a supervisor handed down, else a new one."""
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    return listen(settings.host, settings.port)


def run(coroutine: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end on a new event loop, uvloop's where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(coroutine())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return None if uvloop is None else uvloop.new_event_loop


async def try_out(app: Gateway) -> None:
    """Open the database, bring it up to date, fetch AWS keys where they are needed, and close all of it again.

    Raises `StoreError`, `SettingsError`.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(app.store.close)
        await app.store.open()
        await app.open_signers(stack)


async def serve(
    app: Gateway,
    settings: Settings,
    listener: socket.socket,
    *,
    supervised: bool = False,
    reloader: Reloader | None = None,
) -> None:
    """Serve until a signal comes. Signals are this process's: call it from the main thread.

    A `supervised` process ends as well when its standard input does, because then its supervisor is gone. Without a
    `reloader` SIGHUP is left alone.

    The lifespan is entered here and not by hypercorn, so that what goes wrong in it comes out as it was raised.
    """
    ending = Ending(app)
    ending.by_signals()
    if supervised:
        ending.with_supervisor()
    options = settings.gateway
    async with _metrics_served(app, reloader, supervised=supervised), app.lifespan(), _reloading(reloader):
        host, port = listener.getsockname()[:2]
        tune()
        log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        ending.delay_s = options.shutdown_delay_s
        await serve_until(without_lifespan(app), listener, ending.now, grace_s=options.shutdown_grace_s)
    log.info("stopped")


async def serve_until(app: ASGIApp, listener: socket.socket, stop: asyncio.Event, *, grace_s: float) -> None:
    """Serve until `stop` is set, then let running answers end.

    It takes the socket over: left open in other hands, it would go on taking connections that nobody serves.
    """
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = grace_s
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.h11_max_incomplete_size = MAX_HEADER_BYTES
    config.include_server_header = False
    config.include_date_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("ai_gateway.hypercorn")
    config.errorlog.setLevel(logging.WARNING)  # what it says at INFO is said here already
    # Its debug lines hold every header of an HTTP/2 request.
    logging.getLogger("hpack").setLevel(logging.INFO)
    close_with_clients()
    write_chunks_together()
    await hypercorn_serve(taking_chunks(app), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


def _reloading(reloader: Reloader | None) -> contextlib.AbstractAsyncContextManager[None]:
    if reloader is None:
        return contextlib.nullcontext()
    listen_for_hangups(reloader)
    return reloader.running()


@contextlib.asynccontextmanager
async def _metrics_served(
    app: Gateway, reloader: Reloader | None, *, supervised: bool
) -> AsyncIterator[None]:
    """Answer for metrics at an address of its own, where one is set; for a supervised process its supervisor does.

    Around the lifespan, so that it answers also while the start or the end takes its time.
    """
    address = app.settings.metrics_address
    if app.metrics is not None and reloader is not None:
        app.metrics.read_reloads(reloader.reloads)
    if app.metrics is None or not address or supervised:
        yield
        return
    from gateway.metrics.exposition import read_on, served  # noqa: PLC0415 - for those who count

    with served(address, app.metrics.registry, read_on(asyncio.get_running_loop(), app.metrics)):
        yield


def without_lifespan(app: ASGIApp) -> ASGIApp:
    """`app` for a server, where it has nothing to start or to end, or where somebody else does that."""

    async def serving(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    return serving


def _nobody(pid: int) -> None:
    """Nobody wants to know."""


def supervise(
    command: Sequence[str],
    workers: int,
    listener: socket.socket,
    *,
    environment: Mapping[str, str] | None = None,
    on_end: Callable[[int], None] = _nobody,
) -> int:
    """Run `workers` processes of `command` on the listener; replace one that dies; pass signals on. The exit status.

    `environment` is theirs; None: this one's. `on_end` hears the process ID of each that is replaced. SIGHUP is passed
    on as well, once a worker that has just started can take it: it is born with the signal held.
    """
    return _Supervisor(command, workers, listener, environment, on_end).run()


class _Supervisor:
    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        listener: socket.socket,
        environment: Mapping[str, str] | None,
        on_end: Callable[[int], None],
    ) -> None:
        self._environment, self._on_end = environment, on_end
        self._command = [*command, "--listen-fd", str(listener.fileno())]
        self._listener = listener
        self._signals: list[int] = []
        self._stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self._signals.append(number))
        hold_hangups()
        self._processes = [self._start() for _ in range(workers)]

    def run(self) -> int:
        while any(process.poll() is None for process in self._processes) or not self._stopping:
            while self._signals:
                self._end(self._signals.pop(0))
            if took_hangup():
                self._pass_on(signal.SIGHUP)
            self._replace_the_dead()
            time.sleep(TICK_S)
        return max((_status(process) for process in self._processes), default=0)

    def _start(self) -> subprocess.Popen[bytes]:
        # A process group of its own keeps a terminal's Ctrl-C from reaching workers twice. Nothing is written to
        # the pipe: it ends with this process, however that ends.
        return subprocess.Popen(  # noqa: S603
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )

    def _end(self, number: int) -> None:
        self._stopping = True
        self._listener.close()  # or the kernel would go on taking connections that nobody serves
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def _replace_the_dead(self) -> None:
        for place, process in enumerate(self._processes):
            if process.poll() is not None and not self._stopping:
                log.error("worker %d ended with status %d; starting another", process.pid, process.returncode)
                self._on_end(process.pid)
                time.sleep(RESTART_DELAY_S)
                self._processes[place] = self._start()


def _status(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a worker. One that a signal of ours met before it served has nothing to complain of."""
    status = process.returncode or 0
    return 0 if status in (-signal.SIGTERM, -signal.SIGINT) else abs(status)


def worker_command(argv: Sequence[str]) -> list[str]:
    """How a worker is started: the same program with the same arguments."""
    return [sys.executable, "-m", "gateway", *argv]
