"""The scripted provider: what it records, what it plays, in process and over a socket."""

from __future__ import annotations

import asyncio
import hashlib
import json

import anthropic as anthropic_sdk
import httpx
import openai as openai_sdk
import pytest
from anthropic.types import MessageParam
from openai.types.chat import ChatCompletionMessageParam

from tests.answers import anthropic, chat, responses
from tests.answers.agent import Agent
from tests.answers.turn import STREAM_HEADERS, ToolUse, Turn
from tests.asgi import call, drive, http_scope
from tests.servers import SERVERS, Server, serving
from tests.upstream import CUT, ConnectionCut, Reply, Upstream

each_server = pytest.mark.parametrize("server", SERVERS)

WEATHER = ToolUse("weather", '{"city": "Zürich", "days": 2}')
TURN = Turn(text="It is sunny in Zürich.", thought="Let me see.", tool=WEATHER, cached_tokens=7)


async def test_a_request_is_recorded_exactly() -> None:
    """Raw path, query, header order and duplicates, and the body's bytes and digest."""
    upstream = Upstream(Reply())
    headers = [("X-B", "1"), ("x-a", "2"), ("X-B", "3")]
    await call(upstream, http_scope("POST", "/v1/a%2Fb?c=d&e", headers=headers), [b'{"a": ', b"1.0}"])
    seen = await upstream.request()
    assert (seen.method, seen.raw_path, seen.query) == ("POST", b"/v1/a%2Fb", b"c=d&e")
    assert seen.headers == [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]
    assert (seen.header("X-A"), seen.values("x-b")) == ("2", [b"1", b"3"])
    assert (seen.body, seen.json) == (b'{"a": 1.0}', {"a": 1.0})
    assert seen.sha256 == hashlib.sha256(b'{"a": 1.0}').hexdigest()


async def test_answers_come_in_order_and_one_too_many_is_refused() -> None:
    """A request the script does not foresee gets an error that says so."""
    upstream = Upstream([Reply(201), lambda request: Reply(202)])
    upstream.then(Reply(203))
    statuses = [(await call(upstream, http_scope("GET", "/x"))).status for _ in range(4)]
    assert statuses == [201, 202, 203, 500]
    assert len(upstream.requests) == 4


async def test_a_gate_holds_the_stream_until_it_opens() -> None:
    """The test decides when the next chunk is produced."""
    gate = asyncio.Event()
    upstream = Upstream(Reply(chunks=[b"one", gate, b"two"]))
    async with drive(upstream, http_scope("POST")) as client:
        await client.message(1)
        assert client.chunks == [b"one"]
        gate.set()
        await client.completed()
    assert client.chunks == [b"one", b"two"]
    assert (await upstream.request()).answered.is_set()


async def test_a_client_that_leaves_is_noticed_while_the_stream_stalls() -> None:
    """`disconnected` tells a cancelled exchange from a finished one."""
    upstream = Upstream([Reply(chunks=[b"one", asyncio.Event(), b"two"]), Reply()])
    async with drive(upstream, http_scope("POST")) as client:
        await client.message(1)
        client.disconnect()
        await client.completed()
    assert (client.chunks, client.complete) == ([b"one"], False)
    finished = await call(upstream, http_scope("POST"))
    assert finished.complete
    left = [(seen.disconnected.is_set(), seen.answered.is_set()) for seen in upstream.requests]
    assert left == [(True, False), (False, True)]


async def test_a_cut_is_an_exception_in_process() -> None:
    """Without a socket, a broken connection shows as the provider's exception."""
    async with drive(Upstream(Reply(chunks=[b"one", CUT])), http_scope("POST")) as client:
        assert isinstance(await client.failed(), ConnectionCut)
    assert (client.body, client.complete) == (b"one", False)


@each_server
async def test_a_cut_is_an_answer_without_an_end_on_a_socket(server: Server) -> None:
    """The client gets the chunks and then a broken connection, not the end of a shorter answer."""
    upstream = Upstream(Reply(chunks=[b"one", CUT]))
    async with (
        serving(upstream, server) as base_url,
        httpx.AsyncClient() as client,
        client.stream("POST", base_url) as answer,
    ):
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"one"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


@each_server
async def test_a_client_that_leaves_is_noticed_on_a_socket(server: Server) -> None:
    """Closing the connection reaches the provider though it has nothing to send."""
    upstream = Upstream(Reply(chunks=[b"one", asyncio.Event()]))
    async with serving(upstream, server) as base_url, httpx.AsyncClient() as client:
        async with client.stream("POST", base_url) as answer:
            await anext(answer.aiter_raw())
        await asyncio.wait_for((await upstream.request()).disconnected.wait(), 5)


