"""Tools that a turn may call. The host of the service gives its own; some come with the service.

A tool is a name, a description and a JSON schema for the model, and a coroutine function for us. What it raises never
ends a turn: a `ToolError` is told to the model in its own words, anything else as a failure, and to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from gateway.chat.content import Image, ToolCall, ToolResult, ToolSpec

log = logging.getLogger("ai_gateway.chat")

MAX_RESULT: Final = 200_000
"""Characters of a result that a model is told."""


class ToolError(Exception):
    """The tool can't do what was asked; the text tells the model why."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool found, with pictures."""

    content: str
    images: tuple[Image, ...] = ()


class Turning(Protocol):
    """The turn that calls a tool, as far as a tool may know it."""

    @property
    def chat_id(self) -> str: ...

    @property
    def owner_id(self) -> str: ...

    @property
    def api_key_id(self) -> str | None:
        """The key that is accountable for the turn."""
        ...


Run: TypeAlias = Callable[[Any, dict[str, Any]], Awaitable[str | Output]]
"""(the turn, the arguments) -> what the model is told."""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: dict[str, Any]
    run: Run
    kinds: frozenset[str] = frozenset({"chat", "subagent"})
    """The kinds of chats that have it: `chat`, `subagent`, `computer_use`."""

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=self.description, parameters=self.parameters)


class ToolBox:
    """Raises `ValueError` when two tools have one name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name!r}: rename one of them")
            self._tools[tool.name] = tool

    def of(self, kind: str) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self._tools.values() if kind in tool.kinds)

    async def call(self, call: ToolCall, turn: Turning, kind: str) -> ToolResult:
        """Never raises, but for cancellation."""
        tool = self._tools.get(call.name)
        if tool is None or kind not in tool.kinds:
            return _failed(call, f"there is no tool {call.name!r}")
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError):
            return _failed(call, "the arguments are not a JSON object")
        try:
            output = _output(await tool.run(turn, arguments))
        except ToolError as error:
            return _failed(call, str(error))
        except Exception as error:
            log.exception("the tool %s failed", tool.name)
            return _failed(call, f"the tool failed: {type(error).__name__}")
        return ToolResult(
            call_id=call.call_id, name=call.name, content=output.content[:MAX_RESULT], images=output.images
        )


def _output(given: object) -> Output:
    """Raises `TypeError` for what no tool may give."""
    if isinstance(given, Output):
        return given
    if isinstance(given, str):
        return Output(content=given)
    raise TypeError(f"a tool gives a str or an Output, not {type(given).__name__}")


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, name=call.name, content=why, is_error=True)


def text_argument(arguments: dict[str, Any], name: str) -> str:
    """A text that a tool can't do without. Raises `ToolError`."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"the argument {name} is missing: give a text")
    return value
