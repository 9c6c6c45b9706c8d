"""What an interception came to, put together from its records while it goes on, for whoever describes it as a whole.

An observer of the sink. A summary begins with the start of an interception and is kept until it is taken; should
nobody take them, the oldest go first. Prompts are kept only where they were asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    Outcome,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)

MAX_SUMMARIES: Final = 65_536


@dataclass(slots=True)
class Summary:
    """Token counts are sums over the responses; `input_tokens` is without cached ones."""

    client: str = ""
    session_id: str | None = None
    prompt: str | None = None
    response_id: str = ""
    responses: int = 0
    """How many of them told what they cost."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    tool_calls: int = 0
    outcome: Outcome | None = None
    error_type: str | None = None


class Summaries:
    """An `Observer`. `prompts` says whether summaries have them."""

    def __init__(self, *, prompts: bool = False, max_summaries: int = MAX_SUMMARIES) -> None:
        if max_summaries <= 0:
            raise ValueError(f"max_summaries must be positive: {max_summaries}")
        self._prompts = prompts
        self._max_summaries = max_summaries
        self._summaries: OrderedDict[str, Summary] = OrderedDict()

    def __call__(self, record: Record) -> None:
        if isinstance(record, InterceptionStart):
            self._summaries[record.interception_id] = Summary(record.client, record.client_session_id)
            if len(self._summaries) > self._max_summaries:
                self._summaries.popitem(last=False)
        elif summary := self._summaries.get(record.interception_id):
            self._add(summary, record)

    def take(self, interception_id: str | None) -> Summary | None:
        """The summary, which is forgotten; None where there is none."""
        return self._summaries.pop(interception_id, None) if interception_id else None

    def _add(self, summary: Summary, record: Record) -> None:
        match record:
            case TokenUsage():
                summary.response_id = record.msg_id or summary.response_id
                summary.responses += 1
                summary.input_tokens += record.input_tokens
                summary.output_tokens += record.output_tokens
                summary.cache_read_input_tokens += record.cache_read_input_tokens
                summary.cache_write_input_tokens += record.cache_write_input_tokens
            case PromptUsage():
                summary.response_id = summary.response_id or record.msg_id
                if self._prompts:
                    summary.prompt = record.prompt
            case ToolUsage():
                summary.tool_calls += 1
            case InterceptionEnd():
                summary.outcome, summary.error_type = record.outcome, record.error_type
