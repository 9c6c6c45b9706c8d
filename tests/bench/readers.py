"""`python -m tests.bench.readers`: how fast the readers are, on one core, without any I/O.

For each API a long answer of mixed events goes through its reader in chunks of a socket's size, and one event at a
time as providers send them; and a coding agent's request of about 113 KB is read. The target is 100 MB/s of
server-sent events and about 0.1 ms for the request. Time is that of the CPU, best of several rounds, so that
neighbours on the machine count for little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from providers.anthropic.messages import MESSAGES
from providers.base import Api
from providers.openai.chat import CHAT_COMPLETIONS
from providers.openai.responses import RESPONSES
from tests.bench.conditions import machine

_CHUNK_BYTES: Final = 16 * 1024
_ROUNDS: Final = 5
_TEXT: Final = ' naïve "quoted" text'


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _named(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {_compact(event)}\n\n"


# -- answers: nine text deltas, then a piece of a tool call ------------------------------------------------------------


def _messages(events: int) -> Iterator[str]:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 30_000, "output_tokens": 1}
    yield _named({"type": "message_start", "message": {"id": "msg_bench", "usage": usage}})
    yield _named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    tool = {"type": "tool_use", "id": "toolu_bench", "name": "Bash", "input": {}}
    yield _named({"type": "content_block_start", "index": 1, "content_block": tool})
    for number in range(events):
        delta = {"type": "text_delta", "text": _TEXT}
        if number % 10 == 9:
            delta = {"type": "input_json_delta", "partial_json": _TEXT}
        yield _named({"type": "content_block_delta", "index": int(number % 10 == 9), "delta": delta})
    yield _named({"type": "content_block_stop", "index": 1})
    yield _named({"type": "message_delta", "delta": {}, "usage": {"output_tokens": events}})
    yield _named({"type": "message_stop"})


def _chat(events: int) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "gpt-bench"}
        return (
            f"data: {_compact({**head, 'system_fingerprint': 'fp', 'choices': [choice], 'usage': None})}\n\n"
        )

    for _ in range(events * 9 // 10):
        yield chunk({"content": _TEXT})
    for number in range(events // 10):
        call: dict[str, Any] = {"index": 0, "function": {"arguments": _TEXT}}
        if number == 0:
            call |= {"id": "call_bench", "function": {"name": "shell", "arguments": ""}}
        yield chunk({"tool_calls": [call]})
    yield chunk({}, "tool_calls")
    yield f"data: {_compact({'choices': [], 'usage': {'prompt_tokens': 30_000, 'completion_tokens': events}})}\n\n"
    yield "data: [DONE]\n\n"


def _responses(events: int) -> Iterator[str]:
    yield _named({"type": "response.created", "response": {"id": "resp_bench", "output": []}})
    for number in range(events):
        kind = "function_call_arguments" if number % 10 == 9 else "output_text"
        place = {"sequence_number": number, "item_id": "item_bench", "output_index": number % 10 // 9}
        yield _named({"type": f"response.{kind}.delta", **place, "delta": _TEXT})
    call = {
        "type": "function_call",
        "call_id": "call_bench",
        "name": "shell",
        "arguments": _TEXT * (events // 10),
    }
    yield _named({"type": "response.output_item.done", "output_index": 1, "item": call})
    usage = {"input_tokens": 30_000, "output_tokens": events, "total_tokens": 30_000 + events}
    answer = {"id": "resp_bench", "output": [call], "usage": usage}
    yield _named({"type": "response.completed", "response": answer})


# -- requests ----------------------------------------------------------------------------------------------------------


def _tools() -> list[dict[str, Any]]:
    properties = {f"option_{n}": {"type": "string", "description": _TEXT * 6} for n in range(6)}
    schema = {"type": "object", "properties": properties}
    return [{"name": f"tool_{n}", "description": _TEXT * 20, "input_schema": schema} for n in range(24)]


def _request(history: str) -> bytes:
    """A body of about 113 KB with its turns under `history`."""
    kind = "input_text" if history == "input" else "text"
    turns = [
        {"role": ("user", "assistant")[n % 2], "content": [{"type": kind, "text": (_TEXT + "\n") * 40}]}
        for n in range(79)
    ]
    return _compact({"model": "bench", "stream": True, "tools": _tools(), history: turns}).encode()


# -- measuring ---------------------------------------------------------------------------------------------------------


def _best_s(run: Callable[[], object]) -> float:
    def timed() -> float:
        start = time.process_time()
        run()
        return time.process_time() - start

    return min(timed() for _ in range(_ROUNDS))


def _read(api: Api, chunks: list[bytes]) -> None:
    reader = api.reader(streamed=True)
    for chunk in chunks:
        reader.feed(chunk)
    reader.close()
    if reader.flaws or not reader.msg_id:
        raise RuntimeError(f"the reader of {api.name} did not read its own benchmark: {reader.flaws}")


def _sse_rate(api: Api, chunks: list[bytes]) -> float:
    """MB (a million bytes) per second."""
    return sum(map(len, chunks)) / _best_s(lambda: _read(api, chunks)) / 1e6


def _request_us(api: Api, body: bytes) -> float:
    repeats = 100
    return _best_s(lambda: [api.read_request(body) for _ in range(repeats)]) / repeats * 1e6


def main(events: int = 20_000) -> None:
    print(f"readers: {machine()}")
    print(f"answers of {events:,} events, CPU time of one core, the best of {_ROUNDS} rounds")
    print(f"{'API':18}{'16 KiB chunks':>16}{'CRLF':>12}{'one event each':>18}{'request':>22}")
    for api, answer, history in (
        (MESSAGES, _messages, "messages"),
        (CHAT_COMPLETIONS, _chat, "messages"),
        (RESPONSES, _responses, "input"),
    ):
        stream = [event.encode() for event in answer(events)]
        whole, body = b"".join(stream), _request(history)
        crlf = whole.replace(b"\n", b"\r\n")
        rates = [
            _sse_rate(api, [data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES)])
            for data in (whole, crlf)
        ]
        print(
            f"{api.name:18}{rates[0]:11.0f} MB/s{rates[1]:7.0f} MB/s{_sse_rate(api, stream):13.0f} MB/s"
            f"{_request_us(api, body):9.0f} us / {len(body) // 1000} KB"
        )


if __name__ == "__main__":
    main()
