"""Calling the gateway in process on behalf of a key's owner: who one is then, and what nobody can pretend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from gateway.accounts import Accounts, ApiKey
from gateway.app import Gateway, create_app
from gateway.transport import DelegationRequired, GatewayTransport
from providers.secret import Secret
from tests.answers import anthropic, chat
from tests.answers.turn import Turn
from tests.gateway.rig import (
    CENTRAL_KEYS,
    GOVERNANCE,
    KEY_ID,
    PREFIX,
    TOKEN,
    USER_KEY,
    AppTransport,
    Rig,
    WatchedStore,
    client_of,
    gateway_settings,
    holds,
    in_process,
)
from tests.upstream import CUT, Reply, Upstream
from tests.waiting import PATIENCE_S

each_library = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

GREETING = Turn(text="Hello there")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'


def delegate(app: Gateway, library: Any = httpx, *, key_id: str = KEY_ID, provider: str = "openai") -> Any:
    """A client of either library that calls for the owner of `key_id`."""
    transport = GatewayTransport(app, provider=provider, api_key_id=key_id, source="tests")
    return library.AsyncClient(transport=transport, base_url="http://ai-gateway", timeout=None)


@dataclass(slots=True)
class Keyed:
    """A gateway that knows its users and keys from a database, and one key of one user."""

    rig: Rig
    accounts: Accounts
    key: ApiKey
    token: str


@asynccontextmanager
async def with_database(folder: Path, *replies: Reply) -> AsyncIterator[Keyed]:
    settings = gateway_settings(
        auth="database",
        database_url=Secret(f"sqlite:///{folder / 'gateway.db'}"),
        auth_cache_ttl_s=0.0,
        auth_grace_s=0.0,
    )
    upstream, store = Upstream(replies), WatchedStore()
    app = create_app(settings, store=store, transport=AppTransport(upstream))
    async with app.lifespan():
        assert app.database is not None
        accounts = Accounts(app.database)
        await accounts.create_user("grace")
        made = await accounts.create_key("grace")
        rig = Rig(app, upstream, store, "http://gateway.test")
        yield Keyed(rig, accounts, made.key, made.token.reveal_secret_value())


# -- who one is -----------------------------------------------------------------------------------------------------


@each_library
async def test_a_call_is_made_for_the_owner_of_the_key_without_its_secret(
    library: Any, tmp_path: Path
) -> None:
    """The record names the user and the key, and the organisation's credential goes upstream."""
    async with with_database(tmp_path, chat.reply(GREETING, streamed=False)) as keyed:
        async with delegate(keyed.rig.app, library, key_id=keyed.key.id) as client:
            answer = await client.post("/v1/chat/completions", content=BODY)
        assert answer.json()["choices"][0]["message"]["content"] == GREETING.text
        (request,) = keyed.rig.upstream.requests
        assert request.header("authorization") == f"Bearer {CENTRAL_KEYS['openai']}"
        (start,) = (await keyed.rig.settled()).starts
    assert (start.initiator_id, start.api_key_id) == (keyed.key.user_id, keyed.key.id)
    assert (start.metadata["username"], start.credential_kind) == ("grace", "centralized")


async def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    """Whoever acts for its owner loses the right together with the owner."""
    async with with_database(tmp_path) as keyed:
        await keyed.accounts.revoke_key(keyed.key.id)
        await _assert_refused(keyed, keyed.key.id)


async def test_a_suspended_user_is_refused(tmp_path: Path) -> None:
    """The key is alive, its user is not active."""
    async with with_database(tmp_path) as keyed:
        await keyed.accounts.suspend_user("grace")
        await _assert_refused(keyed, keyed.key.id)


async def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """So is a whole token in the place of a key's ID."""
    async with with_database(tmp_path) as keyed:
        await _assert_refused(keyed, "nosuchkey0")
        await _assert_refused(keyed, keyed.token)


