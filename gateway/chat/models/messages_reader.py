"""Reads the events of Anthropic's Messages API (https://docs.anthropic.com/en/docs/build-with-claude/streaming).

Blocks of types it doesn't know are left out of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from anthropic.types import (
    MessageDeltaUsage,
    RawContentBlockDelta,
    RawContentBlockStartEvent,
    RawMessageStreamEvent,
    Usage,
)

from gateway.chat.content import Answer, Part, Reasoning, ReasoningDelta, Text, TextDelta, Tokens, ToolCall
from gateway.chat.models.readable import opaque_of
from gateway.chat.models.speaking import Delta
from gateway.chat.routing.requests import ModelName

THINKING: Final = frozenset({"thinking", "redacted_thinking"})

_STOPS: Final[Mapping[str | None, Literal["length", "refusal"]]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_COUNTS: Final = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)


@dataclass(slots=True)
class _Block:
    """`text` is what is said, thought or written as arguments, as far as it has come; `sealed` is what only the
    provider can read: a signature, or redacted thinking."""

    type: str
    text: str = ""
    sealed: str = ""
    call_id: str = ""
    name: str = ""
    whole_input: str = "{}"
    """Of a call that comes with its arguments at once, as some servers send it."""


class MessageReader:
    """`name` is the model that answers."""

    def __init__(self, name: ModelName) -> None:
        self._name = name
        self._blocks: dict[int, _Block] = {}
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._stop: str | None = None
        self._ended = False

    def feed(self, event: RawMessageStreamEvent) -> Iterable[Delta]:
        if event.type == "message_start":
            self._count(event.message.usage)
        elif event.type == "content_block_start":
            return self._begin(event)
        elif event.type == "content_block_delta":
            block = self._blocks.get(event.index)
            return () if block is None else _grow(block, event.delta)
        elif event.type == "message_delta":
            self._stop = event.delta.stop_reason or self._stop
            self._count(event.usage)
        elif event.type == "message_stop":
            self._ended = True
        return ()

    def answer(self) -> Answer | None:
        if not self._ended:
            return None
        parts = [part for block in self._blocks.values() if (part := self._part(block)) is not None]
        counts = self._counts
        tokens = Tokens(
            input=counts["input_tokens"] + counts["cache_creation_input_tokens"],
            output=counts["output_tokens"],
            cached=counts["cache_read_input_tokens"],
        )
        calls = any(isinstance(part, ToolCall) for part in parts)
        stop = _STOPS.get(self._stop) or ("tools" if calls else "end")
        return Answer(parts=tuple(parts), tokens=tokens, stop=stop)

    def _begin(self, event: RawContentBlockStartEvent) -> Iterable[Delta]:
        block = event.content_block
        if block.type == "text":
            self._blocks[event.index] = _Block("text", block.text or "")
            return _deltas(TextDelta, block.text)
        if block.type == "thinking":
            self._blocks[event.index] = _Block("thinking", block.thinking or "", block.signature or "")
            return _deltas(ReasoningDelta, block.thinking)
        if block.type == "redacted_thinking":
            self._blocks[event.index] = _Block("redacted_thinking", sealed=block.data)
        elif block.type == "tool_use":
            whole = msgspec.json.encode(block.input or {}).decode()
            self._blocks[event.index] = _Block(
                "tool_use", call_id=block.id, name=block.name, whole_input=whole
            )
        return ()

    def _count(self, usage: Usage | MessageDeltaUsage) -> None:
        """The later counts hold: they are of the whole answer so far."""
        for name in _COUNTS:
            if isinstance(count := getattr(usage, name, None), int):
                self._counts[name] = count

    def _part(self, block: _Block) -> Part | None:
        match block.type:
            case "text":
                return Text(block.text) if block.text else None
            case "tool_use":
                return ToolCall(
                    call_id=block.call_id, name=block.name, arguments=block.text or block.whole_input
                )
            case "thinking":
                sealed = {"type": "thinking", "thinking": block.text, "signature": block.sealed}
            case _:
                sealed = {"type": "redacted_thinking", "data": block.sealed}
        if not block.text and not block.sealed:
            return None
        return Reasoning(
            text=block.text,
            opaque=opaque_of(sealed) if block.sealed else "",
            provider=self._name.provider,
            model=self._name.model,
        )


def _grow(block: _Block, delta: RawContentBlockDelta) -> Iterable[Delta]:
    if delta.type == "text_delta":
        block.text += delta.text
        return _deltas(TextDelta, delta.text)
    if delta.type == "thinking_delta":
        block.text += delta.thinking
        return _deltas(ReasoningDelta, delta.thinking)
    if delta.type == "signature_delta":
        block.sealed += delta.signature
    elif delta.type == "input_json_delta":
        block.text += delta.partial_json
    return ()


def _deltas(kind: type[TextDelta] | type[ReasoningDelta], text: str | None) -> Iterable[Delta]:
    return (kind(text),) if text else ()
