"""The composition root: settings in, one ASGI application out.

    app = create_app(settings)                                   # under any ASGI server, with lifespan
    Starlette(routes=[Mount("/ai", app)], lifespan=app.lifespan) # inside a host, which runs the lifespan

A host can pass its own authenticator, store, upstream transport and list of layers. What it passes it also opens and
closes, but for the store, whose `open` and `close` are the lifespan's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from starlette.routing import Router

from gateway.accounts import DatabaseAuthenticator
from gateway.aiohttp_transport import AiohttpTransport
from gateway.api.app import is_management, management_api
from gateway.authenticators import HttpAuthenticator, StaticAuthenticator
from gateway.caching_authenticator import CachingAuthenticator
from gateway.parts import Parts
from gateway.settings import DEFAULT, GatewayOptions, Settings
from gateway.settings_error import SettingsError
from gateway.stack import LAYERS, Layer, StackError, compose
from middleware.errors import GatewayDisabled, ShuttingDown
from middleware.upstream import Timeouts, Upstream
from providers.base import Endpoint, Provider
from providers.options import ProviderOptions
from providers.registry import PROVIDER_TYPES, Registry
from recorders.disk_journal import DiskJournal
from recorders.drain import Drain, wait_at_most
from recorders.journal import MEBIBYTE, Journal, MemoryJournal
from recorders.log import structured_log
from recorders.retention import Retention
from recorders.sink import JournalSink
from recorders.stores.base import Store
from recorders.stores.database import Database
from recorders.stores.urls import database_for, store_on

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from middleware.auth import Authenticator

log = logging.getLogger("ai_gateway")

_T = TypeVar("_T")

DRAIN_DEADLINE_S: Final = 10.0
JOURNAL_FILE_BYTES: Final = 16 * MEBIBYTE
JOURNAL_RESERVE_BYTES: Final = 64 * MEBIBYTE
MEMORY_JOURNAL_BYTES: Final = 64 * MEBIBYTE

LATER: Final = (
    "max_concurrency",
    "rate_limit",
    "circuit_breaker_enabled",
    "max_retries",
    "chat_routing_enabled",
)


def create_app(
    settings: Settings | None = None,
    *,
    authenticator: Authenticator | None = None,
    store: Store | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    layers: Sequence[Layer] = LAYERS,
) -> Gateway:
    """The gateway as `settings` describe it. Raises `SettingsError` or `StackError`, one sentence each."""
    try:
        return Gateway(
            settings or Settings(),
            authenticator=authenticator,
            store=store,
            transport=transport,
            layers=layers,
        )
    except (SettingsError, StackError):
        raise
    except ValueError as error:  # a part refused an option; its message names option and value
        raise SettingsError(str(error)) from error


class Gateway:
    """One ASGI application with a lifespan. `drain` and `database` are there for whoever operates it."""

    def __init__(
        self,
        settings: Settings,
        *,
        authenticator: Authenticator | None,
        store: Store | None,
        transport: httpx.AsyncBaseTransport | None,
        layers: Sequence[Layer],
    ) -> None:
        self.settings = settings
        self.options = options = settings.gateway
        self.registry = Registry(_provider(given, options) for given in options.providers)
        self._own_transport = None if transport is not None else _transport(options)
        self._transport = transport or self._own_transport
        asks_database = authenticator is None and options.auth == "database"
        self.database = _database(options, needed=store is None or asks_database)
        self.store: Store = store or store_on(_existing(self.database))
        self.journal = _journal(options)
        self.drain = Drain(self.journal, self.store)
        self.retention = None if store else Retention(_existing(self.database), keep_s=options.retention_s)
        observers = [structured_log] if options.structured_logging else []
        self._sink = JournalSink(self.journal, observers=observers, when_full=options.journal_full)
        self._parts = Parts(options, self.registry, authenticator or self._make_authenticator(), self._sink)
        self._pipeline = self._compose(layers)
        self._management = self._compose_management(layers)
        self._lifespan_router = Router(lifespan=self.lifespan)
        self._shutting_down = compose(_outer(layers), _refuse, self._parts)
        self._requests = _Running()
        self._running = False
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan_router(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._lifespan_router.not_found(scope, receive, send)
        elif self._running:
            self._requests.add()
            try:
                await self._app_for(scope)(scope, receive, send)
            finally:
                self._requests.remove()
        else:
            raise RuntimeError(
                "the gateway is not running: its host must enter app.lifespan, for example with "
                "Starlette(..., lifespan=gateway_app.lifespan)"
            )

    def refuse_new_requests(self) -> None:
        """From now on a new request gets 503 with `Retry-After`; those that are running go on."""
        self._stopping = True

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Opens store, journal and drain; at the end stores what is waiting, then closes. `app` is the host, if any.

        Raises `StoreError`, `JournalUnusable`.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._own_transport is not None:
                stack.push_async_callback(self._own_transport.aclose)
            for part in (self.database, self.store):
                if part is not None:
                    stack.push_async_callback(part.close)
                    await part.open()
            for layer in _closable(self._pipeline):
                stack.push_async_callback(asyncio.to_thread, layer.close)
            if isinstance(self._parts.authenticator, CachingAuthenticator):
                stack.push_async_callback(self._parts.authenticator.close)
            await self.journal.open()
            stack.push_async_callback(self.journal.close)
            self.drain.start()
            stack.push_async_callback(self.drain.stop, DRAIN_DEADLINE_S)
            if self.retention is not None:
                self.retention.start()
                stack.push_async_callback(self.retention.stop)
            self._warn()
            self._running, self._stopping = True, False
            try:
                yield
            finally:
                self._running = False
                # Callers in this process can hang up just before this; what they asked is still to be recorded.
                await self._requests.none_left(DRAIN_DEADLINE_S)

    def _app_for(self, scope: Scope) -> ASGIApp:
        if self._stopping:
            return self._shutting_down
        if self._management is not None and is_management(scope):
            return self._management
        return self._pipeline

    def _compose_management(self, layers: Sequence[Layer]) -> ASGIApp | None:
        """The management API behind the layers that learn who is calling; it needs them, and a database of ours."""
        if self.database is None or not self.options.enabled or not _admitting(layers):
            return None
        return compose(_admitting(layers), management_api(self.database), self._parts)

    def _compose(self, layers: Sequence[Layer]) -> ASGIApp:
        options = self.options
        if not options.enabled:
            return compose(_outer(layers), _disabled, self._parts)
        upstream = Upstream(
            _existing(self._transport),
            timeouts=Timeouts(
                connect_s=options.connect_timeout_s,
                first_byte_s=options.first_byte_timeout_s,
                idle_s=options.idle_timeout_s,
                total_s=options.total_timeout_s,
            ),
            on_client_left=options.client_left,
            drain_s=options.client_left_drain_timeout_s,
        )
        return compose(layers, upstream, self._parts)

    def _make_authenticator(self) -> Authenticator:
        options = self.options
        inner: Authenticator
        if options.auth == "static":
            if not options.static_token:
                raise SettingsError("auth is static, but static_token is empty: give the one token")
            return StaticAuthenticator(options.static_token, options.static_user)
        if options.auth == "http":
            if not options.auth_url:
                raise SettingsError("auth is http, but auth_url is empty: give the control plane's URL")
            inner = HttpAuthenticator(
                options.auth_url, transport=_existing(self._transport), timeout_s=options.auth_timeout_s
            )
        else:
            inner = DatabaseAuthenticator(_existing(self.database))
        return CachingAuthenticator(
            inner,
            ttl_s=options.auth_cache_ttl_s,
            grace_s=options.auth_grace_s,
            timeout_s=options.auth_timeout_s,
        )

    def _warn(self) -> None:
        options = self.options
        if options.dump_dir:
            log.warning("dumps are on: files below %s will hold prompts and answers", options.dump_dir)
        if not len(self.registry) and options.enabled:
            log.warning("no provider is configured: every request will be answered 404")
        if self.retention is None and self.settings.origin("retention") != DEFAULT:
            log.warning("retention is set, but the store is the host's, which deletes old records itself")
        for name in _not_yet(self.settings):
            log.warning("%s is set, but this version does not act on it yet", name)


class _Running:
    """How many requests are under way, and a way to wait until none is."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: asyncio.Event | None = None

    def add(self) -> None:
        self._count += 1

    def remove(self) -> None:
        self._count -= 1
        if self._count == 0 and self._waiting is not None:
            self._waiting.set()

    async def none_left(self, deadline_s: float) -> None:
        if self._count:
            self._waiting = asyncio.Event()
            await wait_at_most(self._waiting, deadline_s)
            self._waiting = None


