"""The parts of the gateway as the settings ask for them: each function makes one.

A setting that a part won't take is a `SettingsError`, one sentence. Nothing here is opened; the lifespan does that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from gateway.accounts import DatabaseAuthenticator
from gateway.authenticators import HttpAuthenticator, StaticAuthenticator
from gateway.caching_authenticator import CachingAuthenticator
from gateway.settings import DEFAULT, GatewayOptions, Settings
from gateway.settings_error import SettingsError
from middleware.upstream import Timeouts, Upstream
from providers.base import ANY, Endpoint, Provider
from providers.options import ProviderOptions
from providers.registry import PROVIDER_TYPES, Registry
from recorders.disk_journal import DiskJournal
from recorders.journal import MEBIBYTE, Journal, MemoryJournal
from recorders.stores.database import Database
from recorders.stores.urls import database_for

if TYPE_CHECKING:
    from gateway.metrics.metrics import Metrics
    from middleware.auth import Authenticator

JOURNAL_FILE_BYTES: Final = 16 * MEBIBYTE
JOURNAL_RESERVE_BYTES: Final = 64 * MEBIBYTE
MEMORY_JOURNAL_BYTES: Final = 64 * MEBIBYTE


def database_from(options: GatewayOptions) -> Database:
    try:
        return database_for(options.database_url.reveal_secret_value())
    except ValueError as error:
        raise SettingsError(str(error)) from error


def journal_from(options: GatewayOptions) -> Journal:
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


def metrics_from(settings: Settings) -> Metrics | None:
    """None where nothing tells them: then nothing is counted."""
    if not settings.metrics_address and not settings.gateway.metrics_route:
        return None
    from gateway.metrics.metrics import Metrics  # noqa: PLC0415 - prometheus-client is loaded by those who count

    return Metrics(initiator=settings.gateway.metrics_initiator)


def transport_from(options: GatewayOptions) -> httpx.AsyncBaseTransport:
    if options.upstream_transport == "httpx":
        logging.getLogger("httpcore").setLevel(logging.INFO)  # its debug lines hold every header of an answer
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=15.0)
        return httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    from gateway.aiohttp_transport import AiohttpTransport  # noqa: PLC0415 - it loads slowly, and most commands don't call

    return AiohttpTransport(gather_s=options.gather_chunks_s)


def upstream_from(options: GatewayOptions, transport: httpx.AsyncBaseTransport) -> Upstream:
    return Upstream(
        transport,
        timeouts=Timeouts(
            connect_s=options.connect_timeout_s,
            first_byte_s=options.first_byte_timeout_s,
            idle_s=options.idle_timeout_s,
            total_s=options.total_timeout_s,
        ),
        on_client_left=options.client_left,
        drain_s=options.client_left_drain_timeout_s,
    )


def registry_from(options: GatewayOptions) -> Registry:
    """Raises `ValueError`, as a `SettingsError` where an instance lacks something."""
    return Registry(provider_from(given, options) for given in options.providers)


def provider_from(given: ProviderOptions, options: GatewayOptions) -> Provider:
    if given.on_bedrock:
        from gateway.bedrock_instance import bedrock_provider  # noqa: PLC0415 - its imports are for this case alone

        return bedrock_provider(given, options.bedrock_beta_flags)
    kind = PROVIDER_TYPES[given.type]
    return Provider(
        type=kind,
        name=given.name,
        base_url=given.base_url or kind.default_base_url,
        keys=given.keys,
        enabled=given.enabled,
        extra_endpoints=tuple(Endpoint(ANY, path) for path in options.extra_routes.get(given.type, ())),
    )


def authenticator_from(
    options: GatewayOptions, *, transport: httpx.AsyncBaseTransport, database: Database | None
) -> Authenticator:
    """Who knows the callers. `database` is needed for `auth: database` only."""
    inner: Authenticator
    if options.auth == "static":
        if not options.static_token:
            raise SettingsError("auth is static, but static_token is empty: give the one token")
        return StaticAuthenticator(options.static_token, options.static_user)
    if options.auth == "http":
        if not options.auth_url:
            raise SettingsError("auth is http, but auth_url is empty: give the control plane's URL")
        inner = HttpAuthenticator(options.auth_url, transport=transport, timeout_s=options.auth_timeout_s)
    elif database is not None:
        inner = DatabaseAuthenticator(database)
    else:
        raise RuntimeError("auth is database, and no database was made")
    return CachingAuthenticator(
        inner,
        ttl_s=options.auth_cache_ttl_s,
        grace_s=options.auth_grace_s,
        timeout_s=options.auth_timeout_s,
    )


def warnings_for(settings: Settings, *, own_store: bool) -> Iterator[str]:
    """What an operator should know at start-up, a sentence each."""
    options = settings.gateway
    if options.dump_dir:
        yield f"dumps are on: files below {options.dump_dir} will hold prompts and answers"
    if options.trace_prompts:
        yield (
            "trace_prompts is on: the collector of traces will hold prompts"
            if options.otlp_endpoint
            else "trace_prompts is set without otlp_endpoint: there are no traces"
        )
    if not options.providers and options.enabled:
        yield "no provider is configured: every request will be answered 404"
    if not own_store and settings.origin("retention") != DEFAULT:
        yield "retention is set, but the store is the host's, which deletes old records itself"
    for provider in options.providers:
        if provider.on_bedrock and (provider.keys or provider.base_url):
            yield f'provider "{provider.name}" is on Amazon Bedrock: its key and base URL for Anthropic are not used'
    if options.chat_enabled and not options.chat_model:
        yield "chat_enabled is set without chat_model: each chat has to name a model"
