"""Anthropic's Messages API (https://docs.anthropic.com/en/api/messages), blocking and streamed."""

from __future__ import annotations

import json
from typing import Any

from tests.answers.turn import Turn, blocking, halves, named_event, streaming
from tests.upstream import Reply


def reply(turn: Turn, *, streamed: bool, cut_after: int | None = None) -> Reply:
    """The turn as a message, or as the events of one."""
    return streaming(events(turn), cut_after=cut_after) if streamed else blocking(message(turn))


def message(turn: Turn) -> dict[str, Any]:
    return {
        **_envelope(turn),
        "content": _blocks(turn),
        "stop_reason": "tool_use" if turn.tool else "end_turn",
        "usage": _usage(turn, turn.output_tokens),
    }


def events(turn: Turn) -> list[bytes]:
    """The stream of a message. Its `message_delta` repeats the usage in full: those counts replace the first."""
    opening = {**_envelope(turn), "content": [], "stop_reason": None, "usage": _usage(turn, 1)}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": opening}, {"type": "ping"}]
    for index, block in enumerate(_blocks(turn)):
        found.append({"type": "content_block_start", "index": index, "content_block": _emptied(block)})
        found += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(turn, block)
        ]
        found.append({"type": "content_block_stop", "index": index})
    stop_reason = "tool_use" if turn.tool else "end_turn"
    found.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": _usage(turn, turn.output_tokens),
        }
    )
    found.append({"type": "message_stop"})
    return [named_event(event) for event in found]


def error(status: int, kind: str, text: str, *, retry_after_s: int | None = None) -> Reply:
    """An error as the API answers it: 429 `rate_limit_error`, 529 `overloaded_error`, ..."""
    headers = () if retry_after_s is None else ((b"retry-after", b"%d" % retry_after_s),)
    return blocking(_error(kind, text), status, headers)


def error_event(kind: str, text: str) -> bytes:
    """The event by which the API reports an error after the stream has begun."""
    return named_event(_error(kind, text))


def models(*ids: str) -> Reply:
    entries = [
        {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}
        for model in ids
    ]
    last = ids[-1] if ids else None
    return blocking(
        {"data": entries, "has_more": False, "first_id": ids[0] if ids else None, "last_id": last}
    )


def token_count(tokens: int) -> Reply:
    """The answer of `/v1/messages/count_tokens`."""
    return blocking({"input_tokens": tokens})


def _envelope(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.response_id,
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "stop_sequence": None,
    }


def _usage(turn: Turn, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": turn.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": turn.cached_tokens,
        "output_tokens": output_tokens,
    }


def _blocks(turn: Turn) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if turn.thought:
        blocks.append({"type": "thinking", "thinking": turn.thought, "signature": "c2lnbmVk"})
    if turn.text:
        blocks.append({"type": "text", "text": turn.text})
    if turn.tool:
        call = {"id": turn.tool.call_id, "name": turn.tool.name, "input": json.loads(turn.tool.input)}
        blocks.append({"type": "tool_use", **call})
    return blocks


def _emptied(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {key: empty.get(key, value) if key != "type" else value for key, value in block.items()}


def _deltas(turn: Turn, block: dict[str, Any]) -> list[dict[str, Any]]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in turn.text_pieces]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in turn.thought_pieces]
        return [*thoughts, {"type": "signature_delta", "signature": block["signature"]}]
    pieces = halves(turn.tool.input) if turn.tool else []
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_scripted"}
