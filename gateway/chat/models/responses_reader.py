"""Reads the events of OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses-streaming).

The parts of the answer are the items as they are repeated whole when each is done; the pieces before are only told on.
Items of types it doesn't know are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from openai.types.responses import (
    Response,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseReasoningItem,
    ResponseStreamEvent,
)

from gateway.chat.content import Answer, Part, Reasoning, ReasoningDelta, Text, TextDelta, Tokens, ToolCall
from gateway.chat.models.errors import refused
from gateway.chat.models.readable import opaque_of
from gateway.chat.models.speaking import Delta
from gateway.chat.routing.requests import ModelName

REASONING: Final = frozenset({"reasoning"})
BETWEEN: Final = "\n\n"
"""Stands between two parts of a summary."""


class ResponseReader:
    """`name` is the model that answers."""

    def __init__(self, name: ModelName) -> None:
        self._name = name
        self._parts: list[Part] = []
        self._refused = False
        self._response: Response | None = None

    def feed(self, event: ResponseStreamEvent) -> Iterator[Delta]:
        """Raises `ModelError` where the event is an error."""
        if event.type in ("response.output_text.delta", "response.refusal.delta"):
            yield from _told(TextDelta, event.delta)
        elif event.type in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            yield from _told(ReasoningDelta, event.delta)
        elif event.type == "response.reasoning_summary_part.added":
            yield from _told(ReasoningDelta, BETWEEN if event.summary_index else "")
        elif event.type == "response.output_item.done":
            self._keep(event.item)
        elif event.type in ("response.completed", "response.incomplete"):
            self._response = event.response
        elif event.type == "response.failed":
            error = event.response.error
            raise refused(error.message if error is not None else None, self._name.provider)
        elif event.type == "error":
            raise refused(event.message, self._name.provider)

    def answer(self) -> Answer | None:
        response = self._response
        if response is None:
            return None
        return Answer(parts=tuple(self._parts), tokens=_tokens(response), stop=self._stop(response))

    def _keep(self, item: ResponseOutputItem) -> None:
        if item.type == "message":
            self._keep_message(item)
        elif item.type == "function_call":
            call = ToolCall(call_id=item.call_id, name=item.name, arguments=item.arguments or "{}")
            self._parts.append(call)
        elif item.type == "reasoning":
            self._keep_reasoning(item)

    def _keep_message(self, item: ResponseOutputMessage) -> None:
        for content in item.content:
            if content.type == "output_text" and content.text:
                self._parts.append(Text(content.text))
            elif content.type == "refusal":
                self._refused = True
                self._parts.append(Text(content.refusal))

    def _keep_reasoning(self, item: ResponseReasoningItem) -> None:
        pieces = item.summary or item.content or []
        reasoning = Reasoning(
            text=BETWEEN.join(piece.text for piece in pieces),
            opaque=_opaque(item),
            provider=self._name.provider,
            model=self._name.model,
        )
        if reasoning.text or reasoning.opaque:
            self._parts.append(reasoning)

    def _stop(self, response: Response) -> Literal["end", "tools", "length", "refusal"]:
        why = response.incomplete_details
        if self._refused or (why is not None and why.reason == "content_filter"):
            return "refusal"
        if response.status == "incomplete":
            return "length"
        return "tools" if any(isinstance(part, ToolCall) for part in self._parts) else "end"


def _opaque(item: ResponseReasoningItem) -> str:
    """The item as it is to come back. What isn't encrypted would be looked up there, where nothing is stored."""
    if not item.encrypted_content:
        return ""
    summary: list[dict[str, Any]] = [
        {"type": "summary_text", "text": piece.text} for piece in item.summary or ()
    ]
    sealed = {"summary": summary, "encrypted_content": item.encrypted_content}
    return opaque_of({"type": "reasoning", "id": item.id, **sealed})


def _tokens(response: Response) -> Tokens:
    usage = response.usage
    if usage is None:
        return Tokens()
    details = usage.input_tokens_details
    cached = (details.cached_tokens if details is not None else 0) or 0
    return Tokens(input=max(usage.input_tokens - cached, 0), output=usage.output_tokens, cached=cached)


def _told(kind: type[TextDelta] | type[ReasoningDelta], text: str) -> Iterator[Delta]:
    if text:
        yield kind(text)