async def _assert_refused(keyed: Keyed, key_id: str) -> None:
    async with delegate(keyed.rig.app, key_id=key_id) as client:
        answer = await client.post("/v1/chat/completions", content=BODY)
    assert (answer.status_code, answer.json()["error"]["message"]) == (403, "unauthorized")
    assert keyed.rig.upstream.requests == []


def test_a_transport_without_a_key_is_refused_when_it_is_made() -> None:
    """Nobody calls for nobody; and a provider must be named."""
    app = create_app(gateway_settings(), store=WatchedStore())
    with pytest.raises(DelegationRequired, match="api_key_id must name the API key"):
        GatewayTransport(app, provider="openai", api_key_id="")
    with pytest.raises(ValueError, match="provider must name an instance"):
        GatewayTransport(app, provider="", api_key_id=KEY_ID)


async def test_a_token_that_a_delegated_caller_sends_counts_for_nothing() -> None:
    """Who one is, the transport says; a bearer is a placeholder that SDKs insist on, and goes nowhere."""
    async with in_process(Upstream(chat.reply(GREETING, streamed=False))) as rig, delegate(rig.app) as client:
        answer = await client.post(
            "/v1/chat/completions", content=BODY, headers={"authorization": "Bearer fake-placeholder"}
        )
        assert answer.status_code == 200
        assert not holds(rig.upstream.requests[0], "fake-placeholder")


# -- BYOK -----------------------------------------------------------------------------------------------------------


@each_library
async def test_the_word_delegated_marks_a_call_with_the_users_own_key(library: Any) -> None:
    """The provider's auth headers survive, the marker does not."""
    upstream = Upstream(anthropic.reply(GREETING, streamed=False))
    async with in_process(upstream) as rig, delegate(rig.app, library, provider="anthropic") as client:
        headers = {GOVERNANCE: "delegated", "x-api-key": USER_KEY}
        answer = await client.post("/v1/messages", content=BODY, headers=headers)
        assert answer.status_code == 200
        (request,) = upstream.requests
        assert request.values("x-api-key") == [USER_KEY.encode()]
        assert request.values(GOVERNANCE) == []
        assert not holds(request, CENTRAL_KEYS["anthropic"])
        (start,) = (await rig.settled()).starts
    assert (start.credential_kind, start.api_key_id) == ("byok", KEY_ID)


async def test_a_delegated_caller_can_not_send_somebodys_governance_token() -> None:
    """Two identities in one call are one too many, also when the token is good."""
    async with in_process(Upstream()) as rig, delegate(rig.app) as client:
        answer = await client.post("/v1/chat/completions", content=BODY, headers={GOVERNANCE: TOKEN})
        assert (answer.status_code, rig.upstream.requests) == (403, [])


@pytest.mark.parametrize("header", [GOVERNANCE, "authorization", "x-api-key"])
async def test_from_a_network_the_word_delegated_is_a_wrong_token(header: str) -> None:
    """In whatever header it comes."""
    value = "Bearer delegated" if header == "authorization" else "delegated"
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:
        answer = await client.post(
            f"{PREFIX}/openai/v1/chat/completions", content=BODY, headers={header: value}
        )
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, "unauthorized")
        assert rig.upstream.requests == []


# -- streaming ------------------------------------------------------------------------------------------------------


@each_library
async def test_a_stream_comes_chunk_by_chunk(library: Any) -> None:
    """From the provider, through the gateway, into the caller's hands before the next is made."""
    chunks = anthropic.events(GREETING)
    gates = [asyncio.Event() for _ in chunks]
    steps = [step for pair in zip(chunks, gates, strict=True) for step in pair]
    upstream = Upstream(Reply(200, [(b"content-type", b"text/event-stream")], steps))
    async with (
        in_process(upstream) as rig,
        delegate(rig.app, library, provider="anthropic") as client,
        client.stream("POST", "/v1/messages?beta=true", content=STREAM) as answer,
    ):
        arriving = answer.aiter_raw()
        for chunk, gate in zip(chunks, gates, strict=True):
            assert await anext(arriving) == chunk
            gate.set()
        assert [rest async for rest in arriving] == []
    assert (upstream.requests[0].path, upstream.requests[0].query) == ("/v1/messages", b"beta=true")


