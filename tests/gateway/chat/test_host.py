"""A host application that mounts gateway, management API and chat service, with its own authenticator.

A control plane on Starlette that knows its users and keys, and has a tool that turns may call. It is served on a real
socket and asked over it; the provider behind it is on one too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import Gateway, create_app
from gateway.chat.api import chat_api
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import Ends, ModelName, ModelRouting
from gateway.chat.service import ChatService
from gateway.chat.store import ChatStore
from gateway.chat.tools import Tool
from gateway.settings import GatewayOptions, Settings
from middleware.auth import AuthMiddleware
from middleware.errors import ErrorsMiddleware, Unauthorized
from middleware.exchange import Identity
from middleware.telemetry import TelemetryMiddleware
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers import anthropic
from tests.answers.turn import ToolUse, Turn
from tests.gateway.rig import GOVERNANCE, holds
from tests.servers import SERVERS, Server, serving
from tests.upstream import Received, Reply, Upstream
from tests.waiting import PATIENCE_S, Changes

CENTRAL_KEY = "sk-ant-fake-central-key-of-the-organisation"
ANNA = Identity("host-user-1", "anna", "host-key-1")
BEN = Identity("host-user-2", "ben", "host-key-2", role="admin")
TOKENS = {"fake-session-of-anna": ANNA, "fake-session-of-ben": BEN}
AS_ANNA = {"authorization": "Bearer fake-session-of-anna"}
AS_BEN = {"authorization": "Bearer fake-session-of-ben"}
STRANGER = {"authorization": "Bearer fake-session-of-nobody"}


class People:
    """The control plane's own users, which it knows while it runs."""

    def __init__(self) -> None:
        self.tokens: dict[str, Identity] = {}

    async def authenticate(self, token: Secret) -> Identity:
        if (identity := self.tokens.get(token.reveal_secret_value())) is None:
            raise Unauthorized("no such session")
        return identity

    async def identify(self, api_key_id: str) -> Identity:
        for identity in self.tokens.values():
            if identity.api_key_id == api_key_id:
                return identity
        raise Unauthorized("no such key")


class Counted:
    """An application whose requests under way are counted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.under_way = 0
        self.changes = Changes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.under_way += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.under_way -= 1
            self.changes.notify()


class ControlPlane:
    """What a host writes to have all three under its own roof."""

    def __init__(self, provider_url: str, folder: Path) -> None:
        self.people = People()
        self.orders: list[tuple[str, str | None, str]] = []
        self.ai: Gateway = create_app(_settings(provider_url, folder), authenticator=self.people)
        assert self.ai.database is not None
        assert self.ai.provider_rows is not None
        self.chat = ChatService(
            store=ChatStore(self.ai.database, keys_elsewhere=True),
            routing=ModelRouting(
                mode=lambda: "gateway", providers=self.ai.provider_rows, ends=Ends(gateway=self.ai)
            ),
            models=ModelChoices(chat=ModelName("claude", "scripted-model")),
            tools=[Tool("order", "Order something.", {"type": "object"}, self._order)],
        )
        self.chats = Counted(
            ErrorsMiddleware(
                TelemetryMiddleware(AuthMiddleware(chat_api(self.chat), authenticator=self.people))
            )
        )
        self.app = Starlette(
            routes=[Route("/", _front_page), Mount("/ai", self.ai), Mount("/agents", self.chats)],
            lifespan=self._lifespan,
        )

    async def _order(self, turn: Any, arguments: dict[str, Any]) -> str:
        self.orders.append((turn.owner_id, turn.api_key_id, arguments["what"]))
        return "It comes tomorrow."

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.people.tokens = TOKENS
        async with self.ai.lifespan(), self.chat.running():
            yield
        self.people.tokens = {}


def _settings(provider_url: str, folder: Path) -> Settings:
    provider = ProviderOptions(
        type="anthropic", name="claude", base_url=provider_url, keys=(Secret(CENTRAL_KEY),)
    )
    return Settings(
        gateway=GatewayOptions(
            database_url=Secret(f"sqlite:///{folder}/host.db"),
            journal_dir=f"{folder}/journal",
            max_retries=0,
            providers=(provider,),
        )
    )


async def _front_page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the control plane")


def _provider(request: Received) -> Reply:
    """A title where one is asked for; else the tool is called, then the turn ends."""
    said = request.json
    if "name conversations" in str(said.get("system")):
        turn = Turn(text="Paper clips")
    elif "tool_result" in str(said["messages"][-1]["content"]):
        turn = Turn(text="They come tomorrow.")
    else:
        turn = Turn(text="I order them.", tool=ToolUse("order", '{"what": "paper clips"}'))
    return anthropic.reply(turn, streamed=said.get("stream", False))


@asynccontextmanager
async def _served(
    server: Server, folder: Path
) -> AsyncIterator[tuple[ControlPlane, Upstream, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        upstream = Upstream(_provider)
        host = ControlPlane(await stack.enter_async_context(serving(upstream)), folder)
        base_url = await stack.enter_async_context(serving(host.app, server))
        client = httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_S, trust_env=False)
        yield host, upstream, await stack.enter_async_context(client)


async def _events(client: httpx.AsyncClient, chat_id: str, end: str) -> list[dict[str, Any]]:
    """The stream's events until one has the title, and a turn has ended with `end` as its last words."""
    heard: list[dict[str, Any]] = []
    kinds: set[str] = set()
    async with client.stream("GET", f"/agents/chats/{chat_id}/stream", headers=AS_ANNA) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                heard.append(msgspec.json.decode(line.removeprefix("data: ")))
                kinds.add(heard[-1]["type"])
            over = any(end in str(event.get("parts")) for event in heard)
            if over and heard[-1].get("status") == "waiting":
                break
    return heard


