"""The route layer: which instance and route a path names, and what is answered without going further."""

from __future__ import annotations

import dataclasses

import pytest

from middleware.errors import GatewayError, ProviderDisabled, RouteNotSupported
from middleware.exchange import Exchange
from middleware.route import RouteMiddleware
from providers.registry import Registry
from tests.asgi import call, drive, http_scope
from tests.middleware.exchanges import ANTHROPIC_INSTANCE, COPILOT_INSTANCE, OPENAI_INSTANCE, Inward

DISABLED = dataclasses.replace(OPENAI_INSTANCE, name="resting", enabled=False)
REGISTRY = Registry([OPENAI_INSTANCE, ANTHROPIC_INSTANCE, COPILOT_INSTANCE, DISABLED])


@pytest.mark.parametrize(
    ("method", "path", "instance", "upstream_path", "api"),
    [
        ("POST", "/openai/v1/chat/completions", "openai", "/chat/completions", "chat_completions"),
        ("POST", "/openai/v1/responses", "openai", "/responses", "responses"),
        ("GET", "/openai/v1/models", "openai", "/models", None),
        ("GET", "/openai/v1/models/gpt-x", "openai", "/models/gpt-x", None),
        ("DELETE", "/openai/v1/conversations/c1/items", "openai", "/conversations/c1/items", None),
        ("GET", "/openai/v1/responses/r1", "openai", "/responses/r1", None),
        ("POST", "/anthropic/v1/messages", "anthropic", "/v1/messages", "messages"),
        ("POST", "/anthropic/v1/messages/count_tokens", "anthropic", "/v1/messages/count_tokens", None),
        ("POST", "/anthropic/api/event_logging/batch", "anthropic", "/api/event_logging/batch", None),
        ("POST", "/copilot/chat/completions", "copilot", "/chat/completions", "chat_completions"),
        ("POST", "/copilot/v1/messages", "copilot", "/v1/messages", "messages"),
        ("GET", "/copilot/_ping", "copilot", "/_ping", None),
        ("GET", "/copilot/.well-known/x", "copilot", "/.well-known/x", None),
    ],
)
async def test_a_listed_route_is_found(
    method: str, path: str, instance: str, upstream_path: str, api: str | None
) -> None:
    """Instance, upstream path and recorded format are known inside; no prefix or one of ours, all alike."""
    for prefix in ("", "/api/v2/ai-gateway", "/api/v2/aibridge"):
        inward = Inward()
        await call(RouteMiddleware(inward, locator=REGISTRY), http_scope(method, prefix + path))
        exchange = Exchange.of(inward.scope)
        assert exchange.provider is not None
        assert exchange.route is not None
        assert (exchange.provider.name, exchange.route.upstream_path) == (instance, upstream_path)
        assert (exchange.route.api.name if exchange.route.api else None) == api


@pytest.mark.parametrize(
    ("method", "target", "shown"),
    [
        ("POST", "/nobody/v1/messages", None),
        ("POST", "/openai/v1/embeddings", None),
        ("POST", "/openai/v1/chat/completions/", None),
        ("POST", "/openai/v1/chat/completionsx", None),
        ("POST", "/openai/chat/completions", None),
        ("POST", "/openai/v1", None),
        ("POST", "/openai", None),
        ("GET", "/openai/v1/chat/completions", None),
        ("DELETE", "/openai/v1/models/gpt-x", None),
        ("POST", "/anthropic/v1/complete", None),
        ("POST", "/anthropic/v1/organizations/invites", None),
        ("POST", "/OpenAI/v1/responses", None),
        ("GET", "/", None),
        ("POST", "/openai/v1/models/../responses", None),
        ("POST", "/openai/v1/%2e%2e/responses", "/openai/v1/../responses"),
        ("POST", "/openai//v1/responses", None),
        ("GET", "/openai/v1/models/a%2Fb", "/openai/v1/models/a/b"),
        ("GET", "/openai/v1/models/a%5Cb", "/openai/v1/models/a\\b"),
        ("GET", "/openai/v1/models/a;b", None),
    ],
)
async def test_what_no_instance_serves_is_refused(method: str, target: str, shown: str | None) -> None:
    """Only listed routes go out; the message names method and path as they were read."""
    inward = Inward()
    async with drive(RouteMiddleware(inward, locator=REGISTRY), http_scope(method, target)) as client:
        failure = await client.failed()
    assert isinstance(failure, RouteNotSupported)
    assert failure.message == f"route not supported: {method} {shown or target}"
    assert not inward.scopes


@pytest.mark.parametrize("path", ["/resting/v1/responses", "/resting/v1/unknown", "/resting"])
async def test_a_disabled_instance_says_so(path: str) -> None:
    """503 and its name, whatever the path below it, so that the operator is asked and not the client's settings."""
    inward = Inward()
    async with drive(RouteMiddleware(inward, locator=REGISTRY), http_scope("POST", path)) as client:
        failure = await client.failed()
    assert isinstance(failure, ProviderDisabled)
    assert failure.message == 'provider_disabled: AI provider "resting" is disabled'
    assert not inward.scopes


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    ["/anthropic", "/anthropic/", "/openai", "/openai/v1", "/openai/v1/", "/api/v2/ai-gateway/copilot"],
)
async def test_a_probe_is_answered_here(method: str, path: str) -> None:
    """A client that asks whether its base URL answers gets an empty 200, and nothing goes upstream."""
    inward = Inward()
    client = await call(RouteMiddleware(inward, locator=REGISTRY), http_scope(method, path))
    assert (client.status, client.header("content-length"), client.body) == (200, b"0", b"")
    assert client.complete
    assert not inward.scopes


async def test_a_host_header_cannot_steer() -> None:
    """`scope["path"]` decides, whatever the `Host` header would make of a URL."""
    inward = Inward()
    scope = http_scope("POST", "/openai/v1/models", headers=[("host", "x/openai/v1/responses?")])
    async with drive(RouteMiddleware(inward, locator=REGISTRY), scope) as client:
        assert isinstance(await client.failed(), GatewayError)
    assert not inward.scopes


async def test_the_instance_is_known_of_a_refused_request() -> None:
    """The access log can say whose route it was."""
    scope = http_scope("POST", "/openai/v1/unknown")
    async with drive(RouteMiddleware(Inward(), locator=REGISTRY), scope) as client:
        await client.failed()
    assert Exchange.of(scope).provider is OPENAI_INSTANCE
