"""A provider that plays one turn of a coding agent: a tool call first, and the answer once it has the result.

It speaks the format of whatever path it is asked on, streamed or not, so that one script serves every client.
Beside the turns it knows what clients ask on the way: a model list, a token count, a connectivity probe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.answers import anthropic, bedrock, chat, responses
from tests.answers.turn import ToolUse, Turn
from tests.upstream import Received, Reply, Step


@dataclass(frozen=True, slots=True)
class Agent:
    """An answer for `Upstream`: calls `tool`, then says `answer`. Side requests without tools get `answer` only."""

    tool: ToolUse
    answer: str
    thought: str = ""
    model: str = "scripted-model"
    before_the_end: tuple[Step, ...] = ()
    """What comes between the last event of a model's answer and its end: a gate, for instance."""

    def __call__(self, request: Received) -> Reply:
        if request.method == "HEAD":
            return Reply(200)
        if request.path.endswith("/models"):
            by_anthropic = request.header("anthropic-version") is not None
            return anthropic.models(self.model) if by_anthropic else chat.models(self.model)
        if request.path.endswith("/count_tokens"):
            return anthropic.token_count(100)
        reply = self._speak(request)
        return replace(reply, chunks=[*reply.chunks, *self.before_the_end])

    def _speak(self, request: Received) -> Reply:
        body = request.json
        streamed = bool(body.get("stream"))
        turn = self._turn(body)
        if request.path.endswith(("/invoke", "/invoke-with-response-stream")):
            return bedrock.reply(turn, streamed=request.path.endswith("-stream"))
        if request.path.endswith("/messages"):
            return anthropic.reply(turn, streamed=streamed)
        if request.path.endswith("/responses"):
            return responses.reply(turn, streamed=streamed)
        wanted = bool((body.get("stream_options") or {}).get("include_usage"))
        return chat.reply(turn, streamed=streamed, usage=wanted)

    def _turn(self, body: dict[str, Any]) -> Turn:
        final = Turn(text=self.answer, response_id="resp_final", model=body.get("model") or self.model)
        if not body.get("tools") or has_tool_result(body, self.tool.call_id):
            return final
        return replace(final, text="", thought=self.thought, tool=self.tool, response_id="resp_tool")


def has_tool_result(body: dict[str, Any], call_id: str) -> bool:
    """Whether a request, in any of the three formats, carries the result of that call."""
    items = body.get("messages") or body.get("input") or []
    return any(_answers(item, call_id) for item in items if isinstance(item, dict))


def _answers(item: dict[str, Any], call_id: str) -> bool:
    if item.get("tool_call_id") == call_id:
        return True
    if item.get("type") == "function_call_output" and item.get("call_id") == call_id:
        return True
    content = item.get("content")
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("tool_use_id") == call_id for block in blocks)