def _outer(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers that every answer passes, also one that is given before anything is known of the request."""
    return [layer for layer in layers if not layer.requires]


def _closable(app: Any) -> Iterator[Any]:
    """The layers that have something to finish, such as files that are still being written."""
    while app is not None:
        if hasattr(app, "close"):
            yield app
        app = getattr(app, "app", None)


def _admitting(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers down to the one that knows the caller; none where no layer does."""
    place = next((place for place, layer in enumerate(layers, 1) if "caller" in layer.provides), 0)
    return layers[:place]


def _database(options: GatewayOptions, *, needed: bool) -> Database | None:
    if not needed:
        return None
    try:
        return database_for(options.database_url.reveal_secret_value())
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _existing(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("this part of the gateway is the host's to pass")
    return part


def _journal(options: GatewayOptions) -> Journal:
    """A small limit makes small files: at least eight of them, so that stored records make room again."""
    max_bytes = options.journal_max_bytes
    reserve_bytes = min(JOURNAL_RESERVE_BYTES, max_bytes)
    if not options.journal_dir:
        return MemoryJournal(max_bytes=min(MEMORY_JOURNAL_BYTES, max_bytes), reserve_bytes=reserve_bytes)
    return DiskJournal(
        Path(options.journal_dir),
        max_bytes=max_bytes,
        reserve_bytes=reserve_bytes,
        fsync=options.journal_fsync,
        interval_s=options.journal_fsync_interval_s,
        segment_bytes=min(JOURNAL_FILE_BYTES, max(max_bytes // 8, MEBIBYTE // 16)),
    )


def _transport(options: GatewayOptions) -> httpx.AsyncBaseTransport:
    if options.upstream_transport == "httpx":
        logging.getLogger("httpcore").setLevel(logging.INFO)  # its debug lines hold every header of an answer
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=15.0)
        return httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    return AiohttpTransport()


def _provider(given: ProviderOptions, options: GatewayOptions) -> Provider:
    if given.on_bedrock:
        raise SettingsError(
            f'provider "{given.name}" is on Amazon Bedrock, which this version does not speak yet: remove it'
        )
    kind = PROVIDER_TYPES[given.type]
    return Provider(
        type=kind,
        name=given.name,
        base_url=given.base_url or kind.default_base_url,
        keys=given.keys,
        enabled=given.enabled,
        extra_endpoints=tuple(_extra(options.extra_routes.get(given.type, ()))),
    )


def _extra(paths: Iterable[str]) -> Iterable[Endpoint]:
    return (Endpoint(frozenset({"*"}), path) for path in paths)


def _not_yet(settings: Settings) -> Iterable[str]:
    """What was given although this version only reads and checks it: the layers behind it come later."""
    for name in LATER:
        if settings.origin(name) != DEFAULT:
            yield name
    if any(len(provider.keys) > 1 for provider in settings.gateway.providers):
        yield "a provider's second key"


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    raise ShuttingDown


async def _disabled(scope: Scope, receive: Receive, send: Send) -> None:
    raise GatewayDisabled
