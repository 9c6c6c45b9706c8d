"""Answers `GET /metrics`, as a route of the gateway or on a port of its own.

Neither asks who is calling, for what scrapes has no token of the gateway's. So the route is off unless a setting turns
it on, and the port is there to be bound where only the scraper reaches it. The port is served by threads and not by
the event loop: it answers also when the loop has no time, with what was read last.

It speaks Prometheus' text format or OpenMetrics, as it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from gateway.metrics.paths import METRICS
from middleware.exchange import header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.metrics.metrics import Metrics

log = logging.getLogger("ai_gateway.metrics")

READ_TIMEOUT_S: Final = 2.0
"""How long a scrape waits for the event loop before it tells what was read last."""


class Source(Protocol):
    """What knows metrics: a registry, for example."""

    def collect(self) -> Iterable[Metric]: ...


class MetricsAddressError(OSError):
    """The address can't be listened on; the message says why and what to do."""


def metrics_app(metrics: Metrics) -> ASGIApp:
    """The answer as an ASGI application, for any path."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        metrics.take()
        body, content_type = await asyncio.to_thread(_render, metrics.registry, header(scope, b"accept"))
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


def _render(source: Source, accept: str | None) -> tuple[bytes, str]:
    encode, content_type = choose_encoder(accept or "")
    return encode(_WithoutBirthdays(source)), content_type


class _WithoutBirthdays:
    """A source without the times at which its series began: nobody asks, and they double what a scrape carries."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


# -- a port of its own --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(address: str, source: Source, before: Callable[[], None]) -> Iterator[int]:
    """Answer at `address`, host and port, while the block lasts; gives the port. `before` is called for each answer.

    Raises `MetricsAddressError`.
    """
    server = _server(address, source, before)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        host, port = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else host
        log.info("metrics on http://%s:%d%s", shown, port, METRICS)
        yield int(port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read_on(loop: asyncio.AbstractEventLoop, metrics: Metrics) -> Callable[[], None]:
    """A function for other threads that has `metrics` read on `loop`, and doesn't wait for long."""

    async def take() -> None:
        metrics.take()

    def before() -> None:
        reading = take()
        try:
            asyncio.run_coroutine_threadsafe(reading, loop).result(READ_TIMEOUT_S)
        except TimeoutError:
            log.warning("the event loop had no time for metrics; telling what was read last")
        except RuntimeError:  # the loop has ended
            reading.close()

    return before


def _server(address: str, source: Source, before: Callable[[], None]) -> ThreadingHTTPServer:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")

    def answer(accept: str | None) -> tuple[bytes, str]:
        before()
        return _render(source, accept)

    try:
        family, *_, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        kind = type("_Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        server: ThreadingHTTPServer = kind(where, _handler(answer))
    except OSError as error:
        raise MetricsAddressError(
            f"can't listen on {address}: {error.strerror or error}. Choose another address with metrics_address."
        ) from error
    return server


def _handler(answer: Callable[[str | None], tuple[bytes, str]]) -> type[BaseHTTPRequestHandler]:
    """What answers one connection; `answer` gets the `Accept` header, and gives the body and its type."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != METRICS:
                self.send_error(404, f"only {METRICS} is here")
                return
            try:
                body, content_type = answer(self.headers.get("accept"))
            except Exception:
                log.exception("metrics could not be told")
                self.send_error(500)
                return
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - http.server finds it by this name

        def version_string(self) -> str:
            return "ai-gateway"

        def log_message(self, format: str, *args: object) -> None:
            """A scrape every few seconds is no news."""

    return Handler
