"""Reads the answers of Chat completions, streamed or not.

A tool call comes in pieces that are joined by choice and index, and is told when its choice finishes. Usage comes
with the last chunks, in some providers with each; the last one counts and is told once, at the end. What a cut
leaves open is told at `close` as far as it came, a tool call with `truncated` in its metadata.

Most chunks are deltas of text. They are passed over by looking for the names of what is wanted, which hardly ever
stand in text; a chunk that has one is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.base import Fact, ToolCall
from providers.counts import Counts, counts_of
from providers.documents import Loose, items, read, text
from providers.failures import failure
from providers.flaws import Flaws
from providers.fragments import Fragments, Room
from providers.openai.usage import usage_of
from providers.sse import data_of

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Of all open tool calls of one answer together."""
MAX_OPEN_CALLS: Final = 1024


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: Loose = None
    input: Loose = None

    @property
    def written(self) -> str:
        """What the model wrote; some providers send an object, whose JSON it then is."""
        given = self.arguments if self.arguments is not None else self.input
        if isinstance(given, str):
            return given
        return "" if given is None else msgspec.json.encode(given).decode("utf-8", "replace")


class _Call(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Message(msgspec.Struct, frozen=True):
    """A message, or in a stream the next piece of one."""

    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None

    @property
    def calls(self) -> Iterable[_Call]:
        yield from self.tool_calls or ()
        if self.function_call is not None:
            yield _Call(index=_LEGACY, function=self.function_call)


class _Choice(msgspec.Struct, frozen=True):
    index: int | None = None
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: Any = None


class _Answer(msgspec.Struct, frozen=True):
    """A whole answer, a chunk of one, or an error."""

    id: Loose = None
    choices: Loose = None
    usage: Any = None
    error: Any = None
    detail: Any = None


_SHORT: Final = 32
"""No chunk is shorter; `[DONE]` is."""
_LEGACY: Final = -1
"""The index under which a choice's one `function_call` is kept."""
_ANSWER: Final = msgspec.json.Decoder(_Answer)
_CHOICE: Final = msgspec.json.Decoder(_Choice)


def read_answer(body: bytes) -> tuple[str, Sequence[Fact]]:
    """A whole answer, or an error body. Raises `Unreadable`."""
    answer = read(_ANSWER, body)
    msg_id = text(answer.id) or ""
    facts: list[Fact] = [
        _tool_call(msg_id, call.id, function.name, function.written)
        for choice in items(answer.choices, _CHOICE)
        for call in (choice.message.calls if choice.message else ())
        if (function := call.function or call.custom) is not None
    ]
    if counts := counts_of(answer.usage):
        facts.append(usage_of(msg_id, counts))
    if told := failure(answer.error or answer.detail):
        facts.append(told)
    return msg_id, facts


def _tool_call(
    msg_id: str, call_id: str | None, name: str | None, arguments: str, **metadata: str
) -> ToolCall:
    return ToolCall(
        msg_id=msg_id, tool_call_id=call_id or "", tool=name or "", input=arguments, metadata=metadata
    )


@dataclass(slots=True)
class _OpenCall:
    arguments: Fragments
    id: str = ""
    name: str = ""


class ChatEvents:
    """`AnswerEvents` of Chat completions; see the module for what it tells when."""

    def __init__(self, flaws: Flaws, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.msg_id = ""
        self.complete = False
        self._flaws = flaws
        self._open: dict[tuple[int, int], _OpenCall] = {}
        self._room = Room(max_held_bytes)
        self._counts: Counts = {}
        self._usage_told = False

    def passes_over(self, event: bytes) -> bool:
        return not (
            not self.msg_id
            or self._open
            or len(event) < _SHORT
            or b"_call" in event
            or b'"error"' in event
            or event.count(b'"usage"') != event.count(b'"usage":null')
        )

    def read(self, event: bytes, facts: list[Fact]) -> None:
        data = data_of(event)
        if not data:
            return
        if data.strip() == b"[DONE]":
            self.end(facts)
            self.complete = True
            return
        chunk = read(_ANSWER, data)
        self.msg_id = self.msg_id or text(chunk.id) or ""
        for choice in items(chunk.choices, _CHOICE):
            for call in choice.delta.calls if choice.delta else ():
                self._extend(choice.index or 0, call, facts)
            if choice.finish_reason is not None:
                self._finish(choice.index or 0, facts)
        self._counts = counts_of(chunk.usage) or self._counts
        if told := failure(chunk.error):
            facts.append(told)

    def end(self, facts: list[Fact]) -> None:
        """A call whose choice did not finish was cut."""
        for key in list(self._open):
            self._tell(key, facts, truncated="true")
        if self._counts and not self._usage_told:
            facts.append(usage_of(self.msg_id, self._counts))
            self._usage_told = True

    def _extend(self, choice: int, call: _Call, facts: list[Fact]) -> None:
        key = (choice, self._index(choice, call))
        opened = self._open.get(key)
        if opened is not None and call.id and opened.id and call.id != opened.id:
            self._tell(key, facts)  # some providers give every call the same index
            opened = None
        if opened is None:
            if len(self._open) >= MAX_OPEN_CALLS:
                self._flaws.note("more tool calls were open than are kept; some were not recorded")
                return
            opened = self._open[key] = _OpenCall(Fragments(self._room))
        self._add(opened, call)

    def _add(self, opened: _OpenCall, call: _Call) -> None:
        function = call.function or call.custom or _Function()
        fits = True
        if call.id and not opened.id and (fits := opened.arguments.reserve(len(call.id))):
            opened.id = call.id
        if function.name and not opened.name and (fits := opened.arguments.reserve(len(function.name))):
            opened.name = function.name
        if not (opened.arguments.add(function.written) and fits):
            self._flaws.note("tool calls were longer than what is kept, and are incomplete")

    def _index(self, choice: int, call: _Call) -> int:
        """The call's index; a provider that gives none starts a new call with each ID."""
        if call.index is not None:
            return call.index
        known = [index for at, index in self._open if at == choice]
        if not known:
            return 0
        return max(known) + 1 if call.id else max(known)

    def _finish(self, choice: int, facts: list[Fact]) -> None:
        for key in [key for key in self._open if key[0] == choice]:
            self._tell(key, facts)

    def _tell(self, key: tuple[int, int], facts: list[Fact], **metadata: str) -> None:
        opened = self._open.pop(key)
        facts.append(_tool_call(self.msg_id, opened.id, opened.name, opened.arguments.join(), **metadata))
