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
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import httpx
from starlette.routing import Router

from gateway.ai_providers import AiProviderRows
from gateway.api.app import is_management, management_api
from gateway.caching_authenticator import CachingAuthenticator
from gateway.chat.paths import is_chat
from gateway.chunks import tell
from gateway.chunks.apart import apart, merged
from gateway.from_settings import (
    authenticator_from,
    database_from,
    journal_from,
    metrics_from,
    registry_from,
    transport_from,
    upstream_from,
    warnings_for,
)
from gateway.health import Health, is_health
from gateway.metrics.paths import is_metrics
from gateway.parts import Parts
from gateway.provider_keys import ProviderKeys
from gateway.reload import needing_restart, with_reloaded
from gateway.running import RunningRequests
from gateway.settings import Settings
from gateway.settings_error import SettingsError
from gateway.stack import (
    LAYERS,
    Layer,
    StackError,
    admitting_layers,
    closable,
    compose,
    outer_layers,
    the_layer,
)
from gateway.tracing import tracing_from
from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.errors import GatewayDisabled, ShuttingDown
from middleware.exchange import DELEGATION_KEY, takes_chunks
from middleware.failover import FailoverMiddleware
from providers.bedrock.provider import BedrockProvider
from providers.bedrock.signer import KeysUnavailable, Signer
from providers.registry import Registry
from recorders.drain import Drain
from recorders.log import structured_log
from recorders.retention import Retention
from recorders.sink import JournalSink, Observer
from recorders.stores.base import Store, StoreError
from recorders.stores.database import Database
from recorders.stores.urls import store_on
from recorders.stores.watch import DatabaseWatch, Watchable

if TYPE_CHECKING:
    import httpx2
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.chat.service import ChatService
    from gateway.chat.tools import Tool
    from gateway.metrics.metrics import Metrics
    from middleware.auth import Authenticator

log = logging.getLogger("ai_gateway")

DRAIN_DEADLINE_S: Final = 10.0