@each_library
async def test_a_body_that_is_streamed_in_arrives_whole(library: Any) -> None:
    """The caller need not have it in one piece."""

    async def pieces() -> AsyncIterator[bytes]:
        yield BODY[:10]
        yield BODY[10:]

    upstream = Upstream(chat.reply(GREETING, streamed=False))
    async with in_process(upstream) as rig, delegate(rig.app, library) as client:
        await client.post("/v1/chat/completions", content=pieces())
    assert upstream.requests[0].body == BODY


@each_library
async def test_closing_the_answer_closes_the_providers(library: Any) -> None:
    """And the record says that the client left."""
    first, *_ = anthropic.events(GREETING)
    upstream = Upstream(Reply(200, [(b"content-type", b"text/event-stream")], [first, asyncio.Event()]))
    async with in_process(upstream) as rig, delegate(rig.app, library, provider="anthropic") as client:
        async with client.stream("POST", "/v1/messages", content=STREAM) as answer:
            assert await anext(answer.aiter_raw()) == first
        await asyncio.wait_for(upstream.requests[0].disconnected.wait(), PATIENCE_S)
        (end,) = (await rig.ended()).ends
    assert end.outcome == "client_left"


@each_library
@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "in mid-answer"])
async def test_cancelling_the_caller_closes_the_providers_connection(library: Any, begun: bool) -> None:
    """A chat that is stopped stops what it costs."""
    steps: list[Any] = [anthropic.events(GREETING)[0], asyncio.Event()]
    reply = Reply(200, [(b"content-type", b"text/event-stream")], steps if begun else steps[1:])
    upstream = Upstream(reply)
    async with in_process(upstream) as rig, delegate(rig.app, library, provider="anthropic") as client:
        caller = asyncio.create_task(client.post("/v1/messages", content=STREAM))
        request = await upstream.request(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.wait_for(request.disconnected.wait(), PATIENCE_S)
        (end,) = (await rig.ended()).ends
    assert end.outcome == "client_left"


@each_library
async def test_a_provider_that_breaks_in_mid_answer_breaks_the_callers_stream(library: Any) -> None:
    """The caller gets an error and never takes the part for the whole."""
    first, *_ = anthropic.events(GREETING)
    upstream = Upstream(Reply(200, [(b"content-type", b"text/event-stream")], [first, CUT]))
    async with in_process(upstream) as rig, delegate(rig.app, library, provider="anthropic") as client:
        async with client.stream("POST", "/v1/messages", content=STREAM) as answer:
            arriving = answer.aiter_raw()
            assert await anext(arriving) == first
            with pytest.raises(library.RemoteProtocolError, match="broke off"):
                await anext(arriving)
        (end,) = (await rig.ended()).ends
    assert (end.outcome, end.error_type) == ("upstream_failed", "UpstreamBroke")


async def test_our_own_errors_come_as_answers() -> None:
    """A route that is not served is a 404 with a message, as over a network."""
    async with in_process(Upstream()) as rig, delegate(rig.app) as client:
        answer = await client.get("/v1/files")
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404,
        "route not supported: GET /openai/v1/files",
    )


async def test_a_gateway_below_a_root_path_is_called_there() -> None:
    """The path in messages and logs is then the one that everybody else uses."""
    async with in_process(Upstream()) as rig:
        transport = GatewayTransport(rig.app, provider="openai", api_key_id=KEY_ID, root_path="/gw")
        client: Any = httpx.AsyncClient
        async with client(transport=transport, base_url="http://ai-gateway") as delegated:
            answer = await delegated.get("/v1/files")
    assert answer.json()["error"]["message"] == "route not supported: GET /gw/openai/v1/files"