@each_server
async def test_chunks_leave_one_by_one_on_a_socket(server: Server) -> None:
    """The second chunk is made only after the first has arrived."""
    gate = asyncio.Event()
    upstream = Upstream(Reply(chunks=[b"one", gate, b"two"]))
    async with (
        serving(upstream, server) as base_url,
        httpx.AsyncClient() as client,
        client.stream("POST", base_url) as answer,
    ):
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"one"
        gate.set()
        assert await anext(chunks) == b"two"


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_anthropic_sdk_understands_a_message(streamed: bool) -> None:
    """The vendor's client finds thought, text, call and usage in a blocking and in a streamed message."""
    provider = serving(Upstream(anthropic.reply(TURN, streamed=streamed)))
    async with provider as url, anthropic_sdk.AsyncAnthropic(base_url=url, api_key="fake-key") as client:
        messages: list[MessageParam] = [{"role": "user", "content": "?"}]
        if streamed:
            async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                said = (await stream.get_final_message()).model_dump()
        else:
            said = (await client.messages.create(model="m", max_tokens=9, messages=messages)).model_dump()
    thought, text, call_ = said["content"]
    assert (thought["thinking"], text["text"]) == (TURN.thought, TURN.text)
    assert (call_["name"], call_["input"]) == ("weather", json.loads(WEATHER.input))
    assert (said["usage"]["input_tokens"], said["usage"]["output_tokens"]) == (100, 10)
    assert said["usage"]["cache_read_input_tokens"] == 7


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_openai_sdk_understands_a_completion(streamed: bool) -> None:
    """The vendor's client finds text, call and usage in a blocking and in a streamed completion."""
    provider = serving(Upstream(chat.reply(TURN, streamed=streamed)))
    async with provider as url, openai_sdk.AsyncOpenAI(base_url=url, api_key="fake-key") as client:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "?"}]
        if streamed:
            async with client.chat.completions.stream(model="m", messages=messages) as stream:
                said = (await stream.get_final_completion()).model_dump()
        else:
            said = (await client.chat.completions.create(model="m", messages=messages)).model_dump()
    answer = said["choices"][0]["message"]
    assert (answer["content"], said["choices"][0]["finish_reason"]) == (TURN.text, "tool_calls")
    assert answer["tool_calls"][0]["function"]["arguments"] == WEATHER.input
    assert (said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"]) == (107, 10)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_openai_sdk_understands_a_response(streamed: bool) -> None:
    """The vendor's client finds summary, text, call and usage in a blocking and in a streamed response."""
    provider = serving(Upstream(responses.reply(TURN, streamed=streamed)))
    async with provider as url, openai_sdk.AsyncOpenAI(base_url=url, api_key="fake-key") as client:
        if streamed:
            async with client.responses.stream(model="m", input="?") as stream:
                said = (await stream.get_final_response()).model_dump()
        else:
            said = (await client.responses.create(model="m", input="?")).model_dump()
    thought, text, call_ = said["output"]
    assert (thought["summary"][0]["text"], text["content"][0]["text"]) == (TURN.thought, TURN.text)
    assert (call_["name"], call_["arguments"]) == ("weather", WEATHER.input)
    assert (said["usage"]["input_tokens"], said["usage"]["output_tokens"]) == (107, 10)


async def test_the_sdks_understand_the_errors() -> None:
    """Each vendor's client makes its own exception of an error, of one in mid-stream too."""
    limit = anthropic.error(429, "rate_limit_error", "slow down", retry_after_s=7)
    broken = Reply(200, STREAM_HEADERS, [anthropic.error_event("overloaded_error", "busy")])
    upstream = Upstream([limit, broken, chat.error(500, "server_error", "oops")])
    async with (
        serving(upstream) as url,
        anthropic_sdk.AsyncAnthropic(base_url=url, api_key="fake-key", max_retries=0) as claude,
        openai_sdk.AsyncOpenAI(base_url=url, api_key="fake-key", max_retries=0) as gpt,
    ):
        with pytest.raises(anthropic_sdk.RateLimitError, match="slow down") as limited:
            await claude.messages.create(model="m", max_tokens=9, messages=[])
        assert limited.value.response.headers["retry-after"] == "7"
        with pytest.raises(anthropic_sdk.APIStatusError, match="busy"):
            async with claude.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
                await stream.get_final_message()
        with pytest.raises(openai_sdk.InternalServerError, match="oops"):
            await gpt.chat.completions.create(model="m", messages=[])


@pytest.mark.parametrize(
    ("path", "result"),
    [
        (
            "/v1/messages",
            {"messages": [{"content": [{"type": "tool_result", "tool_use_id": WEATHER.call_id}]}]},
        ),
        (
            "/model/m/invoke",
            {"messages": [{"content": [{"type": "tool_result", "tool_use_id": WEATHER.call_id}]}]},
        ),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "tool_call_id": WEATHER.call_id}]}),
        ("/v1/responses", {"input": [{"type": "function_call_output", "call_id": WEATHER.call_id}]}),
    ],
)
async def test_an_agent_calls_its_tool_and_answers_once_it_has_the_result(
    path: str, result: dict[str, object]
) -> None:
    """In each format the call comes first, the answer after the result, and only that to those without tools."""
    upstream = Upstream(Agent(WEATHER, "It is sunny."))
    bodies: list[dict[str, object]] = [{"tools": [{}]}, {"tools": [{}], **result}, {}]
    answers = [
        (await call(upstream, http_scope("POST", path), json.dumps(body).encode())).body for body in bodies
    ]
    assert [WEATHER.call_id.encode() in answer for answer in answers] == [True, False, False]
    assert [b"It is sunny." in answer for answer in answers] == [False, True, True]
