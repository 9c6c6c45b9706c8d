"""The three APIs as the scenarios speak them: requests with a number, and answers in which it comes back.

The number is in the prompt, in the ID of the response and in that of the tool call, so that each record can be matched
with the answer that it is about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.answers import anthropic, chat, responses
from tests.answers.turn import ToolUse, Turn
from tests.upstream import Received

_NUMBER = re.compile(rb"question (\d+)")


@dataclass(frozen=True, slots=True)
class Api:
    """`events` are a whole answer's; `path` is the gateway's route."""

    name: str
    path: str
    events: Callable[[Turn], list[bytes]]

    def body(self, number: int, *, padding: int = 0) -> bytes:
        """A streamed request."""
        prompt = f"question {number}" + " pad" * (padding // 4)
        if self.name == "responses":
            document: dict[str, object] = {"model": "m", "stream": True, "input": prompt}
        else:
            messages = [{"role": "user", "content": prompt}]
            document = {"model": "m", "stream": True, "max_tokens": 9, "messages": messages}
        if self.name == "chat":
            document["stream_options"] = {"include_usage": True}
        return json.dumps(document).encode()


APIS = (
    Api("messages", "/anthropic/v1/messages", anthropic.events),
    Api("chat", "/openai/v1/chat/completions", chat.events),
    Api("responses", "/openai/v1/responses", responses.events),
)


def answering(api: Api, number: int, called: int) -> bytes:
    """A streamed request that goes on after the answer with the number `called`: it brings the result of its call."""
    document = json.loads(api.body(number))
    tool = turn_of(called).tool
    assert tool is not None
    if api.name == "messages":
        use = {"type": "tool_use", "id": tool.call_id, "name": tool.name, "input": json.loads(tool.input)}
        result = {"type": "tool_result", "tool_use_id": tool.call_id, "content": "sunny"}
        document["messages"] += [
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
    elif api.name == "chat":
        function = {"name": tool.name, "arguments": tool.input}
        call = {"id": tool.call_id, "type": "function", "function": function}
        document["messages"] += [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": tool.call_id, "content": "sunny"},
        ]
    else:
        document["input"] = [
            {"role": "user", "content": document["input"]},
            {"type": "function_call", "call_id": tool.call_id, "name": tool.name, "arguments": tool.input},
            {"type": "function_call_output", "call_id": tool.call_id, "output": "sunny"},
        ]
    return json.dumps(document).encode()


def turn_of(number: int) -> Turn:
    """Text, a thought and a tool call."""
    tool = ToolUse("weather", '{"city": "Bonn"}', f"call-{number}")
    return Turn(text="It is sunny.", thought="Let me see.", tool=tool, response_id=f"resp-{number}")


def number_of(request: Received) -> int:
    found = _NUMBER.search(request.body)
    assert found is not None, request.body[:200]
    return int(found[1])


def events_of(request: Received) -> list[bytes]:
    """The whole answer to a request, in the format of its path."""
    turn = turn_of(number_of(request))
    api = next(api for api in APIS if request.path.endswith(api.path.rpartition("/v1")[2]))
    return api.events(turn)
