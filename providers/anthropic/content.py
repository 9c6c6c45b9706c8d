"""What Anthropic's answers are made of, streamed or not: content blocks, usage, the answer as one document.

Text is not looked at, redacted thinking is not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from providers.base import Fact, Thought, ToolCall, Usage
from providers.counts import Counts, counts_of, further_counts
from providers.documents import ABSENT, Loose, items, read, text, written
from providers.failures import failure

_INPUT: Final = ("input_tokens",)
_OUTPUT: Final = ("output_tokens",)
_CACHE_READ: Final = ("cache_read_input_tokens",)
_CACHE_WRITE: Final = ("cache_creation_input_tokens",)


class Block(msgspec.Struct, frozen=True):
    """A content block: all of it in a blocking answer, its beginning in a stream."""

    type: Loose = None
    id: Loose = None
    name: Loose = None
    input: Raw = ABSENT
    thinking: Loose = None
    server_name: Loose = None
    toolset_name: Loose = None

    @property
    def is_tool_call(self) -> bool:
        """`tool_use`, and those that the provider runs itself: `server_tool_use`, `mcp_tool_use`."""
        return isinstance(self.type, str) and self.type.endswith("tool_use")

    @property
    def is_thinking(self) -> bool:
        return self.type == "thinking"


def tool_call(msg_id: str, block: Block, arguments: str, **metadata: str) -> ToolCall:
    """The call that `block` stands for, with the input as the model wrote it."""
    for key in ("server_name", "toolset_name"):
        if value := text(getattr(block, key)):
            metadata[key] = value
    if block.type != "tool_use":
        metadata["type"] = str(block.type)
    return ToolCall(
        msg_id=msg_id,
        tool_call_id=text(block.id) or "",
        tool=text(block.name) or "",
        input=arguments,
        metadata=metadata,
    )


def thought(content: str) -> Thought | None:
    return Thought(content=content, source="thinking") if content.strip() else None


def usage_of(msg_id: str, counts: Counts) -> Usage:
    """Anthropic counts cached input apart from `input_tokens` already."""
    return Usage(
        msg_id=msg_id,
        input_tokens=counts.get(_INPUT, 0),
        output_tokens=counts.get(_OUTPUT, 0),
        cache_read_input_tokens=counts.get(_CACHE_READ, 0),
        cache_write_input_tokens=counts.get(_CACHE_WRITE, 0),
        extra=further_counts(counts, (_INPUT, _OUTPUT, _CACHE_READ, _CACHE_WRITE)),
    )


class _Answer(msgspec.Struct, frozen=True):
    id: Loose = None
    content: Loose = None
    usage: Any = None
    error: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_BLOCK: Final = msgspec.json.Decoder(Block)


def read_answer(body: bytes) -> tuple[str, Sequence[Fact]]:
    """A whole answer, or an error body. Raises `Unreadable`."""
    answer = read(_ANSWER, body)
    msg_id = text(answer.id) or ""
    facts: list[Fact | None] = [failure(answer.error)]
    for block in items(answer.content, _BLOCK):
        if block.is_tool_call:
            facts.append(tool_call(msg_id, block, written(block.input)))
        elif block.is_thinking:
            facts.append(thought(text(block.thinking) or ""))
    if counts := counts_of(answer.usage):
        facts.append(usage_of(msg_id, counts))
    return msg_id, [fact for fact in facts if fact is not None]
