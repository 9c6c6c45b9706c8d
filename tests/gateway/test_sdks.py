"""The official SDKs complete their turns through the gateway, over real sockets and in process, in both modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anthropic
import openai
import pytest

from tests.answers.turn import ToolUse, Turn
from tests.gateway import sdk_clients
from tests.gateway.rig import CENTRAL_KEYS, TOKEN, USER, USER_KEY, Rig, holds, in_process, on_sockets
from tests.gateway.sdk_clients import MODEL, TOOL, TOOL_RESULT, WAYS, Connect, Sdk, SdkError, Way
from tests.servers import SERVERS, Server
from tests.upstream import Received, Reply, Upstream

APIS = {"messages": sdk_clients.messages, "chat": sdk_clients.chat, "responses": sdk_clients.responses}

each_way = pytest.mark.parametrize("way", WAYS)
each_api = pytest.mark.parametrize("connect", APIS.values(), ids=APIS)
each_mode = pytest.mark.parametrize("byok", [False, True], ids=["centralized", "byok"])

GREETING = Turn(text="Hello there from the model", input_tokens=12, cached_tokens=3, output_tokens=7)
CALL = Turn(tool=ToolUse(TOOL, '{"city": "Turin"}'), response_id="resp_tool")


@pytest.fixture(autouse=True)
def no_vendor_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keys and addresses the developer has must not reach these clients."""
    for vendor in ("OPENAI", "ANTHROPIC"):
        for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS"):
            monkeypatch.delenv(f"{vendor}_{name}", raising=False)


@dataclass(slots=True)
class Bench:
    """An SDK, the gateway it calls, and the provider behind that."""

    rig: Rig
    sdk: Sdk
    byok: bool

    @property
    def upstream(self) -> Upstream:
        return self.rig.upstream

    def saw(self, index: int = 0) -> Received:
        """What the provider got, after checking what is true of every request."""
        request = self.upstream.requests[index]
        assert (request.method, request.path) == ("POST", self.sdk.path)
        credential = USER_KEY if self.byok else CENTRAL_KEYS[self.sdk.provider]
        bearer, key = request.values("authorization"), request.values("x-api-key")
        if self.byok or self.sdk.provider == "openai":  # the SDKs of both vendors send their key as a bearer
            assert (bearer, key) == ([f"Bearer {credential}".encode()], [])
        else:
            assert (bearer, key) == ([], [credential.encode()])
        assert not holds(request, TOKEN)
        assert not [name for name, _ in request.headers if name.startswith(b"x-coder")]
        assert request.header("user-agent") is not None
        assert request.header("x-stainless-lang") == "python"
        assert request.header("accept-encoding") == "identity"
        return request


@asynccontextmanager
async def bench(way: Way, connect: Connect, byok: bool, *script: Reply) -> AsyncIterator[Bench]:
    upstream = Upstream(script)
    running = in_process(upstream) if way == "in process" else on_sockets(upstream, way)
    async with running as rig, connect(rig, way, byok=byok) as sdk:
        yield Bench(rig, sdk, byok)


def scripted(connect: Connect, turn: Turn, *, streamed: bool = False) -> Reply:
    return _api(connect).reply(turn, streamed=streamed)


def _api(connect: Connect) -> type[Sdk]:
    kinds = {
        sdk_clients.messages: sdk_clients.Messages,
        sdk_clients.chat: sdk_clients.Chat,
        sdk_clients.responses: sdk_clients.Responses,
    }
    return cast("type[Sdk]", kinds[cast("Any", connect)])


@each_way
@each_api
@each_mode
async def test_a_blocking_turn_comes_back_and_is_recorded(way: Way, connect: Connect, byok: bool) -> None:
    """The text arrives, the provider gets the very body of the SDK, and each fact is in the store."""
    async with bench(way, connect, byok, scripted(connect, GREETING)) as b:
        assert await b.sdk.ask("Say hello") == GREETING.text
        assert b.saw().body == b.sdk.bodies[0]
        store = await b.rig.settled()
        (start,), (end,), (usage,), (prompt,) = store.starts, store.ends, store.token_usages, store.prompts
    hint = USER_KEY if byok else CENTRAL_KEYS[b.sdk.provider]
    assert (start.provider_name, start.model, start.api_key_id) == (b.sdk.provider, MODEL, "static")
    assert start.metadata["username"] == USER
    assert start.credential_kind == ("byok" if byok else "centralized")
    assert start.credential_hint == end.credential_hint == f"{hint[:4]}...{hint[-4:]}"
    assert (end.outcome, end.status) == ("completed", 200)
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (12, 3, 7)
    assert prompt.prompt == "Say hello"


@each_way
@each_api
@each_mode
async def test_a_streamed_turn_comes_back_and_is_recorded(way: Way, connect: Connect, byok: bool) -> None:
    """Every piece of text arrives, in order; only Chat completions gets the edit that asks for its usage."""
    async with bench(way, connect, byok, scripted(connect, GREETING, streamed=True)) as b:
        pieces = [piece async for piece in b.sdk.stream("Say hello")]
        assert [piece for piece in pieces if piece] == GREETING.text_pieces
        asked = b.sdk.bodies[0]
        if connect is sdk_clients.chat:
            asked = b'{"stream_options":{"include_usage":true},' + asked[1:]
        assert b.saw().body == asked
        store = await b.rig.settled()
    (end,), (usage,), (prompt,) = store.ends, store.token_usages, store.prompts
    assert (end.outcome, end.status, prompt.prompt) == ("completed", 200, "Say hello")
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (12, 3, 7)


