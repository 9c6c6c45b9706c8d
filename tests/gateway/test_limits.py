"""The limits in the whole gateway: as the settings ask, in each client's shape, out of the way where they are off."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from starlette.types import ASGIApp

from gateway.app import create_app
from gateway.authenticators import StaticAuthenticator
from gateway.parts import Parts
from gateway.stack import LAYERS, Layer
from middleware.limits import LimitsMiddleware
from providers.registry import Registry
from providers.secret import Secret
from tests.answers import chat
from tests.answers.turn import Turn
from tests.asgi import drive, http_scope
from tests.gateway.rig import (
    CENTRAL_KEYS,
    PREFIX,
    TOKEN,
    USER,
    AppTransport,
    WatchedStore,
    client_of,
    gateway_settings,
    in_process,
)
from tests.upstream import Reply, Upstream

AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}"}
BODIES: Final = {
    "/openai/v1/chat/completions": b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    "/anthropic/v1/messages": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}',
}
KINDS: Final = {
    (429, "/openai/v1/chat/completions"): "rate_limit_error",
    (429, "/anthropic/v1/messages"): "rate_limit_error",
    (503, "/openai/v1/chat/completions"): "server_error",
    (503, "/anthropic/v1/messages"): "overloaded_error",
}


def built(**changes: Any) -> ASGIApp:
    """What the stack makes of the layer's line with these settings."""
    (line,) = (layer for layer in LAYERS if layer.kind is LimitsMiddleware)
    options = gateway_settings(**changes).gateway
    known = StaticAuthenticator(Secret(TOKEN), USER)
    return line.build(Upstream(), Parts(options, Registry([]), known, WatchedStore()))


@pytest.mark.parametrize(
    ("changes", "there"), [({}, False), ({"max_concurrency": 1}, True), ({"rate_limit": 1}, True)]
)
def test_the_layer_is_there_only_where_a_limit_is_set(changes: dict[str, int], there: bool) -> None:
    """Who sets none pays for none."""
    assert isinstance(built(**changes), LimitsMiddleware) is there


@pytest.mark.parametrize("path", BODIES)
async def test_a_full_gateway_answers_503_in_the_providers_shape_and_records_nothing(path: str) -> None:
    """A stream that has begun holds the one slot until it ends; a probe is answered all the while."""
    gate = asyncio.Event()
    upstream = Upstream(
        [Reply(200, [(b"content-type", b"text/event-stream")], [b": one\n\n", gate]), Reply(200)]
    )
    async with in_process(upstream, max_concurrency=1) as rig, client_of(rig.app) as client:
        scope = http_scope("POST", PREFIX + path, headers=AUTHORIZATION.items())
        async with drive(rig.app, scope, body=BODIES[path]) as stream:
            await stream.message(1)
            refused = await client.post(PREFIX + path, content=BODIES[path], headers=AUTHORIZATION)
            probe = await client.head(f"{PREFIX}/anthropic")
            gate.set()
            await stream.completed()
        served = await client.get(f"{PREFIX}/openai/v1/models", headers=AUTHORIZATION)
        store = await rig.ended()
    error = refused.json()["error"]
    assert (refused.status_code, error["type"]) == (503, KINDS[503, path])
    assert error["message"] == "AI Gateway is currently at capacity. Please try again later."
    assert (probe.status_code, served.status_code) == (200, 200)
    assert len(store.starts) == 1
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("path", BODIES)
async def test_a_key_above_its_rate_gets_429_in_the_providers_shape(path: str) -> None:
    """With `Retry-After`; the provider hears of it as little as the records do."""
    still = tuple(
        Layer(
            layer.kind,
            lambda app, p: LimitsMiddleware(app, rate_limit=p.options.rate_limit, clock=lambda: 0.0),
            layer.why,
        )
        if layer.kind is LimitsMiddleware
        else layer
        for layer in LAYERS
    )
    upstream, store = Upstream(lambda request: chat.reply(Turn(text="Hello"), streamed=False)), WatchedStore()
    app = create_app(
        gateway_settings(rate_limit=2), store=store, transport=AppTransport(upstream), layers=still
    )
    async with app.lifespan(), client_of(app) as client:
        models = await client.get(f"{PREFIX}/openai/v1/models", headers=AUTHORIZATION)
        first, second = [
            await client.post(PREFIX + path, content=BODIES[path], headers=AUTHORIZATION) for _ in range(2)
        ]
    assert [answer.status_code for answer in (models, first, second)] == [200, 200, 429]
    error = second.json()["error"]
    assert (second.headers["retry-after"], error["type"]) == ("1", KINDS[429, path])
    assert error["message"] == "You've been rate limited. Please try again later."
    assert len(upstream.requests) == 2
    assert len(store.starts) == 1
    assert all(key not in second.text for key in CENTRAL_KEYS.values())
