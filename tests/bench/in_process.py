"""One row's request in this process, without a socket: what the gateway's own code costs, and nothing around it.

The gateway is composed as `ai-gateway serve` does it, with keys in a database, governance, header stripping, readers,
the journal on disk and the access log. It is driven by ASGI messages; behind it stands a transport that answers with
the row's pieces, each in a chunk of its own. Left out are the server, the connection to the provider, and the drain,
which works beside the requests and at its own pace (`tests.bench.drain` measures it). Each answer is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Message, Scope

from gateway.accounts import Accounts
from gateway.app import Gateway, create_app
from gateway.chunks import tell
from gateway.from_settings import database_from
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.log import HumanFormatter
from tests.asgi import http_scope
from tests.bench.load import WrongAnswerError
from tests.bench.rows import Row
from tests.bench.targets import CLIENT_HEADERS

PROVIDER = "http://provider.test"
KEY = Secret("sk-bench-not-a-key")
PIECE_BYTES = 64 * 1024
"""What a server reads of a request body at once."""


class RowTransport(httpx.AsyncBaseTransport):
    """Answers every request of a row with the same chunks."""

    def __init__(self, row: Row) -> None:
        kind = "text/event-stream; charset=utf-8" if row.streamed else "application/json"
        headers = [(b"content-type", kind.encode()), (b"request-id", b"req_bench")]
        if not row.streamed:
            headers.append((b"content-length", b"%d" % row.answer_bytes))
        self._headers = headers
        self._chunks = [piece.render(0) for piece in row.answer]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=self._headers, stream=_Chunks(self._chunks), request=request)


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


class InProcess:
    """A running gateway and one row. `request` is what is measured."""

    def __init__(self, app: Gateway, row: Row, token: Secret) -> None:
        self._app, self._row = app, row
        body = row.request.render(0)
        self._pieces: list[Message] = [
            {
                "type": "http.request",
                "body": body[at : at + PIECE_BYTES],
                "more_body": at + PIECE_BYTES < len(body),
            }
            for at in range(0, max(len(body), 1), PIECE_BYTES)
        ]
        self.expected = row.answer_body(0)
        self._headers = [
            ("host", "127.0.0.1:4001"),
            *CLIENT_HEADERS.items(),
            ("authorization", f"Bearer {token.reveal_secret_value()}"),
        ]
        if body:
            self._headers += [("content-type", "application/json"), ("content-length", str(len(body)))]

    async def request(self) -> None:
        """One request and its answer. Raises `WrongAnswerError`."""
        client = _Client(self._pieces)
        await self._app(self._scope(), client.receive, client.send)
        if client.status != 200 or b"".join(client.chunks) != self.expected or not client.complete:
            raise WrongAnswerError(f"{self._row.name}: status {client.status}, {client.chunks!r:.300}")

    async def requests(self, number: int) -> None:
        """One after the other."""
        for _ in range(number):
            await self.request()

    def _scope(self) -> Scope:
        scope = http_scope(self._row.method, self._row.gateway_path, headers=self._headers)
        tell(scope)  # that chunks may come together, as `serve` does
        return scope


class _Client:
    """The server's side of one request: the body in pieces, then a client that stays."""

    def __init__(self, pieces: list[Message]) -> None:
        self._pieces = iter(pieces)
        self.status = 0
        self.chunks: list[bytes] = []
        self.complete = False

    async def receive(self) -> Message:
        piece = next(self._pieces, None)
        if piece is None:
            await asyncio.get_running_loop().create_future()  # cancelled when the answer is over
        return dict(piece or {})

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.chunks.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)


def settings_in(folder: Path, **changes: Any) -> Settings:
    """What `serve` has by default, in a folder; identities are kept for as long as a slow measurement takes."""
    options = GatewayOptions(
        database_url=Secret(f"sqlite:///{folder}/gateway.db"),
        journal_dir=str(folder / "journal"),
        auth_cache_ttl_s=86_400.0,
        providers=(
            ProviderOptions(type="openai", name="openai", base_url=f"{PROVIDER}/v1", keys=(KEY,)),
            ProviderOptions(type="anthropic", name="anthropic", base_url=PROVIDER, keys=(KEY,)),
        ),
        **changes,
    )
    return Settings(gateway=options)


@contextlib.asynccontextmanager
async def in_process(row: Row, folder: Path, **changes: Any) -> AsyncIterator[InProcess]:
    """The gateway around `row` while the context lasts, its log in `folder`; `changes` are options of it."""
    settings = settings_in(folder, **changes)
    app = create_app(settings, transport=RowTransport(row))
    with _logging_to(folder / "log"):
        async with app.lifespan():
            await app.drain.stop(1.0)
            yield InProcess(app, row, await _token(settings))


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Log as text, as `serve` does to standard error."""
    root = logging.getLogger()
    level = root.level
    with path.open("w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(HumanFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)


async def _token(settings: Settings) -> Secret:
    database = database_from(settings.gateway)
    await database.open()
    try:
        accounts = Accounts(database)
        await accounts.create_user("bench")
        return (await accounts.create_key("bench")).token
    finally:
        await database.close()
