"""What is said in a chat, as plain values: parts of messages, and what a model is asked and answers.

The same structs are kept in the database, sent to subscribers and given to `gateway.chat.models`, which alone know how
a vendor writes them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

Role: TypeAlias = Literal["user", "assistant", "tool"]


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning"):
    """What a model thought. `opaque` is what its provider wants back with the next request of the turn, as JSON text of
    the vendor's own block; only the model `model` of `provider` may see it again."""

    text: str
    opaque: str = ""
    provider: str = ""
    model: str = ""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    call_id: str
    name: str
    arguments: str
    """JSON text as the model wrote it; it may be no JSON at all."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    media_type: str
    data: str
    """Base64."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    call_id: str
    name: str
    content: str
    is_error: bool = False
    images: tuple[Image, ...] = ()


Part: TypeAlias = Text | Reasoning | ToolCall | ToolResult


class Said(msgspec.Struct, frozen=True):
    """One message as a model is shown it: user: text; assistant: text, reasoning, tool calls; tool: results."""

    role: Role
    parts: tuple[Part, ...]


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model is told of it; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model."""

    system: str = ""
    messages: tuple[Said, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_output_tokens: int = 16_384


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """As the vendor counts, but for `input`, which is without what was read from a cache."""

    input: int = 0
    output: int = 0
    cached: int = 0


class TextDelta(msgspec.Struct, frozen=True, tag="text_delta"):
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning_delta"):
    text: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The whole answer, at the end of its stream: `parts` are text, reasoning and tool calls, in order."""

    parts: tuple[Part, ...]
    tokens: Tokens
    stop: Literal["end", "tools", "length", "refusal"]


AnswerEvent: TypeAlias = TextDelta | ReasoningDelta | Answer


class Speaker(Protocol):
    """One wire format, on a client of the vendor's SDK."""

    def stream(self, ask: Ask) -> AsyncGenerator[AnswerEvent, None]:
        """Deltas as they come, then exactly one `Answer`.

        Raises `ModelError`. Closing the iterator, or cancelling who reads it, ends the request upstream.
        """
        ...


class ModelError(Exception):
    """The model's provider, or the gateway before it, refused or broke off; the text is safe to show.

    `status` is the HTTP status, 0 when there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def text_of(parts: Sequence[Part]) -> str:
    """What is to be read aloud of a message."""
    return "".join(part.text for part in parts if isinstance(part, Text))


MAX_TEXT: Final = 200_000
"""Characters of one message that a person may send."""
