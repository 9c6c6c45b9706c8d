"""A gateway with a real transport between two providers on loopback: the one that is configured, and a trap.

    async with wired("hypercorn") as wire:
        answers = await wire.ask(b"GET /openai/v1/models HTTP/1.1\\r\\n...")

Requests are bytes, because no client library would send them. Whatever reaches `wire.trap` was steered there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.app import Gateway, create_app
from gateway.settings import GatewayOptions, Settings
from middleware.auth import Authenticator
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.memory import MemoryStore
from tests.servers import Server, serving
from tests.upstream import Reply, Upstream
from tests.waiting import PATIENCE_S

TOKEN: Final = "fakegateid-fakegatewaytokenfakegatewaytoken"
KEYS: Final = {"openai": "sk-fake-central-openai-key", "anthropic": "sk-ant-fake-central-anthropic-key"}

_STATUS_LINE: Final = re.compile(rb"^HTTP/1\.[01] ([0-9]{3})", re.MULTILINE)


@dataclass(slots=True)
class Wire:
    app: Gateway
    upstream: Upstream
    trap: Upstream
    gateway_port: int
    trap_port: int

    async def ask(self, raw: bytes) -> bytes:
        """Everything that the gateway answers on one connection until it closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway_port)
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(raw)  # without waiting: who refuses doesn't have to read all of it
                return await reader.read()
        except (ConnectionError, BrokenPipeError):
            return b""
        finally:
            writer.close()

    @property
    def arrived(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.upstream.requests]


def request(
    target: bytes = b"/openai/v1/models",
    *,
    method: bytes = b"GET",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    host: bytes = b"gateway.test",
    token: bytes = TOKEN.encode(),
) -> bytes:
    """A request as it stands on the wire; only what is given is well-formed."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close"]
    if token:
        lines.append(b"Authorization: Bearer " + token)
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", body])


def statuses(answer: bytes) -> list[int]:
    """The statuses of all answers that came on a connection."""
    return [int(status) for status in _STATUS_LINE.findall(answer)]


@asynccontextmanager
async def wired(server: Server, *, authenticator: Authenticator | None = None) -> AsyncIterator[Wire]:
    upstream = Upstream(lambda _: Reply(chunks=[b"{}"]))
    trap = Upstream(lambda _: Reply(chunks=[b"{}"]))
    async with serving(upstream, "uvicorn") as upstream_url, serving(trap, "uvicorn") as trap_url:
        options = GatewayOptions(
            auth="static",
            journal_dir="",
            static_token=Secret(TOKEN),
            max_body_bytes=64 * 1024,
            providers=(
                ProviderOptions(
                    type="openai",
                    name="openai",
                    base_url=f"{upstream_url}/oa/v1",
                    keys=(Secret(KEYS["openai"]),),
                ),
                ProviderOptions(
                    type="anthropic",
                    name="anthropic",
                    base_url=f"{upstream_url}/an",
                    keys=(Secret(KEYS["anthropic"]),),
                ),
            ),
        )
        app = create_app(Settings(gateway=options), store=MemoryStore(), authenticator=authenticator)
        async with serving(app, server) as url:
            yield Wire(app, upstream, trap, _port(url), _port(trap_url))


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise AssertionError(f"no port in {url}")
    return port
