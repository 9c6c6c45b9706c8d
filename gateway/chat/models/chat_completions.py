"""OpenAI's Chat completions (https://platform.openai.com/docs/api-reference/chat), for servers that speak it too.

OpenAI itself is asked by `gateway.chat.models.responses`; so the limit is `max_tokens`, which every compatible server
knows. The format has no room for images in a tool's result: a note stands in their place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final, cast

import openai
from openai.types.chat import (
    ChatCompletionChunk,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
)

from gateway.chat.content import (
    AnswerEvent,
    Ask,
    Reasoning,
    Said,
    ToolCall,
    ToolResult,
    ToolSpec,
    text_of,
)
from gateway.chat.models.arguments import as_text
from gateway.chat.models.chat_completions_reader import REASONING, ChunkReader
from gateway.chat.models.interrupted import with_results
from gateway.chat.models.readable import block_of, readable
from gateway.chat.models.speaking import speak
from gateway.chat.routing.requests import ModelName

FAILED: Final = "Error: "
"""Before a result that is an error: the format has no field for it."""


class ChatCompletions:
    def __init__(self, client: openai.AsyncOpenAI, name: ModelName) -> None:
        self._client = client
        self._name = name

    def stream(self, ask: Ask) -> AsyncGenerator[AnswerEvent, None]:
        return speak(self._name.provider, lambda: self._open(ask), ChunkReader(self._name))

    async def _open(self, ask: Ask) -> openai.AsyncStream[ChatCompletionChunk]:
        return await self._client.chat.completions.create(
            model=self._name.model,
            max_tokens=ask.max_output_tokens,
            messages=_conversation(ask, self._name),
            tools=_tools(ask.tools) or openai.omit,
            stream=True,
            stream_options={"include_usage": True},
        )


def _tools(specs: Iterable[ToolSpec]) -> list[ChatCompletionFunctionToolParam]:
    return [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.parameters,
            },
        }
        for spec in specs
    ]


def _conversation(ask: Ask, name: ModelName) -> list[ChatCompletionMessageParam]:
    told: list[dict[str, Any]] = []
    if ask.system.strip():
        told.append({"role": "system", "content": ask.system})
    messages = with_results(ask.messages)
    turn_from = _last_user_message(messages)
    for index, said in enumerate(messages):
        match said.role:
            case "user":
                told.append({"role": "user", "content": text_of(said.parts)})
            case "assistant":
                told += _assistant(said, name, in_turn=index > turn_from)
            case "tool":
                told += [_tool_result(part) for part in said.parts if isinstance(part, ToolResult)]
    return cast("list[ChatCompletionMessageParam]", told)


def _last_user_message(messages: Sequence[Said]) -> int:
    return max((index for index, said in enumerate(messages) if said.role == "user"), default=-1)


def _assistant(said: Said, name: ModelName, *, in_turn: bool) -> list[dict[str, Any]]:
    """Servers that want reasoning back want that of the turn which goes on, and some refuse older."""
    parts = readable(said.parts, name, REASONING)
    message: dict[str, Any] = {"role": "assistant", "content": text_of(parts) or None}
    if in_turn and (thoughts := [block_of(part) for part in parts if isinstance(part, Reasoning)]):
        message["reasoning_content"] = "".join(str(block.get("text", "")) for block in thoughts)
    if calls := [_call(part) for part in parts if isinstance(part, ToolCall)]:
        message["tool_calls"] = calls
    return [message] if parts else []


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": as_text(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


def _tool_result(result: ToolResult) -> dict[str, Any]:
    content = FAILED + result.content if result.is_error else result.content
    if result.images:
        note = f"[{len(result.images)} image(s) left out: this model's API takes only text from a tool]"
        content = f"{content}\n{note}" if content else note
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}
