"""Every tool call gets a result, because every provider refuses a conversation in which one is missing.

A turn that was interrupted leaves calls without results, and results may come late, behind a message that was sent
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Final

from gateway.chat.content import Said, ToolCall, ToolResult

INTERRUPTED: Final = "interrupted: the turn ended before this tool gave its result"


def with_results(messages: Sequence[Said]) -> list[Said]:
    """The conversation, with the results of an answer's calls in one message right behind it, in the calls' order.

    What was never answered gets an error as its result. Results that nothing asked for are left out.
    """
    told: list[Said] = []
    for index, said in enumerate(messages):
        if said.role == "tool":
            continue
        told.append(said)
        if calls := [part for part in said.parts if isinstance(part, ToolCall)]:
            results = _until_next_answer(islice(messages, index + 1, None))
            told.append(Said("tool", tuple(results.get(call.call_id) or _missing(call) for call in calls)))
    return told


def _until_next_answer(later: Iterable[Said]) -> dict[str, ToolResult]:
    # No further: some servers number the calls of each answer anew.
    return {
        part.call_id: part
        for said in takewhile(lambda said: said.role != "assistant", later)
        for part in said.parts
        if isinstance(part, ToolResult)
    }


def _missing(call: ToolCall) -> ToolResult:
    return ToolResult(call_id=call.call_id, name=call.name, content=INTERRUPTED, is_error=True)
