"""Anthropic's Messages API, also through Amazon Bedrock (https://docs.anthropic.com/en/api/messages).

A message list that ends with the assistant's role is sent as it is: the model goes on from there, and the gateway takes
it for no prompt. Newer models refuse that, which is for whoever asks to know. Thinking isn't asked for; what comes
nevertheless is kept and sent back to the model that thought it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

import anthropic
from anthropic.types import MessageParam, RawMessageStreamEvent, TextBlockParam, ToolParam

from gateway.chat.content import AnswerEvent, Ask, Part, Reasoning, Said, Text, ToolCall, ToolResult, ToolSpec
from gateway.chat.models.arguments import as_object
from gateway.chat.models.interrupted import with_results
from gateway.chat.models.messages_reader import THINKING, MessageReader
from gateway.chat.models.readable import block_of, readable
from gateway.chat.models.speaking import speak
from gateway.chat.routing.requests import ModelName

Client: TypeAlias = anthropic.AsyncAnthropic | anthropic.AsyncAnthropicBedrock
Block: TypeAlias = dict[str, Any]

CACHED: Final[Block] = {"cache_control": {"type": "ephemeral"}}
"""Everything up to a block with this is cheap the next time: a long chat is sent again with each of its turns."""

_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")


class Messages:
    def __init__(self, client: Client, name: ModelName) -> None:
        self._client = client
        self._name = name

    def stream(self, ask: Ask) -> AsyncGenerator[AnswerEvent, None]:
        return speak(self._name.provider, lambda: self._open(ask), MessageReader(self._name))

    async def _open(self, ask: Ask) -> anthropic.AsyncStream[RawMessageStreamEvent]:
        return await self._client.messages.create(
            model=self._name.model,
            max_tokens=ask.max_output_tokens,
            system=_system(ask.system) or anthropic.omit,
            messages=_conversation(ask.messages, self._name),
            tools=_tools(ask.tools) or anthropic.omit,
            stream=True,
        )


def _system(text: str) -> list[TextBlockParam]:
    return [cast("TextBlockParam", {"type": "text", "text": text, **CACHED})] if text.strip() else []


def _tools(specs: Iterable[ToolSpec]) -> list[ToolParam]:
    tools: list[Block] = [
        {"name": spec.name, "description": spec.description, "input_schema": spec.parameters}
        for spec in specs
    ]
    if tools:
        tools[-1] |= CACHED
    return cast("list[ToolParam]", tools)


def _conversation(messages: Sequence[Said], name: ModelName) -> list[MessageParam]:
    """Roles take turns: what one role says in several messages becomes one, and tool results are the user's."""
    told: list[dict[str, Any]] = []
    for said in with_results(messages):
        role = "assistant" if said.role == "assistant" else "user"
        blocks = [_block(part) for part in readable(said.parts, name, THINKING)]
        if told and told[-1]["role"] == role:
            told[-1]["content"] += blocks
        elif blocks:
            told.append({"role": role, "content": blocks})
    _without_space_at_the_end(told)
    for message in reversed(told):
        if message["role"] == "user":
            message["content"][-1] |= CACHED
            break
    return cast("list[MessageParam]", told)


def _without_space_at_the_end(told: list[dict[str, Any]]) -> None:
    """The API refuses a beginning of an answer that ends in whitespace."""
    if told and told[-1]["role"] == "assistant" and (last := told[-1]["content"][-1])["type"] == "text":
        last["text"] = last["text"].rstrip()


def _block(part: Part) -> Block:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Reasoning():
            return block_of(part)
        case ToolCall():
            return {
                "type": "tool_use",
                "id": _id(part.call_id),
                "name": part.name,
                "input": as_object(part.arguments),
            }
        case ToolResult():
            return _tool_result(part)


def _id(call_id: str) -> str:
    """Of a call that another vendor's model made, earlier in the chat: the API takes only these characters."""
    return _NOT_IN_IDS.sub("_", call_id)


def _tool_result(result: ToolResult) -> Block:
    content: list[Block] = []
    if result.content.strip():
        content.append({"type": "text", "text": result.content})
    for image in result.images:
        source = {"type": "base64", "media_type": image.media_type, "data": image.data}
        content.append({"type": "image", "source": source})
    block: Block = {"type": "tool_result", "tool_use_id": _id(result.call_id), "content": content}
    return block | {"is_error": True} if result.is_error else block
