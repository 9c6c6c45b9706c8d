"""OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses), without state at the provider.

Nothing is stored there: each request brings the whole conversation, and reasoning travels encrypted in it. A summary of
the reasoning isn't asked for; one that comes is told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final, cast

import openai
from openai.types.responses import FunctionToolParam, ResponseInputItemParam, ResponseStreamEvent

from gateway.chat.content import AnswerEvent, Ask, Part, Reasoning, Said, Text, ToolCall, ToolResult, ToolSpec
from gateway.chat.models.arguments import as_text
from gateway.chat.models.interrupted import with_results
from gateway.chat.models.readable import block_of, readable
from gateway.chat.models.responses_reader import REASONING, ResponseReader
from gateway.chat.models.speaking import speak
from gateway.chat.routing.requests import ModelName

UNTHINKING: Final = ("gpt-3.5", "gpt-4", "chatgpt-", "gpt-5-chat")
"""Beginnings of the names of models that don't reason: they refuse a request for encrypted reasoning."""


class Responses:
    def __init__(self, client: openai.AsyncOpenAI, name: ModelName) -> None:
        self._client = client
        self._name = name

    def stream(self, ask: Ask) -> AsyncGenerator[AnswerEvent, None]:
        return speak(self._name.provider, lambda: self._open(ask), ResponseReader(self._name))

    async def _open(self, ask: Ask) -> openai.AsyncStream[ResponseStreamEvent]:
        thinks = not self._name.model.startswith(UNTHINKING)
        return await self._client.responses.create(
            model=self._name.model,
            max_output_tokens=ask.max_output_tokens,
            instructions=ask.system or openai.omit,
            input=_items(ask.messages, self._name),
            tools=_tools(ask.tools) or openai.omit,
            include=["reasoning.encrypted_content"] if thinks else openai.omit,
            store=False,
            stream=True,
        )


def _tools(specs: Iterable[ToolSpec]) -> list[FunctionToolParam]:
    """Not strict: that takes only schemas that name each property as required."""
    return [
        {
            "type": "function",
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
            "strict": False,
        }
        for spec in specs
    ]


def _items(messages: Sequence[Said], name: ModelName) -> list[ResponseInputItemParam]:
    items = [
        _item(said, part) for said in with_results(messages) for part in readable(said.parts, name, REASONING)
    ]
    return cast("list[ResponseInputItemParam]", items)


def _item(said: Said, part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text):
            role = "assistant" if said.role == "assistant" else "user"
            return {"type": "message", "role": role, "content": text}
        case Reasoning():
            return block_of(part)
        case ToolCall():
            call = {"call_id": part.call_id, "name": part.name, "arguments": as_text(part.arguments)}
            return {"type": "function_call", **call}
        case ToolResult():
            return {"type": "function_call_output", "call_id": part.call_id, "output": _output(part)}


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    """The format has no field for an error, so the text says it."""
    text = f"Error: {result.content}" if result.is_error else result.content
    if not result.images:
        return text
    images = [
        {"type": "input_image", "image_url": f"data:{image.media_type};base64,{image.data}", "detail": "auto"}
        for image in result.images
    ]
    return [{"type": "input_text", "text": text}, *images] if text else images
