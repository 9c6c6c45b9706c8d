"""Counts what was recorded: an observer of the sink, beside the structured log.

Only the start of an interception says whose it is and of which model, so that much is remembered until its end, which
always comes. Nothing of a record's texts is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.metrics.instruments import Instruments
from gateway.metrics.labels import OTHER, Models, Users
from gateway.metrics.series import Tally
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)

RECORD_TYPES: Final = {
    kind: (str(kind.__struct_config__.tag),)
    for kind in (InterceptionStart, InterceptionEnd, TokenUsage, PromptUsage, ToolUsage, ModelThought)
}


class _Whose(NamedTuple):
    provider: str
    model: str
    rest: tuple[str, ...]
    """The client and, where users are told apart, the user."""


class RecordMeter:
    """An `Observer`. Without `users` nobody is told apart."""

    def __init__(self, instruments: Instruments, models: Models, users: Users | None = None) -> None:
        self._models, self._users = models, users
        self._running: dict[str, _Whose] = {}
        self._records = Tally(instruments.records)
        self._prompts = Tally(instruments.prompts)
        self._tokens = Tally(instruments.tokens)
        self._tool_calls = Tally(instruments.tool_calls)

    def hand_on(self) -> None:
        """Give what was counted to prometheus-client."""
        for tally in (self._records, self._prompts, self._tokens, self._tool_calls):
            tally.hand_on()

    def __call__(self, record: Record) -> None:
        self._records.add(RECORD_TYPES[type(record)])
        match record:
            case InterceptionStart():
                self._running[record.interception_id] = self._whose(record)
            case InterceptionEnd():
                self._running.pop(record.interception_id, None)
            case TokenUsage():
                self._count_tokens(record)
            case PromptUsage():
                self._prompts.add(self._labels(record))
            case ToolUsage():
                self._tool_calls.add(self._labels(record))

    def _whose(self, start: InterceptionStart) -> _Whose:
        rest: tuple[str, ...] = (start.client,)
        if self._users is not None:
            rest += (self._users.label(str(start.metadata.get("username", ""))),)
        return _Whose(start.provider_name, start.model, rest)

    def _count_tokens(self, usage: TokenUsage) -> None:
        whose = self._running.get(usage.interception_id)
        if whose is not None:
            self._models.learn(whose.provider, whose.model)  # a provider that counts tokens has answered
        labels = self._labels(usage)
        for kind, tokens in _counts(usage):
            if tokens > 0:
                self._tokens.add((*labels, kind), tokens)

    def _labels(self, record: Record) -> tuple[str, ...]:
        whose = self._running.get(record.interception_id)
        if whose is None:
            return (OTHER,) * (3 if self._users is None else 4)
        return whose.provider, self._models.label(whose.provider, whose.model), *whose.rest


def _counts(usage: TokenUsage) -> Iterator[tuple[str, int]]:
    yield "input", usage.input_tokens
    yield "output", usage.output_tokens
    yield "cache_read", usage.cache_read_input_tokens
    yield "cache_write", usage.cache_write_input_tokens
