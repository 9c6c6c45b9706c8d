"""Reads the answers of the Responses API, streamed or not.

An answer is a list of items: messages, reasoning, and calls of tools, the client's and the provider's own. A stream
tells each item whole when it is done, so its deltas are passed over: the beginning of an event, up to its type, is
learned when it is of a type that tells nothing, and events that begin so are not decoded. The last event holds the
whole answer again; of that only the usage is read, and the items only when none came before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from providers.base import AccountBound, Fact, Thought, ToolCall
from providers.counts import counts_of
from providers.documents import ABSENT, Loose, items, read, text, written
from providers.failures import failure
from providers.flaws import Flaws
from providers.openai.bonds import bond_of
from providers.openai.usage import usage_of
from providers.sse import data_of, name_of

_TOLD: Final = frozenset(
    {
        "error",
        "response.created",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
    }
)
_BEGINNING: Final = re.compile(
    rb'(?:event: ?[a-z0-9_.]{1,80}\n)?data: ?\{\s*"type"\s*:\s*"([a-z0-9_.]{1,80})"'
)
_MAX_DULL: Final = 16


class _Part(msgspec.Struct, frozen=True):
    text: Loose = None


class _Item(msgspec.Struct, frozen=True):
    """An output item of any type, with the members that hold what a call was given."""

    type: Loose = None
    id: Loose = None
    call_id: Loose = None
    name: Loose = None
    namespace: Loose = None
    server_label: Loose = None
    server_url: Loose = None
    phase: Loose = None
    content: Loose = None
    summary: Loose = None
    encrypted_content: Loose = None
    error: Raw = ABSENT
    arguments: Raw = ABSENT
    input: Raw = ABSENT
    action: Raw = ABSENT
    actions: Raw = ABSENT
    operation: Raw = ABSENT
    code: Raw = ABSENT
    queries: Raw = ABSENT
    revised_prompt: Raw = ABSENT


class _Response(msgspec.Struct, frozen=True):
    id: Loose = None
    output: Loose = None
    usage: Any = None
    error: Any = None
    detail: Any = None
    """ChatGPT's own shape of an error body."""


class _Event(msgspec.Struct, frozen=True):
    type: str | None = None
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_INPUTS: Final = {
    "function_call": ("arguments",),
    "custom_tool_call": ("input",),
    "mcp_call": ("arguments",),
    "tool_search_call": ("arguments",),
    "local_shell_call": ("action",),
    "shell_call": ("action",),
    "apply_patch_call": ("operation",),
    "computer_call": ("action", "actions"),
    "web_search_call": ("action",),
    "file_search_call": ("queries",),
    "code_interpreter_call": ("code",),
    "image_generation_call": ("revised_prompt",),
}
"""The types that are calls of a tool, and where each keeps its input."""

_PART: Final = msgspec.json.Decoder(_Part)
_ITEM: Final = msgspec.json.Decoder(_Item)
_RESPONSE: Final = msgspec.json.Decoder(_Response)
_EVENT: Final = msgspec.json.Decoder(_Event)


def read_answer(body: bytes) -> tuple[str, Sequence[Fact]]:
    """A whole answer, or an error body. Raises `Unreadable`."""
    response = read(_RESPONSE, body)
    msg_id = text(response.id) or ""
    facts = [fact for item in items(response.output, _ITEM) for fact in _facts_of(msg_id, item)]
    return msg_id, [*facts, *_end_of(msg_id, response)]


def _end_of(msg_id: str, response: _Response) -> Iterable[Fact]:
    if counts := counts_of(response.usage):
        yield usage_of(msg_id, counts)
    if told := failure(response.error or response.detail):
        yield told


def _facts_of(msg_id: str, item: _Item) -> Iterable[Fact]:
    if item.type == "reasoning":
        yield from _thoughts(item.summary, "reasoning_summary")
        if encrypted := text(item.encrypted_content):
            yield AccountBound(bond=bond_of(encrypted))
    elif item.type == "message" and item.phase == "commentary":
        yield from _thoughts(item.content, "commentary")
    elif isinstance(item.type, str) and item.type in _INPUTS:
        yield _tool_call(msg_id, item, item.type)


def _thoughts(parts: Loose, source: str) -> Iterable[Thought]:
    for part in items(parts, _PART):
        content = text(part.text) or ""
        if content.strip():
            yield Thought(content=content, source=source)


def _tool_call(msg_id: str, item: _Item, kind: str) -> ToolCall:
    """The call that an item is; a tool of the provider's own is named after the type of its calls."""
    given = (written(getattr(item, name)) for name in _INPUTS[kind])
    metadata = {key: value for key in ("namespace", "server_label") if (value := text(getattr(item, key)))}
    if kind != "function_call":
        metadata["type"] = kind
    return ToolCall(
        msg_id=msg_id,
        tool_call_id=text(item.call_id) or text(item.id) or "",
        tool=text(item.name) or kind.removesuffix("_call"),
        input=next(filter(None, given), ""),
        server_url=text(item.server_url),
        invocation_error=written(item.error) or None,
        metadata=metadata,
    )


class ResponseEvents:
    """`AnswerEvents` of the Responses API; see the module for what it tells when."""

    def __init__(self, flaws: Flaws) -> None:
        self.msg_id = ""
        self.complete = False
        self._dull: tuple[bytes, ...] = ()
        self._items_came = False

    def passes_over(self, event: bytes) -> bool:
        return event.startswith(self._dull)

    def read(self, event: bytes, facts: list[Fact]) -> None:
        if self._is_dull(event):
            return
        data = data_of(event)
        if not data or data.strip() == b"[DONE]":
            return
        told = read(_EVENT, data)
        match told.type or name_of(event).decode("utf-8", "replace"):
            case "response.output_item.done":
                self._items_came = True
                if told.item is not None:
                    facts += _facts_of(self.msg_id, told.item)
            case "response.created":
                self._know(told.response)
            case "response.completed" | "response.incomplete" | "response.failed":
                self._complete(told.response, facts)
            case "error":
                error = told.error or {"code": told.code, "message": told.message}
                if found := failure(error):
                    facts.append(found)

    def end(self, facts: list[Fact]) -> None:
        """Every fact came whole with an event of its own, so nothing is left."""

    def _is_dull(self, event: bytes) -> bool:
        beginning = _BEGINNING.match(event)
        if beginning is None or beginning.group(1).decode() in _TOLD:
            return False
        if len(self._dull) < _MAX_DULL:
            self._dull = (*self._dull, beginning.group())
        return True

    def _know(self, response: _Response | None) -> None:
        if response is not None:
            self.msg_id = text(response.id) or self.msg_id

    def _complete(self, response: _Response | None, facts: list[Fact]) -> None:
        if response is None or self.complete:
            return
        self.complete = True
        self._know(response)
        if not self._items_came:
            for item in items(response.output, _ITEM):
                facts += _facts_of(self.msg_id, item)
        facts += _end_of(self.msg_id, response)