def create_app(
    settings: Settings | None = None,
    *,
    authenticator: Authenticator | None = None,
    store: Store | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    layers: Sequence[Layer] = LAYERS,
    chat_tools: Sequence[Tool] = (),
    is_guest: bool = False,
) -> Gateway:
    """The gateway as `settings` describe it. Raises `SettingsError` or `StackError`, one sentence each.

    `chat_tools` are what the turns of chats may call, where `chat_enabled` is on. A guest works on a database that is
    another's, such as a server's with settings of its own: it deletes no records and changes no provider's row.
    """
    try:
        return Gateway(
            settings or Settings(),
            authenticator=authenticator,
            store=store,
            transport=transport,
            layers=layers,
            chat_tools=chat_tools,
            is_guest=is_guest,
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
        chat_tools: Sequence[Tool],
        is_guest: bool,
    ) -> None:
        self.settings = settings
        self.options = options = settings.gateway
        self._is_guest = is_guest
        self._own_transport: httpx.AsyncBaseTransport | None = None
        if transport is None:
            transport = self._own_transport = transport_from(options)
        self.database: Database | None = None
        self.retention: Retention | None = None
        store_of_host = store
        if store is None:
            self.database = database_from(options)
            store = store_on(self.database)
            if not is_guest:
                self.retention = Retention(self.database, keep_s=options.retention_s)
        elif authenticator is None and options.auth == "database":
            self.database = database_from(options)
        self.provider_rows: AiProviderRows | None = None
        self.provider_keys: ProviderKeys | None = None
        if self.database is not None:
            self.provider_rows = AiProviderRows(self.database)
            self.provider_keys = ProviderKeys(self.database, options.user_key_encryption_keys)
        self.store: Store = store
        self.journal = journal_from(options)
        self.drain = Drain(self.journal, self.store)
        self.database_watch = DatabaseWatch(
            [part for part in (self.database, store_of_host) if isinstance(part, Watchable)],
            opened_again=self.drain.look_again,
            look=self.journal.refusal,
        )
        self._authenticator = authenticator or authenticator_from(
            options, transport=transport, database=self.database
        )
        self.chat: ChatService | None = None
        self._chat_ways: httpx2.AsyncHTTPTransport | None = None
        if options.chat_enabled:
            self._add_chat(chat_tools, keys_elsewhere=authenticator is not None)
        self._compose(layers, transport)
        self._lifespan_router = Router(lifespan=self.lifespan)
        self._requests = RunningRequests()
        # Weakly: a signer that a reload has replaced goes with the last request that signs with it.
        self._signers: weakref.WeakSet[Signer] = weakref.WeakSet()
        self._health = Health(self.troubles)
        self._running = False
        self._leaving = False
        self._stopping = False

    def _add_chat(self, tools: Sequence[Tool], *, keys_elsewhere: bool) -> None:
        import httpx2  # noqa: PLC0415 - it and the vendors' SDKs take a second to load, for those who chat

        from gateway.chat.deployment import chat_service_of  # noqa: PLC0415

        # Its debug lines hold every header of an answer.
        logging.getLogger("httpcore2").setLevel(logging.INFO)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=15.0)
        self._chat_ways = httpx2.AsyncHTTPTransport(limits=limits, trust_env=False)
        self.chat = chat_service_of(self, tools=tools, direct=self._chat_ways, keys_elsewhere=keys_elsewhere)

    def _compose(self, layers: Sequence[Layer], transport: httpx.AsyncBaseTransport) -> None:
        """The pipeline, the management API behind the layers that learn who is calling, and the answer at shutdown."""
        options = self.options
        metrics = self.metrics = None if self._is_guest else metrics_from(self.settings)
        observers: list[Observer] = [structured_log] if options.structured_logging else []
        if metrics is not None:
            observers.append(metrics.records)
        tracing = self.tracing = tracing_from(options)
        if tracing is not None:
            observers.append(tracing.summaries)
        sink = JournalSink(self.journal, observers=observers, when_full=options.journal_full)
        registry = self._registry = registry_from(options)
        parts = Parts(options, registry, self._authenticator, sink, metrics, tracing)
        outer, admitting = outer_layers(layers), admitting_layers(layers)
        self._shutting_down = compose(outer, _refuse, parts)
        self._management: ASGIApp | None = None
        self._pipeline = compose(outer, _disabled, parts)
        if options.enabled:
            self._pipeline = compose(layers, upstream_from(options, transport), parts)
            if self.database is not None and self.provider_keys is not None and admitting:
                api = management_api(
                    self.database, provider_keys=self.provider_keys, allow_byok=options.allow_byok
                )
                self._management = compose(admitting, api, parts)
        self._chats: ASGIApp | None = None
        if self.chat is not None and admitting:
            from gateway.chat.api import chat_api  # noqa: PLC0415

            self._chats = compose(admitting, chat_api(self.chat), parts)
        self._metrics_app: ASGIApp | None = None
        if metrics is not None:
            self._add_metrics(metrics, sink)

    def _add_metrics(self, metrics: Metrics, sink: JournalSink) -> None:
        from gateway.metrics.exposition import metrics_app  # noqa: PLC0415 - for those who count
        from gateway.metrics.readings import Sources  # noqa: PLC0415

        metrics.read_from(
            Sources(
                journal=self.journal,
                drain=self.drain,
                sink=sink,
                registry=self._registry,
                watch=self.database_watch,
                retention=self.retention,
                breaker=the_layer(CircuitBreakerMiddleware, self._pipeline),
                failover=the_layer(FailoverMiddleware, self._pipeline),
            )
        )
        if self.options.metrics_route:
            self._metrics_app = metrics_app(metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan_router(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._lifespan_router.not_found(scope, receive, send)
        elif is_health(scope):
            await self._health(scope, receive, send)
        elif self._metrics_app is not None and is_metrics(scope):
            await self._metrics_app(scope, receive, send)
        elif self._running:
            if not takes_chunks(scope):
                tell(scope)
                send = (merged if self.options.merge_chunks else apart)(send)
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

    @property
    def authenticator(self) -> Authenticator:
        """Who knows the callers."""
        return self._authenticator

    def troubles(self) -> list[str]:
        """Why no requests should be sent here, in words for anybody; none when it is ready."""
        if not self._running:
            return ["not running"]
        reasons = ["shutting down"] if self._leaving else []
        if self.options.enabled and not any(provider.enabled for provider in self._registry):
            reasons.append("no provider is configured and enabled")
        if self.options.journal_full == "refuse" and (refusal := self.journal.refusal()):
            reasons.append(f"records are not taken: {refusal}")
        if trouble := self.database_watch.trouble():
            reasons.append(trouble)
        return reasons

    def leave(self) -> None:
        """From now on it says that it isn't ready; requests that come all the same are served."""
        self._leaving = True

    def refuse_new_requests(self) -> None:
        """From now on a new request gets 503 with `Retry-After`; those that are running go on, and so do
        turns, which are interrupted shortly before a server's grace is over."""
        self._leaving = self._stopping = True
        if self.chat is not None:
            self.chat.refuse_new_messages(grace_s=self.options.shutdown_grace_s)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Opens store, journal and drain; at the end stores what is waiting, then closes. `app` is the host, if any.

        Raises `StoreError`, `JournalUnusable`, `SettingsError`.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self.metrics is not None:
                await stack.enter_async_context(self.metrics.running())
            if self.tracing is not None:
                self.tracing.open()
                stack.push_async_callback(self.tracing.close)
            for way in (self._own_transport, self._chat_ways):
                if way is not None:
                    stack.push_async_callback(way.aclose)
            for part in (self.database, self.store):
                if part is not None:
                    stack.push_async_callback(part.close)
                    await part.open()
            await self._write_providers()
            await self.open_signers(stack)
            for layer in closable(self._pipeline):
                stack.push_async_callback(asyncio.to_thread, layer.close)
            if isinstance(self._authenticator, CachingAuthenticator):
                stack.push_async_callback(self._authenticator.close)
            await self.journal.open()
            stack.push_async_callback(self.drain.forget_gone)
            stack.push_async_callback(self.journal.close)
            self.drain.start()
            stack.push_async_callback(self.drain.stop, DRAIN_DEADLINE_S)
            self.database_watch.start()
            stack.push_async_callback(self.database_watch.stop)
            if self.retention is not None:
                self.retention.start()
                stack.push_async_callback(self.retention.stop)
            self._warn()
            self._running, self._leaving, self._stopping = True, False, False
            try:
                async with contextlib.nullcontext() if self.chat is None else self.chat.running():
                    yield
            finally:
                self._running = False
                # Callers in this process can hang up just before this; what they asked is still to be recorded.
                await self._requests.none_left(DRAIN_DEADLINE_S)

    async def reload(self, settings: Settings) -> list[str]:
        """Serve new requests with the providers of `settings`; those that run keep the ones they were routed to.

        Returns the names of changed options that only a restart applies; here they stay as they were. Raises
        `SettingsError`, and then nothing has changed. One at a time.
        """
        options = settings.gateway
        try:
            # In a thread: what is on Bedrock loads botocore, which looks into files.
            registry = await asyncio.to_thread(registry_from, options)
        except SettingsError:
            raise
        except ValueError as error:
            raise SettingsError(str(error)) from error
        await self._open_signers(registry)
        left = needing_restart(self.settings, settings)
        self.settings = with_reloaded(self.settings, options)
        self.options = self.settings.gateway
        self._registry.take_over(registry)
        await self._seed_again()
        return left

    async def _seed_again(self) -> None:
        """A database that is away keeps no provider from being changed; until it is back, chats get its error."""
        try:
            await self._write_providers()
        except StoreError as error:
            log.warning("the rows of the providers are written later: %s", error)

    async def _write_providers(self) -> None:
        if self.provider_rows is None:
            return
        if self._is_guest:
            await self.provider_rows.add_missing(self.options.providers)
        else:
            await self.provider_rows.seed(self.options.providers)

    async def open_signers(self, stack: contextlib.AsyncExitStack) -> None:
        """Instances on Bedrock need AWS keys. Raises `SettingsError` where there are none, and the start ends."""
        stack.push_async_callback(self._close_signers)
        await self._open_signers(self._registry)

    async def _open_signers(self, registry: Registry) -> None:
        for provider in registry:
            if isinstance(provider, BedrockProvider) and provider.enabled:
                self._signers.add(provider.signer)
                try:
                    await provider.signer.open()
                except KeysUnavailable as error:
                    raise SettingsError(f'provider "{provider.name}" can\'t sign: {error}') from error

    async def _close_signers(self) -> None:
        """Also those of instances that a reload has replaced, as far as a request still had them."""
        for signer in list(self._signers):
            await signer.close()

    def _app_for(self, scope: Scope) -> ASGIApp:
        if self._stopping and DELEGATION_KEY not in scope:  # a turn of a chat may end
            return self._shutting_down
        if self._chats is not None and is_chat(scope):
            return self._chats
        if self._management is not None and is_management(scope):
            return self._management
        return self._pipeline

    def _warn(self) -> None:
        if self._is_guest:
            return  # they are for who operates a server
        for sentence in warnings_for(self.settings, own_store=self.retention is not None):
            log.warning("%s", sentence)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    raise ShuttingDown


async def _disabled(scope: Scope, receive: Receive, send: Send) -> None:
    raise GatewayDisabled
