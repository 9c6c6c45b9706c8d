"""The gateway inside somebody's application: mounted where they like, with parts and layers of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import Gateway, create_app
from gateway.stack import LAYERS, Layer, StackError
from middleware.auth import AuthMiddleware
from middleware.errors import Forbidden, Unauthorized
from middleware.exchange import Exchange, Identity
from providers.secret import Secret
from tests.answers import anthropic, chat
from tests.answers.turn import Turn
from tests.asgi import call, http_scope
from tests.gateway.rig import (
    PREFIX,
    TOKEN,
    AppTransport,
    WatchedStore,
    client_of,
    gateway_settings,
    in_process,
)
from tests.servers import SERVERS, Server, serving
from tests.upstream import Received, Reply, Upstream

AUTHORIZATION = {"authorization": f"Bearer {TOKEN}"}
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def script(request: Received) -> Reply:
    turn = Turn(text="Hello")
    if request.path.endswith("messages"):
        return anthropic.reply(turn, streamed=False)
    return chat.reply(turn, streamed=False)


def gateway(upstream: Upstream, store: WatchedStore | None = None) -> Gateway:
    return create_app(gateway_settings(), store=store or WatchedStore(), transport=AppTransport(upstream))


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the host's own page")


def in_starlette(app: Gateway, path: str) -> ASGIApp:
    return Starlette(routes=[Route("/", home), Mount(path, app)], lifespan=app.lifespan)


def in_fastapi(app: Gateway, path: str) -> ASGIApp:
    host = FastAPI(lifespan=app.lifespan)
    host.get("/")(_home_of_fastapi)
    host.mount(path, app)
    return host


def _home_of_fastapi() -> str:
    return "the host's own page"


# -- where it stands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [in_starlette, in_fastapi])
@pytest.mark.parametrize("server", SERVERS)
async def test_a_host_mounts_the_gateway_and_runs_its_lifespan(host: Any, server: Server) -> None:
    """Under a real server: the host's pages beside the gateway's routes, and the records stored at the end."""
    upstream, store = Upstream(script), WatchedStore()
    async with (
        serving(host(gateway(upstream, store), "/ai"), server) as base_url,
        httpx.AsyncClient() as client,
    ):
        assert "the host's own page" in (await client.get(base_url)).text
        answer = await client.post(
            f"{base_url}/ai/openai/v1/chat/completions?a=1", content=BODY, headers=AUTHORIZATION
        )
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        probe = await client.head(f"{base_url}/ai/anthropic")
        assert probe.status_code == 200
        unknown = await client.get(f"{base_url}/ai/openai/v1/files", headers=AUTHORIZATION)
        assert unknown.json()["error"]["message"] == "route not supported: GET /ai/openai/v1/files"
    assert (upstream.requests[0].path, upstream.requests[0].query) == ("/v1/chat/completions", b"a=1")
    assert [end.outcome for end in store.ends] == ["completed"]
    assert (store.opened, store.closed) == (1, 1)


async def test_a_host_with_a_lifespan_of_its_own_enters_ours_inside_it() -> None:
    """Both run; ours ends first."""
    told: list[str] = []
    store = WatchedStore()
    app = gateway(Upstream(script), store)

    @asynccontextmanager
    async def lifespan(host: Starlette) -> AsyncIterator[None]:
        told.append("host up")
        async with app.lifespan(host):
            yield
        told.append(f"gateway closed {store.closed}")

    async with serving(Starlette(routes=[Mount("/ai", app)], lifespan=lifespan)) as base_url:
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                f"{base_url}/ai/anthropic/v1/messages", content=BODY, headers=AUTHORIZATION
            )
        assert answer.status_code == 200
    assert told == ["host up", "gateway closed 1"]


async def test_a_mounted_gateway_whose_lifespan_nobody_runs_says_so() -> None:
    """A mounted application's lifespan is the host's to run; forgetting it is an error and not a hanging request."""
    host = Starlette(routes=[Mount("/ai", gateway(Upstream()))])
    with pytest.raises(RuntimeError, match=r"lifespan=gateway_app\.lifespan"):
        await call(host, http_scope("GET", "/ai/openai/v1/models", headers=AUTHORIZATION.items()))


@pytest.mark.parametrize(
    ("prefix", "root_path"),
    [
        ("/api/v2/ai-gateway", ""),
        ("/api/v2/aibridge", ""),
        ("", ""),
        ("/gw", "/gw"),
        ("/gw/api/v2/ai-gateway", "/gw"),
        ("/gw/api/v2/aibridge", "/gw"),
        ("", "/stripped-by-a-proxy"),
        ("/api/v2/ai-gateway", "/stripped-by-a-proxy"),
    ],
)
async def test_each_prefix_leads_to_the_same_routes(prefix: str, root_path: str) -> None:
    """Canonical, legacy and none; below whatever `root_path` a host or a server says, taken off by a proxy or not."""
    async with in_process(Upstream(script)) as rig:
        for target, expected in (
            ("/openai/v1/chat/completions", "/v1/chat/completions"),
            ("/anthropic/v1/messages", "/v1/messages"),
        ):
            scope = http_scope("POST", prefix + target, root_path=root_path, headers=AUTHORIZATION.items())
            assert (await call(rig.app, scope, BODY)).status == 200
            assert rig.upstream.requests[-1].path == expected


@pytest.mark.parametrize(
    "prefix", ["/api/v2", "/api/v2/ai-gatewayx", "/api/v2/ai-gateway/nobody", "/gw", "/api"]
)
async def test_other_prefixes_lead_nowhere(prefix: str) -> None:
    """A path below something else names no provider."""
    async with in_process(Upstream()) as rig:
        scope = http_scope("POST", f"{prefix}/openai/v1/chat/completions", headers=AUTHORIZATION.items())
        client = await call(rig.app, scope, BODY)
    assert client.status == 404
    assert client.body.startswith(b'{"message":"route not supported: POST ')


# -- parts of the host's --------------------------------------------------------------------------------------------


class Badge:
    """An authenticator of a host: who shows the badge is let in under the name that it says."""

    async def authenticate(self, token: Secret) -> Identity:
        scheme, _, name = token.reveal_secret_value().partition(":")
        if scheme != "badge":
            raise Unauthorized("no badge")
        return Identity(f"id-of-{name}", name, "badge-1", "auditor")

    async def identify(self, api_key_id: str) -> Identity:
        raise Unauthorized("badges are shown, not named")


async def test_a_host_passes_its_own_authenticator_and_store() -> None:
    """The gateway's own settings for both are then not used, and no database is opened."""
    store = WatchedStore()
    app = create_app(
        gateway_settings(auth="database", database_url=Secret("sqlite:////nowhere/at/all.db")),
        authenticator=Badge(),
        store=store,
        transport=AppTransport(Upstream(script)),
    )
    async with app.lifespan(), client_of(app) as client:
        url = f"{PREFIX}/openai/v1/chat/completions"
        answer = await client.post(url, content=BODY, headers={"authorization": "Bearer badge:grace"})
        assert answer.status_code == 200
        assert (await client.post(url, content=BODY, headers=AUTHORIZATION)).status_code == 403
    (start,) = store.starts
    assert (start.initiator_id, start.metadata["username"]) == ("id-of-grace", "grace")
    assert (store.opened, store.closed, len(store.ends)) == (1, 1, 1)


