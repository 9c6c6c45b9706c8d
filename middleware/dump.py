"""Writes what went to the provider and what came back to text files, for the day something has to be looked at.

Place: right before the upstream, so that what is dumped is what was sent, attempt by attempt. Needs `credential`,
which only dispatch sets: inside it the scope is the provider's request; and `attempt`, because failover, which sets
it, sends a request again; and `circuit`, because what a circuit breaker refuses was not sent. Changes nothing that
passes.

    <directory>/<provider name>/<model>/<unix ms>-<interception id>.req.txt       the request
                                                                   .resp.txt      the answer, as it streamed
                                                                   .req_error.txt what went wrong instead
    <directory>/<provider name>/passthrough/...                                   routes that are not recorded

Further attempts have their number behind the ID: `<unix ms>-<interception id>.2.req.txt`.

Files are 0600 in directories 0700. Credentials in headers and in the query are masked; bodies are not: dumps hold
prompts. All disk work happens in one thread beside the event loop. A full disk, or a disk that can't keep up, ends
the dump with a warning and never the request.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final
from urllib.parse import unquote_plus

import msgspec

from middleware.exchange import Exchange
from providers.base import Credential, Headers
from providers.secret import mask

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.dump")

MASKED_HEADERS: Final = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-auth-token",
        b"x-goog-api-key",
        b"cookie",
        b"proxy-authorization",
        b"x-amz-security-token",
        b"set-cookie",
        b"www-authenticate",
        b"proxy-authenticate",
    }
)
SECRET_PARAMETER: Final = re.compile(r"key|token|secret|signature|password|credential", re.IGNORECASE)
UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
MAX_PENDING_BYTES: Final = 64 * 1024 * 1024


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class DumpMiddleware:
    """`directory` is made when it is missing. Raises `ValueError` when it can't be a directory."""

    requires: ClassVar[frozenset[str]] = frozenset({"credential", "attempt", "circuit"})
    provides: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        app: ASGIApp,
        *,
        directory: str | Path,
        now_ms: Callable[[], int] = unix_ms,
        max_pending_bytes: int = MAX_PENDING_BYTES,
    ) -> None:
        self.directory = Path(directory)
        if self.directory.exists() and not self.directory.is_dir():
            raise ValueError(f"dump directory {self.directory} is not a directory")
        self.app = app
        self.now_ms = now_ms
        self.writer = _Writer(max_pending_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        stem = self._folder(exchange) / f"{self.now_ms()}-{_name(exchange)}"
        dump = _Dump(self.writer, stem, scope, receive, send)
        try:
            await self.app(scope, dump.receive, dump.send)
        except BaseException as error:
            dump.failed(error)
            raise
        finally:
            dump.end()

    def _folder(self, exchange: Exchange) -> Path:
        provider = exchange.provider.name if exchange.provider else "unknown"
        model = exchange.facts.model if exchange.facts else "passthrough"
        return self.directory / _file_name(provider) / _file_name(model)

    def close(self) -> None:
        """Wait until everything handed over is on disk."""
        self.writer.close()


def _name(exchange: Exchange) -> str:
    name = exchange.interception_id or exchange.request_id
    return name if exchange.attempt < 2 else f"{name}.{exchange.attempt}"


def _file_name(text: str) -> str:
    """`text` as one path segment that can't leave its directory."""
    name = UNSAFE.sub("_", text)[:100]
    return name if name.strip(".") else "unknown"


class _Dump:
    """The files of one exchange."""

    def __init__(self, writer: _Writer, stem: Path, scope: Scope, receive: Receive, send: Send) -> None:
        self._writer, self._stem, self._scope = writer, stem, scope
        self._credential = Exchange.of(scope).credential
        self._receive, self._send = receive, send
        self._request: list[bytes] = []
        self._answer: _File | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._request.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._write_request()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            head = _answer_head(message["status"], message["headers"])
            self._answer = self._open(".resp.txt", _without(self._credential, head))
        elif message["type"] == "http.response.body" and self._answer is not None:
            self._answer.write(message.get("body", b""))
        await self._send(message)

    def failed(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {getattr(error, 'message', 'the exchange broke off')}\n"
        self._open(".req_error.txt", text.encode()).close()

    def end(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def _write_request(self) -> None:
        body = b"".join(self._request)
        self._request.clear()
        head = _without(self._credential, _request_head(self._scope))
        file = self._writer.open(self._stem.with_name(self._stem.name + ".req.txt"))
        file.write_later(lambda: head + _indented(body), len(body))
        file.close()

    def _open(self, suffix: str, head: bytes) -> _File:
        file = self._writer.open(self._stem.with_name(self._stem.name + suffix))
        file.write(head)
        return file


def _request_head(scope: Scope) -> bytes:
    method: str = scope["method"]
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + b"&".join(_masked_pair(pair) for pair in scope["query_string"].split(b"&"))
    return method.encode("ascii") + b" " + target + b" HTTP/1.1\r\n" + _header_lines(scope["headers"])


def _answer_head(status: int, headers: Headers) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    return f"HTTP/1.1 {status} {phrase}".rstrip().encode("ascii") + b"\r\n" + _header_lines(headers)


def _without(credential: Credential | None, head: bytes) -> bytes:
    """A head in which the credential is masked wherever it stands: some providers echo it in a header of their own."""
    if credential is None:
        return head
    secret = credential.secret.reveal_secret_value().encode("latin-1")
    return head.replace(secret, credential.hint.encode("latin-1"))


def _header_lines(headers: Headers) -> bytes:
    lines = [name + b": " + _masked(name.lower(), value) for name, value in sorted(headers)]
    return b"\r\n".join([*lines, b"", b""])


def _masked(name: bytes, value: bytes) -> bytes:
    if name not in MASKED_HEADERS:
        return value
    scheme, space, secret = value.decode("latin-1").partition(" ")
    text = f"{scheme} {mask(secret)}" if space and name == b"authorization" else mask(scheme + space + secret)
    return text.encode("latin-1")


def _masked_pair(pair: bytes) -> bytes:
    name, equals, value = pair.partition(b"=")
    if not SECRET_PARAMETER.search(unquote_plus(name.decode("latin-1"))):
        return pair
    return name + equals + mask(value.decode("latin-1")).encode("latin-1")


def _indented(body: bytes) -> bytes:
    """JSON indented, with its keys in their order and its numbers as they were; anything else as it is."""
    try:
        return msgspec.json.format(body, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return body


class _Writer:
    """One thread that does all disk work in order, and a bound on what may wait for it."""

    def __init__(self, max_pending_bytes: int) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0
        self._counting = threading.Lock()

    def open(self, path: Path) -> _File:
        return _File(self, path)

    def submit(self, step: Callable[[], None], size: int) -> bool:
        """Hand a step to the thread; False when too much is waiting already."""
        with self._counting:
            if self._pending_bytes + size > self._max_pending_bytes:
                return False
            self._pending_bytes += size

        def run() -> None:
            try:
                step()
            finally:
                with self._counting:
                    self._pending_bytes -= size

        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dump")
        self._thread.submit(run)
        return True

    def close(self) -> None:
        """What is written later begins a new thread: a host may start the gateway again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True)


class _File:
    """One file, written in the thread; the first error ends it with a warning."""

    def __init__(self, writer: _Writer, path: Path) -> None:
        self._writer, self._path = writer, path
        self._file: BinaryIO | None = None
        self._broken = False

    def write(self, data: bytes) -> None:
        if data:
            self.write_later(lambda: data, len(data))

    def write_later(self, make: Callable[[], bytes], size: int) -> None:
        """Write what `make` returns, which is called in the thread; `size` is what waits for it in memory."""
        if not self._broken and not self._writer.submit(
            lambda: self._guarded(lambda: self._append(make())), size
        ):
            self._give_up("the disk can't keep up")

    def close(self) -> None:
        self._writer.submit(lambda: self._guarded(self._close), 0)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self._give_up(error.strerror or type(error).__name__)

    def _append(self, data: bytes) -> None:
        if self._broken:
            return
        if self._file is None:
            _make_private(self._path.parent)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._file.write(data)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _give_up(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            log.warning("dump ended early", extra={"path": str(self._path), "reason": reason})


def _make_private(folder: Path) -> None:
    """Make a folder and those above it, all for their owner alone: `mkdir` gives its mode to the last one only."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
