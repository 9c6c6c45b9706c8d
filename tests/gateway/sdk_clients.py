"""The three recorded APIs as the vendors' own SDKs speak them, each behind the same few verbs.

    async with chat(rig, "in process", byok=False) as api:
        assert await api.ask("Hello") == "..."

`bodies` holds what each request's body was when it left the SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast

import anthropic
import httpx2
import openai

from gateway.transport import GatewayTransport
from tests.answers import anthropic as messages_answers
from tests.answers import chat as chat_answers
from tests.answers import responses as responses_answers
from tests.answers.turn import Turn
from tests.gateway.rig import GOVERNANCE, KEY_ID, TOKEN, USER_KEY, Rig
from tests.upstream import Reply

Way: TypeAlias = Literal["in process", "hypercorn", "uvicorn"]
WAYS: tuple[Way, ...] = ("in process", "hypercorn", "uvicorn")

MODEL = "scripted-model"
TOOL = "get_weather"
TOOL_RESULT = "sunny, 21 degrees"
PARAMETERS: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}

SdkError: TypeAlias = openai.APIStatusError | anthropic.APIStatusError


class Sdk(Protocol):
    """One API of one SDK. `provider` is the gateway's instance, `path` what the provider is asked for."""

    provider: ClassVar[str]
    path: ClassVar[str]
    bodies: list[bytes]

    async def ask(self, text: str) -> str:
        """A blocking request; the text of the answer."""
        ...

    def stream(self, text: str) -> AsyncIterator[str]:
        """A streamed request: something for each event. Closing the iterator closes the stream."""
        ...

    async def ask_with_tool(self, text: str) -> str:
        """Two requests: one that the model answers with a call, and one that brings the call's result."""
        ...

    @staticmethod
    def reply(turn: Turn, *, streamed: bool) -> Reply: ...

    @staticmethod
    def error(status: int, kind: str, text: str) -> Reply: ...


class Messages:
    provider: ClassVar = "anthropic"
    path: ClassVar = "/v1/messages"

    def __init__(self, client: anthropic.AsyncAnthropic, bodies: list[bytes]) -> None:
        self.client = client
        self.bodies = bodies

    async def ask(self, text: str) -> str:
        message = await self.client.messages.create(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": text}]
        )
        return _said(message)

    async def stream(self, text: str) -> AsyncIterator[str]:
        stream = await self.client.messages.create(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": text}], stream=True
        )
        async with stream:
            async for event in stream:
                is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
                yield cast("Any", event).delta.text if is_text else ""

    async def ask_with_tool(self, text: str) -> str:
        tools: Any = [{"name": TOOL, "description": "the weather", "input_schema": PARAMETERS}]
        asked: list[Any] = [{"role": "user", "content": text}]
        first = await self.client.messages.create(model=MODEL, max_tokens=100, messages=asked, tools=tools)
        call = next(block for block in first.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": TOOL_RESULT}
        asked += [
            {
                "role": "assistant",
                "content": [block.model_dump(exclude_none=True) for block in first.content],
            },
            {"role": "user", "content": [result]},
        ]
        return _said(
            await self.client.messages.create(model=MODEL, max_tokens=100, messages=asked, tools=tools)
        )

    @staticmethod
    def reply(turn: Turn, *, streamed: bool) -> Reply:
        return messages_answers.reply(turn, streamed=streamed)

    @staticmethod
    def error(status: int, kind: str, text: str) -> Reply:
        return messages_answers.error(status, kind, text)


class Chat:
    provider: ClassVar = "openai"
    path: ClassVar = "/v1/chat/completions"

    def __init__(self, client: openai.AsyncOpenAI, bodies: list[bytes]) -> None:
        self.client = client
        self.bodies = bodies

    async def ask(self, text: str) -> str:
        completion = await self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}]
        )
        return completion.choices[0].message.content or ""

    async def stream(self, text: str) -> AsyncIterator[str]:
        stream = await self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], stream=True
        )
        async with stream:
            async for chunk in stream:
                yield chunk.choices[0].delta.content or ""

    async def ask_with_tool(self, text: str) -> str:
        function = {"name": TOOL, "description": "the weather", "parameters": PARAMETERS}
        tools: Any = [{"type": "function", "function": function}]
        asked: list[Any] = [{"role": "user", "content": text}]
        first = await self.client.chat.completions.create(model=MODEL, messages=asked, tools=tools)
        said = first.choices[0].message
        call = (said.tool_calls or [])[0]
        asked += [said, {"role": "tool", "tool_call_id": call.id, "content": TOOL_RESULT}]
        last = await self.client.chat.completions.create(model=MODEL, messages=asked, tools=tools)
        return last.choices[0].message.content or ""

    @staticmethod
    def reply(turn: Turn, *, streamed: bool) -> Reply:
        return chat_answers.reply(turn, streamed=streamed)

    @staticmethod
    def error(status: int, kind: str, text: str) -> Reply:
        return chat_answers.error(status, kind, text)