async def test_a_transport_that_the_host_passed_is_the_hosts_to_close() -> None:
    """It may serve others too."""
    closed: list[str] = []

    class Shared(AppTransport):
        async def aclose(self) -> None:
            closed.append("closed")

    app = create_app(gateway_settings(), store=WatchedStore(), transport=Shared(Upstream(script)))
    async with app.lifespan(), client_of(app) as client:
        await client.post(f"{PREFIX}/openai/v1/chat/completions", content=BODY, headers=AUTHORIZATION)
    assert closed == []


class OnlySmallModels:
    """A layer of a host: it knows who calls and which model they want, and refuses some."""

    requires: ClassVar = frozenset({"caller", "facts"})
    provides: ClassVar = frozenset[str]()

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if exchange.facts is not None and exchange.facts.model == "large" and exchange.caller is not None:
            raise Forbidden(f"{exchange.caller.username} may not use large models")
        await self.app(scope, receive, send)


SMALL_ONLY = Layer(OnlySmallModels, lambda app, parts: OnlySmallModels(app), "a rule of the host's")


async def test_a_host_adds_a_layer_of_its_own() -> None:
    """It stands where the list has it, reads what the layers outside it found, and speaks by raising."""
    place = next(index for index, layer in enumerate(LAYERS) if layer.name == "InterceptionMiddleware")
    layers = [*LAYERS[:place], SMALL_ONLY, *LAYERS[place:]]
    upstream, store = Upstream(script), WatchedStore()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(upstream), layers=layers)
    async with app.lifespan(), client_of(app) as client:
        url = f"{PREFIX}/openai/v1/chat/completions"
        allowed = await client.post(url, content=b'{"model":"small"}', headers=AUTHORIZATION)
        refused = await client.post(url, content=b'{"model":"large"}', headers=AUTHORIZATION)
        assert allowed.status_code == 200
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "ada may not use large models"
    assert len(upstream.requests) == len(store.starts) == 1


def test_a_layer_of_the_hosts_in_the_wrong_place_is_refused() -> None:
    """It declares what it needs like ours do, and the check is the same."""
    with pytest.raises(StackError, match="OnlySmallModels needs `caller`, which AuthMiddleware sets"):
        create_app(gateway_settings(), store=WatchedStore(), layers=[SMALL_ONLY, *LAYERS])


def test_a_field_that_nobody_sets_is_refused() -> None:
    """A typing mistake in a declaration comes out at start-up."""

    class Misspelt(OnlySmallModels):
        requires: ClassVar = frozenset({"coller"})

    layer = Layer(Misspelt, lambda app, parts: Misspelt(app), "a mistake")
    with pytest.raises(StackError) as refused:
        create_app(gateway_settings(), store=WatchedStore(), layers=[*LAYERS, layer])
    assert str(refused.value) == (
        "Misspelt needs `coller`, which no layer of this stack sets: no known layer sets it"
    )


async def test_a_host_can_replace_a_layer() -> None:
    """Here everybody is let in as the same person: what matters is what a layer provides, not its class."""

    class Everybody:
        requires: ClassVar = AuthMiddleware.requires
        provides: ClassVar = AuthMiddleware.provides

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            Exchange.of(scope).caller = Identity("everybody", "everybody", "none")
            await self.app(scope, receive, send)

    everybody = Layer(Everybody, lambda app, parts: Everybody(app), "no accounts here")
    layers = [everybody if layer.kind is AuthMiddleware else layer for layer in LAYERS]
    store = WatchedStore()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(Upstream(script)), layers=layers)
    async with app.lifespan(), client_of(app) as client:
        answer = await client.post(f"{PREFIX}/openai/v1/chat/completions", content=BODY)
        assert answer.status_code == 200
    assert store.starts[0].initiator_id == "everybody"
