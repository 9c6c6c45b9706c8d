"""The bodies of the rows, made by a seeded generator: the same bytes on every machine.

`turn` is a coding agent's turn on the Messages API: a system prompt, 24 tools, a history of messages, tool calls and
their results, and a stream of 300 events with thinking, text and a tool call; `long` is the same with a longer history
and a longer answer. Bodies are written by hand-chosen JSON options, with escapes and letters beyond ASCII, because
that is what clients send.

A number stands in each (see `template`): the answer names a tool call with the number that the request brought, and
the next request of the same conversation returns the result of that call, so that lineage has real work to do. Each
row has a model of its own, so that its requests can be told from the others' even when somebody wrote them anew.
"""

from __future__ import annotations

import json
import random
from typing import Any

from tests.bench.template import PLACEHOLDER, Template

NUMBER = PLACEHOLDER.decode()
TOOLS = 24
TURN_BYTES = 115_000
TURN_EVENTS = 300
LONG_BYTES = 600_000
LONG_EVENTS = 3_000
IDLE_EVENTS = 18
STEADY_EVENTS = 500
BLOCKING_BYTES = 30_000
STAMP = b"@" * 16
"""Where an event tells when it was written: microseconds of the clock that all processes of a machine share."""
_PROSE = (
    "the gateway reads each chunk once and sends it on before it asks for more; def main(path: str) -> None: return "
    'error "quoted" C:\\temp\\file naïve Grüße 完了 tests/test_stream.py line 128 in <module> assert value == 0.10e-2 '
    "async with client.stream() as answer: for token in answer // TODO { } [ ] tab\t newline\n"
)
_WORDS = _PROSE.split(" ")