class Responses:
    provider: ClassVar = "openai"
    path: ClassVar = "/v1/responses"

    def __init__(self, client: openai.AsyncOpenAI, bodies: list[bytes]) -> None:
        self.client = client
        self.bodies = bodies

    async def ask(self, text: str) -> str:
        return (await self.client.responses.create(model=MODEL, input=text)).output_text

    async def stream(self, text: str) -> AsyncIterator[str]:
        stream = await self.client.responses.create(model=MODEL, input=text, stream=True)
        async with stream:
            async for event in stream:
                yield event.delta if event.type == "response.output_text.delta" else ""

    async def ask_with_tool(self, text: str) -> str:
        tools: Any = [{"type": "function", "name": TOOL, "parameters": PARAMETERS, "strict": False}]
        asked: list[Any] = [{"role": "user", "content": text}]
        first = await self.client.responses.create(model=MODEL, input=asked, tools=tools)
        call = next(item for item in first.output if item.type == "function_call")
        asked += [call, {"type": "function_call_output", "call_id": call.call_id, "output": TOOL_RESULT}]
        return (await self.client.responses.create(model=MODEL, input=asked, tools=tools)).output_text

    @staticmethod
    def reply(turn: Turn, *, streamed: bool) -> Reply:
        return responses_answers.reply(turn, streamed=streamed)

    @staticmethod
    def error(status: int, kind: str, text: str) -> Reply:
        return responses_answers.error(status, kind, text)


Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Sdk]]


@asynccontextmanager
async def messages(rig: Rig, way: Way, *, byok: bool, token: str = TOKEN) -> AsyncIterator[Sdk]:
    http, bodies = _http_client(rig, way, "anthropic")
    client = anthropic.AsyncAnthropic(
        base_url="http://ai-gateway" if way == "in process" else rig.url("anthropic"),
        api_key=USER_KEY if byok else token,
        default_headers=_governance(way, token) if byok else None,
        max_retries=0,
        http_client=http,
    )
    async with client:
        yield Messages(client, bodies)


@asynccontextmanager
async def chat(rig: Rig, way: Way, *, byok: bool, token: str = TOKEN) -> AsyncIterator[Sdk]:
    async with _openai(rig, way, byok=byok, token=token) as (client, bodies):
        yield Chat(client, bodies)


@asynccontextmanager
async def responses(rig: Rig, way: Way, *, byok: bool, token: str = TOKEN) -> AsyncIterator[Sdk]:
    async with _openai(rig, way, byok=byok, token=token) as (client, bodies):
        yield Responses(client, bodies)


@asynccontextmanager
async def _openai(
    rig: Rig, way: Way, *, byok: bool, token: str
) -> AsyncIterator[tuple[openai.AsyncOpenAI, list[bytes]]]:
    http, bodies = _http_client(rig, way, "openai")
    client = openai.AsyncOpenAI(
        base_url="http://ai-gateway/v1" if way == "in process" else rig.url("openai", "/v1"),
        api_key=USER_KEY if byok else token,
        default_headers=_governance(way, token) if byok else None,
        max_retries=0,
        http_client=http,
    )
    async with client:
        yield client, bodies


def _governance(way: Way, token: str) -> dict[str, str]:
    """The header that asks for BYOK: whoever calls in process is known, and only marks the request."""
    return {GOVERNANCE: "delegated" if way == "in process" else token}


def _http_client(rig: Rig, way: Way, provider: str) -> tuple[httpx2.AsyncClient, list[bytes]]:
    bodies: list[bytes] = []

    async def keep_body(request: httpx2.Request) -> None:
        bodies.append(request.content)

    transport = (
        GatewayTransport(rig.app, provider=provider, api_key_id=KEY_ID) if way == "in process" else None
    )
    client = httpx2.AsyncClient(transport=cast("Any", transport), event_hooks={"request": [keep_body]})
    return client, bodies


def _said(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")
