"""OpenAI's Chat completions (https://platform.openai.com/docs/api-reference/chat), blocking and streamed."""

from __future__ import annotations

from typing import Any

from tests.answers.turn import ToolUse, Turn, blocking, data_event, halves, streaming
from tests.upstream import Reply

DONE = b"data: [DONE]\n\n"


def reply(turn: Turn, *, streamed: bool, usage: bool = True, cut_after: int | None = None) -> Reply:
    """The turn as a completion or as its chunks; `usage` is what `stream_options.include_usage` asks for."""
    if streamed:
        return streaming(events(turn, usage=usage), cut_after=cut_after)
    return blocking(completion(turn))


def completion(turn: Turn) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.tool:
        said["tool_calls"] = [_call(turn.tool, turn.tool.input)]
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _finish(turn)}
    return {**_envelope(turn, "chat.completion"), "choices": [choice], "usage": _usage(turn)}


def events(turn: Turn, *, usage: bool = True) -> list[bytes]:
    """The chunks of a completion, the usage chunk (which has no choices) and the end mark."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in turn.text_pieces]
    if turn.tool:
        deltas.append({"tool_calls": [{"index": 0, **_call(turn.tool, "")}]})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            for piece in halves(turn.tool.input)
        ]
    envelope = _envelope(turn, "chat.completion.chunk")
    chunks = [{**envelope, "choices": [_choice(delta, None)]} for delta in deltas]
    chunks.append({**envelope, "choices": [_choice({}, _finish(turn))]})
    if usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**envelope, "choices": [], "usage": _usage(turn)})
    return [*map(data_event, chunks), DONE]


def error(
    status: int, kind: str, text: str, *, code: str | None = None, retry_after_s: int | None = None
) -> Reply:
    """An error as the API answers it; Responses words its errors alike."""
    headers = () if retry_after_s is None else ((b"retry-after", b"%d" % retry_after_s),)
    return blocking(_error(kind, text, code), status, headers)


def error_event(kind: str, text: str) -> bytes:
    """The data by which an error shows after the stream has begun."""
    return data_event(_error(kind, text, None))


def models(*ids: str) -> Reply:
    entries = [
        {"id": model, "object": "model", "created": 1767225600, "owned_by": "scripted"} for model in ids
    ]
    return blocking({"object": "list", "data": entries})


def _envelope(turn: Turn, kind: str) -> dict[str, Any]:
    return {"id": turn.response_id, "object": kind, "created": 1767225600, "model": turn.model}


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _finish(turn: Turn) -> str:
    return "tool_calls" if turn.tool else "stop"


def _call(tool: ToolUse, arguments: str) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": arguments}
    return {"id": tool.call_id, "type": "function", "function": function}


def _usage(turn: Turn) -> dict[str, Any]:
    prompt = turn.input_tokens + turn.cached_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": turn.output_tokens,
        "total_tokens": prompt + turn.output_tokens,
        "prompt_tokens_details": {"cached_tokens": turn.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _error(kind: str, text: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}