@each_way
@each_api
@each_mode
async def test_a_tool_call_and_its_answer(way: Way, connect: Connect, byok: bool) -> None:
    """The model's call reaches the SDK, the SDK's result reaches the model, and the records are tied to each other."""
    script = scripted(connect, CALL), scripted(connect, GREETING)
    async with bench(way, connect, byok, *script) as b:
        assert await b.sdk.ask_with_tool("What is the weather in Turin?") == GREETING.text
        assert [b.saw(0).body, b.saw(1).body] == b.sdk.bodies
        assert TOOL_RESULT.encode() in b.saw(1).body
        store = await b.rig.settled()
    (called,) = store.tool_usages
    first, second = store.starts
    assert (called.interception_id, called.tool, called.tool_call_id) == (
        first.interception_id,
        TOOL,
        "call_scripted_1",
    )
    assert called.input.replace(" ", "") == '{"city":"Turin"}'
    assert (first.correlating_tool_call_id, second.correlating_tool_call_id) == (None, "call_scripted_1")
    assert [end.outcome for end in store.ends] == ["completed", "completed"]


@each_way
@each_api
@each_mode
async def test_an_error_of_the_vendor_is_the_sdks_own_error(way: Way, connect: Connect, byok: bool) -> None:
    """Status and message of the vendor reach the caller as the type that the SDK has for them."""
    error = _api(connect).error(429, "rate_limit_error", "slow down, says the vendor")
    async with bench(way, connect, byok, error) as b:
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
            await b.sdk.ask("Say hello")
        b.saw()
        store = await b.rig.settled()
    refused = cast("SdkError", raised.value)
    assert "slow down, says the vendor" in str(refused)
    assert refused.response.headers["x-request-id"] == "req_scripted"
    (end,) = store.ends
    assert (end.outcome, end.status, end.error_message) == (
        "upstream_failed",
        429,
        "slow down, says the vendor",
    )


@each_way
@each_api
@each_mode
async def test_a_stream_that_is_closed_early_closes_the_providers(
    way: Way, connect: Connect, byok: bool
) -> None:
    """After two events the caller has enough: the provider hears of it at once, and the record says so."""
    whole = scripted(connect, GREETING, streamed=True)
    steps = list(whole.chunks)
    reply = Reply(whole.status, whole.headers, [*steps[:3], asyncio.Event(), *steps[3:]])
    async with bench(way, connect, byok, reply) as b:
        async with aclosing(cast("Any", b.sdk.stream("Say hello"))) as events:
            await anext(events)
            await anext(events)
        await asyncio.wait_for(b.saw().disconnected.wait(), 5)
        store = await b.rig.ended()
        assert not b.saw().answered.is_set()
    (end,) = store.ends
    assert (end.outcome, end.status, end.error_type) == ("client_left", 200, None)


@pytest.mark.parametrize("way", SERVERS)
@each_api
async def test_a_bad_token_is_the_sdks_own_error(way: Server, connect: Connect) -> None:
    """Our refusals are worded as the vendor words its own, so that the SDK shows their message."""
    async with on_sockets(Upstream(), way) as rig, connect(rig, way, byok=False, token="wrong-token") as sdk:
        with pytest.raises((openai.PermissionDeniedError, anthropic.PermissionDeniedError)) as raised:
            await sdk.ask("Say hello")
        assert not rig.upstream.requests
        assert not (await rig.settled()).records
    assert "unauthorized" in str(raised.value)


@pytest.mark.parametrize("way", SERVERS)
async def test_the_synchronous_clients_work_as_well(way: Server) -> None:
    """A blocking and a streamed turn from threads, over sockets: the way most scripts begin."""
    script = (
        sdk_clients.Chat.reply(GREETING, streamed=False),
        sdk_clients.Messages.reply(GREETING, streamed=True),
    )

    def converse(rig: Rig) -> tuple[str | None, str]:
        with openai.OpenAI(base_url=rig.url("openai", "/v1"), api_key=TOKEN, max_retries=0) as client:
            completion = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Say hello"}]
            )
        with (
            anthropic.Anthropic(base_url=rig.url("anthropic"), auth_token=TOKEN, max_retries=0) as claude,
            claude.messages.stream(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Say hello"}]
            ) as stream,
        ):
            return completion.choices[0].message.content, "".join(stream.text_stream)

    async with on_sockets(Upstream(script), way) as rig:
        assert await asyncio.to_thread(converse, rig) == (GREETING.text, GREETING.text)
        store = await rig.settled()
        assert not any(holds(request, TOKEN) for request in rig.upstream.requests)
    assert [(end.outcome, end.status) for end in store.ends] == [("completed", 200)] * 2
