"""Reads the chunks of Chat completions as OpenAI words them, and as compatible servers do.

Those have habits of their own: reasoning in a field that OpenAI hasn't got, calls without an index or all with the
same, no counts, `stop` as the reason of an answer that calls tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import uuid4

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

from gateway.chat.content import Answer, Part, Reasoning, ReasoningDelta, Text, TextDelta, Tokens, ToolCall
from gateway.chat.models.readable import opaque_of
from gateway.chat.models.speaking import Delta
from gateway.chat.routing.requests import ModelName

REASONING: Final = frozenset({"reasoning_content"})

_STOPS: Final[Mapping[str, Literal["length", "refusal"]]] = {
    "length": "length",
    "content_filter": "refusal",
}


@dataclass(slots=True)
class _Call:
    call_id: str
    name: str = ""
    arguments: str = ""


class ChunkReader:
    """`name` is the model that answers."""

    def __init__(self, name: ModelName) -> None:
        self._name = name
        self._thought = self._text = ""
        self._wanted_back = self._refused = False
        self._calls: list[_Call] = []
        self._open_calls: dict[int, _Call] = {}
        self._tokens = Tokens()
        self._finish: str | None = None

    def feed(self, event: ChatCompletionChunk) -> Iterator[Delta]:
        if event.usage is not None:
            self._tokens = _tokens(event.usage)
        for choice in (event.choices or [])[:1]:
            self._finish = choice.finish_reason or self._finish
            if choice.delta is not None:  # some servers end without one
                yield from self._grow(choice.delta)

    def answer(self) -> Answer | None:
        """Complete by its finish reason; the counts that come behind it are not sent by every server."""
        if self._finish is None:
            return None
        parts: list[Part] = [self._reasoning()] if self._thought else []
        parts += [Text(self._text)] if self._text else []
        parts += [
            ToolCall(call_id=call.call_id, name=call.name, arguments=call.arguments or "{}")
            for call in self._calls
        ]
        return Answer(parts=tuple(parts), tokens=self._tokens, stop=self._stop(self._finish))

    def _grow(self, delta: ChoiceDelta) -> Iterator[Delta]:
        sent = getattr(delta, "reasoning_content", None)
        self._wanted_back = self._wanted_back or bool(sent)
        # Servers that write both fields write the same into them.
        if thought := sent or getattr(delta, "reasoning", None):
            self._thought += thought
            yield ReasoningDelta(thought)
        self._refused = self._refused or bool(delta.refusal)
        for text in (delta.content, delta.refusal):
            if text:
                self._text += text
                yield TextDelta(text)
        for piece in delta.tool_calls or ():
            self._grow_call(piece)

    def _grow_call(self, piece: ChoiceDeltaToolCall) -> None:
        call = self._call_of(piece)
        if (function := piece.function) is not None:
            call.name = call.name or function.name or ""
            call.arguments += function.arguments or ""

    def _call_of(self, piece: ChoiceDeltaToolCall) -> _Call:
        """The call that goes on with this piece, or a new one: another ID is another call, whatever the index says."""
        call = self._open_calls.get(piece.index)
        if call is None or (piece.id and piece.id != call.call_id):
            call = _Call(piece.id or f"call_{uuid4().hex}")
            self._open_calls[piece.index] = call
            self._calls.append(call)
        return call

    def _reasoning(self) -> Reasoning:
        block = {"type": "reasoning_content", "text": self._thought}
        return Reasoning(
            text=self._thought,
            opaque=opaque_of(block) if self._wanted_back else "",
            provider=self._name.provider,
            model=self._name.model,
        )

    def _stop(self, finish: str) -> Literal["end", "tools", "length", "refusal"]:
        if self._refused:
            return "refusal"
        return _STOPS.get(finish) or ("tools" if self._calls else "end")


def _tokens(usage: CompletionUsage) -> Tokens:
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens if details is not None else 0) or 0
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return Tokens(input=max(prompt - cached, 0), output=completion, cached=cached)