@pytest.mark.parametrize("server", SERVERS)
async def test_a_turn_with_the_hosts_own_tool_runs_end_to_end(server: Server, tmp_path: Path) -> None:
    """Events come by SSE; the tool knows for whom it runs; the provider saw nothing of the gateway's."""
    async with _served(server, tmp_path) as (host, upstream, client):
        begun = await client.post("/agents/chats", json={"message": "Order paper clips"}, headers=AS_ANNA)
        assert begun.status_code == 201
        chat_id = begun.json()["id"]

        heard = await _events(client, chat_id, "They come tomorrow.")

        view = (await client.get(f"/agents/chats/{chat_id}", headers=AS_ANNA)).json()
        assert [one["role"] for one in view["messages"]] == ["user", "assistant", "tool", "assistant"]
        assert [one["id"] for one in heard if one["type"] == "message"] == [
            one["id"] for one in view["messages"]
        ]
        assert host.orders == [(ANNA.user_id, ANNA.api_key_id, "paper clips")]
        assert view["messages"][2]["parts"][0]["content"] == "It comes tomorrow."
        for request in upstream.requests:
            assert request.header("x-api-key") == CENTRAL_KEY
            assert request.header(GOVERNANCE) is None
            assert not any(name.lower().startswith(b"x-coder") for name, _ in request.headers)
            assert not holds(request, "fake-session-of")


@pytest.mark.parametrize("server", SERVERS)
async def test_the_management_api_shows_whose_turn_it_was(server: Server, tmp_path: Path) -> None:
    """Initiator, key, client and session, to those who may see them: BEN is an admin of the host's."""
    async with _served(server, tmp_path) as (host, _, client):
        begun = await client.post("/agents/chats", json={"message": "Order paper clips"}, headers=AS_ANNA)
        chat_id = begun.json()["id"]
        await _events(client, chat_id, "They come tomorrow.")
        assert await host.ai.drain.flush(PATIENCE_S)

        page = (await client.get("/ai/interceptions", headers=AS_BEN)).json()
        sessions = (await client.get("/ai/sessions", headers=AS_BEN)).json()

        assert len(page["interceptions"]) >= 2
        for one in page["interceptions"]:
            assert one["initiator"] == {"id": ANNA.user_id, "username": "anna"}
            assert (one["api_key_id"], one["client"], one["session_id"]) == (
                ANNA.api_key_id, "Coder Agents", chat_id,
            )  # fmt: skip
            assert one["credential_kind"] == "centralized"
        assert [one["id"] for one in sessions["sessions"]] == [chat_id]


@pytest.mark.parametrize("path", ["/agents/chats", "/ai/sessions", "/ai/claude/v1/models"])
async def test_the_hosts_authenticator_refuses_a_stranger(path: str, tmp_path: Path) -> None:
    """On all three, and the host's own pages stay as they are."""
    async with _served("hypercorn", tmp_path) as (_, upstream, client):
        assert (await client.get(path, headers=STRANGER)).status_code == 403
        assert (await client.get(path)).status_code == 400
        assert (await client.get("/")).text == "the control plane"
        assert upstream.requests == []


async def test_a_chat_is_unknown_to_the_hosts_other_users(tmp_path: Path) -> None:
    """An admin too: chats are what people wrote, and not records."""
    async with _served("hypercorn", tmp_path) as (_, _, client):
        chat = (await client.post("/agents/chats", json={}, headers=AS_ANNA)).json()

        answer = await client.get(f"/agents/chats/{chat['id']}", headers=AS_BEN)

        assert (answer.status_code, answer.json()) == (404, {"message": "There is no such chat."})


async def test_a_client_that_hangs_up_is_let_go(tmp_path: Path) -> None:
    """By what only a socket shows: its connection closes, and the request for its events is over."""
    async with _served("hypercorn", tmp_path) as (host, _, client):
        chat = (await client.post("/agents/chats", json={}, headers=AS_ANNA)).json()
        url = f"/agents/chats/{chat['id']}/stream"
        async with client.stream("GET", url, headers=AS_ANNA) as answer:
            await anext(answer.aiter_lines())
            assert host.chats.under_way == 1

        await host.chats.changes.until(lambda: host.chats.under_way == 0, "the end of the stream")


@pytest.mark.parametrize("server", SERVERS)
async def test_a_stream_ends_before_the_server_does(server: Server, tmp_path: Path) -> None:
    """A host that tells the service to take nothing new needs no patience with who only listens."""
    async with _served(server, tmp_path) as (host, _, client):
        chat = (await client.post("/agents/chats", json={}, headers=AS_ANNA)).json()
        async with client.stream("GET", f"/agents/chats/{chat['id']}/stream", headers=AS_ANNA) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: status"
            host.chat.refuse_new_messages()
            assert [line async for line in lines][-1] == ""