class _Prose:
    """Text of a wanted length, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self, length: int) -> str:
        words: list[str] = []
        size = 0
        while size < length:
            words.append(self._random.choice(_WORDS))
            size += len(words[-1]) + 1
        return " ".join(words)[:length]


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _exactly(value: dict[str, Any], size: int, pad: list[Any]) -> bytes:
    """`value` as JSON of exactly `size` bytes; the last text of `pad` grows to fill it."""
    missing = size - len(_dump(value))
    if missing < 0:
        raise ValueError(f"the payload is {-missing} bytes longer than {size}")
    pad[-1]["text"] += "." * missing
    return _dump(value)


# -- turn ---------------------------------------------------------------------------------------------------------


def _tool(index: int, prose: _Prose) -> dict[str, Any]:
    properties = {
        f"option_{n}": {"type": "string", "description": prose.text(90), "enum": ["auto", "always", "never"]}
        for n in range(5)
    }
    return {
        "name": f"tool_{index:02d}",
        "description": prose.text(420),
        "input_schema": {"type": "object", "properties": properties, "required": ["option_0"]},
    }


def _exchange(index: int, prose: _Prose) -> list[dict[str, Any]]:
    call = f"toolu_history_{index:04d}"
    return [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": prose.text(250)},
                {"type": "tool_use", "id": call, "name": "tool_03", "input": {"option_0": prose.text(120)}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call, "content": prose.text(1_400)}],
        },
    ]


def turn_request(
    model: str = "claude-bench-turn", size: int = TURN_BYTES, *, stream: bool = True
) -> Template:
    """A request of `size` bytes on the Messages API that ends in the result of the previous tool call."""
    prose = _Prose(1)
    opening = [{"type": "text", "text": prose.text(500)}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": opening}]
    last = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": f"toolu_{NUMBER}", "content": "ok"}],
    }
    body = {
        "model": model,
        "max_tokens": 32_000,
        "stream": stream,
        "temperature": 1.0,
        "metadata": {"user_id": "user_bench_account__session_00000000-0000-4000-8000-000000000000"},
        "system": [{"type": "text", "text": prose.text(9_000), "cache_control": {"type": "ephemeral"}}],
        "tools": [_tool(index, prose) for index in range(TOOLS)],
        "messages": messages,
    }
    length, index = len(_dump(body)), 0
    while length < size - 3_500:
        exchange = _exchange(index, prose)
        messages += exchange
        length += len(_dump(exchange)) - 1  # a comma more, two brackets less
        index += 1
    call = {"type": "tool_use", "id": f"toolu_{NUMBER}", "name": "tool_03", "input": {"option_0": "auto"}}
    messages += [{"role": "assistant", "content": [call]}, last]
    return Template(_exactly(body, size, opening))


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _dump({"type": kind, **fields}))


def _block(index: int, block: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
    return [
        _event("content_block_start", index=index, content_block=block),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def turn_events(model: str = "claude-bench-turn", count: int = TURN_EVENTS) -> tuple[Template, ...]:
    """The `count` events that answer a turn: thinking, text, a tool call."""
    prose = _Prose(2)
    thinking = [{"type": "thinking_delta", "thinking": prose.text(24)} for _ in range(count // 5)]
    arguments = [
        {"type": "input_json_delta", "partial_json": part} for part in ('{"option_0":', '"auto"', "}")
    ]
    call = {"type": "tool_use", "id": f"toolu_{NUMBER}", "name": "tool_03", "input": {}}
    fixed = 3 + 3 * 2 + len(thinking) + len(arguments) + 1
    text = [{"type": "text_delta", "text": prose.text(24)} for _ in range(count - fixed)]
    events = [
        _message_start(model),
        _event("ping"),
        *_block(0, {"type": "thinking", "thinking": "", "signature": ""}, thinking),
        *_block(1, {"type": "text", "text": ""}, text),
        *_block(2, call, arguments),
        _event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 640}),
        _event("message_stop"),
    ]
    return tuple(Template(event) for event in events)


def _message_start(model: str) -> bytes:
    usage = {"input_tokens": 12, "cache_read_input_tokens": 28_000, "cache_creation_input_tokens": 900}
    message: dict[str, Any] = {
        "id": f"msg_{NUMBER}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "usage": {**usage, "output_tokens": 1},
    }
    return _event("message_start", message=message)


# -- steady -------------------------------------------------------------------------------------------------------


def short_request(model: str) -> Template:
    """A short question on the Messages API that is answered for a long time."""
    content = [{"type": "text", "text": f"Request {NUMBER}"}]
    body = {"model": model, "max_tokens": 9_000, "stream": True}
    return Template(_dump({**body, "messages": [{"role": "user", "content": content}]}))


def steady_events() -> tuple[Template, ...]:
    """`STEADY_EVENTS` events, of which each text tells when it was written."""
    said = [{"type": "text_delta", "text": f"at {STAMP.decode()} "} for _ in range(STEADY_EVENTS - 5)]
    events = [
        _message_start("claude-bench-steady"),
        *_block(0, {"type": "text", "text": ""}, said),
        _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 640}),
        _event("message_stop"),
    ]
    return tuple(Template(event) for event in events)


# -- blocking -----------------------------------------------------------------------------------------------------


def blocking_answer() -> Template:
    """One JSON document of `BLOCKING_BYTES` on the Messages API."""
    content: list[dict[str, Any]] = [
        {"type": "tool_use", "id": f"toolu_{NUMBER}", "name": "tool_03", "input": {"option_0": "auto"}},
        {"type": "text", "text": _Prose(3).text(25_000)},
    ]
    answer = {
        "id": f"msg_{NUMBER}",
        "type": "message",
        "role": "assistant",
        "model": "claude-bench-blocking",
        "content": content,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 28_000, "output_tokens": 6_400},
    }
    return Template(_exactly(answer, BLOCKING_BYTES, content))


# -- small, models ------------------------------------------------------------------------------------------------


def small_request() -> Template:
    """150 bytes on Chat completions."""
    content = [{"type": "text", "text": f"Request {NUMBER}: "}]
    body = {"model": "gpt-bench-1", "messages": [{"role": "user", "content": content}]}
    return Template(_exactly(body, 150, content))


def small_answer() -> Template:
    """600 bytes on Chat completions."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    answer = {
        "id": f"chatcmpl-{NUMBER}",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-bench-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80},
    }
    message["content"] = "." * (600 - len(_dump(answer)))
    return Template(_dump(answer))


def models_answer() -> Template:
    """A list of 20 models, as the OpenAI API gives it."""
    models = [
        {"id": f"gpt-bench-{n}", "object": "model", "created": 1_760_000_000, "owned_by": "bench"}
        for n in range(20)
    ]
    return Template(_dump({"object": "list", "data": models}))
