"""A gateway with a scripted provider behind it, for the tests of the whole: in process, or on loopback sockets.

    async with in_process(upstream) as rig: ...                 # no socket at all
    async with on_sockets(upstream, "uvicorn") as rig: ...      # gateway and provider each under a real server

The gateway knows one static token, TOKEN, and two providers, `openai` and `anthropic`, each with a central key, and
it retries nothing. What it recorded is in `rig.store`, once `settled` or `ended` has waited for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from starlette.types import ASGIApp

from gateway.app import Gateway, create_app
from gateway.asgi_transport import AsgiTransport
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.records import Record
from recorders.stores.memory import MemoryStore
from tests.servers import Server, serving
from tests.upstream import Received, Upstream
from tests.waiting import PATIENCE_S, Changes

TOKEN = "fakegateid-fakegatewaytokenfakegatewaytoken"
KEY_ID = "static"
USER = "ada"
CENTRAL_KEYS = {"openai": "sk-fake-central-openai-key", "anthropic": "sk-ant-fake-central-anthropic-key"}
USER_KEY = "sk-fake-key-that-is-the-users-own"
GOVERNANCE = "X-Coder-AI-Governance-Token"
PREFIX = "/api/v2/ai-gateway"


class WatchedStore(MemoryStore):
    """A store in memory that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = Changes()
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def write(self, records: Sequence[Record]) -> None:
        await super().write(records)
        self.changes.notify()


class AppTransport(httpx.AsyncBaseTransport):
    """An ASGI app as the other end of a seam that is typed as httpx's."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = AsgiTransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await self._inner.handle_async_request(request)
        return response


@dataclass(slots=True)
class Rig:
    """`base_url` is where the gateway listens, or a name that means nothing when it is called in process."""

    app: Gateway
    upstream: Upstream
    store: WatchedStore
    base_url: str

    def url(self, provider: str, rest: str = "") -> str:
        return f"{self.base_url}{PREFIX}/{provider}{rest}"

    async def settled(self) -> WatchedStore:
        """The store, with everything that was recorded until now."""
        assert await self.app.drain.flush(PATIENCE_S), "the drain did not get through"
        return self.store

    async def ended(self, count: int = 1) -> WatchedStore:
        """The store, once that many interceptions have ended."""
        await self.settled()
        await self.store.changes.until(lambda: len(self.store.ends) >= count, f"{count} ended interceptions")
        return self.store


def providers(base_url: str, **changes: Any) -> tuple[ProviderOptions, ...]:
    """`openai` and `anthropic` as two sides of the provider at `base_url`."""
    return (
        ProviderOptions(
            type="openai",
            name="openai",
            base_url=f"{base_url}/v1",
            keys=(Secret(CENTRAL_KEYS["openai"]),),
            **changes,
        ),
        ProviderOptions(
            type="anthropic",
            name="anthropic",
            base_url=base_url,
            keys=(Secret(CENTRAL_KEYS["anthropic"]),),
            **changes,
        ),
    )


def gateway_settings(base_url: str = "http://provider.test", **changes: Any) -> Settings:
    """The static token and both providers, and what a test wants to be different."""
    options = GatewayOptions(
        auth="static",
        static_token=Secret(TOKEN),
        static_user=USER,
        journal_dir="",
        max_retries=0,  # a scripted answer is given once; what is tried again is a test of its own
        providers=providers(base_url),
    )
    return Settings(gateway=msgspec.structs.replace(options, **changes))


@asynccontextmanager
async def in_process(upstream: Upstream, **changes: Any) -> AsyncIterator[Rig]:
    """A running gateway whose provider is called without a socket."""
    store = WatchedStore()
    app = create_app(gateway_settings(**changes), store=store, transport=AppTransport(upstream))
    async with app.lifespan():
        yield Rig(app, upstream, store, "http://gateway.test")


@asynccontextmanager
async def on_sockets(upstream: Upstream, server: Server = "hypercorn", **changes: Any) -> AsyncIterator[Rig]:
    """A running gateway under `server`, with the transport it has by default; the provider is under hypercorn."""
    async with serving(upstream) as provider_url:
        store = WatchedStore()
        app = create_app(gateway_settings(provider_url, **changes), store=store)
        async with serving(app, server) as base_url:
            yield Rig(app, upstream, store, base_url)


def client_of(app: ASGIApp, **options: Any) -> httpx.AsyncClient:
    """An httpx client of an app in process. It has no cookies, no redirects and no timeouts of its own."""
    return httpx.AsyncClient(
        transport=AppTransport(app), base_url="http://gateway.test", timeout=None, **options
    )


def holds(request: Received, needle: str) -> bool:
    """Whether a secret shows anywhere in what the provider got."""
    raw = needle.encode()
    slots = [
        request.raw_path,
        request.query,
        request.body,
        *(part for pair in request.headers for part in pair),
    ]
    return any(raw in slot for slot in slots)
