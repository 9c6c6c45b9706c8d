"""OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses), blocking and streamed."""

from __future__ import annotations

from typing import Any

from tests.answers import chat
from tests.answers.turn import Turn, blocking, halves, named_event, streaming
from tests.upstream import Reply

error = chat.error
models = chat.models


def reply(turn: Turn, *, streamed: bool, cut_after: int | None = None) -> Reply:
    """The turn as a response, or as the events of one."""
    return streaming(events(turn), cut_after=cut_after) if streamed else blocking(response(turn))


def response(turn: Turn) -> dict[str, Any]:
    return {**_envelope(turn), "status": "completed", "output": _items(turn), "usage": _usage(turn)}


def events(turn: Turn) -> list[bytes]:
    """The stream of a response: each item is announced, told in pieces, and repeated whole when it is done."""
    begun = {**_envelope(turn), "status": "in_progress", "output": [], "usage": None}
    found: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(_items(turn)):
        opened = {**item, "status": "in_progress", **_EMPTY[item["type"]]}
        found.append({"type": "response.output_item.added", "output_index": index, "item": opened})
        found += [{"output_index": index, "item_id": item["id"], **event} for event in _pieces(turn, item)]
        found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    found.append({"type": "response.completed", "response": response(turn)})
    return [named_event({**event, "sequence_number": n}) for n, event in enumerate(found)]


def error_event(code: str, text: str) -> bytes:
    """The event by which the API reports an error after the stream has begun."""
    return named_event({"type": "error", "code": code, "message": text, "param": None, "sequence_number": 0})


_EMPTY: dict[str, dict[str, Any]] = {
    "reasoning": {"summary": []},
    "message": {"content": []},
    "function_call": {"arguments": ""},
}


def _envelope(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.response_id,
        "object": "response",
        "created_at": 1767225600,
        "model": turn.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _items(turn: Turn) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if turn.thought:
        summary = [{"type": "summary_text", "text": turn.thought}]
        items.append({"id": "rs_scripted_1", "type": "reasoning", "summary": summary, "status": "completed"})
    if turn.text:
        items.append(
            {
                "id": "msg_scripted_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [_text_part(turn.text)],
            }
        )
    if turn.tool:
        items.append(
            {
                "id": "fc_scripted_1",
                "type": "function_call",
                "status": "completed",
                "call_id": turn.tool.call_id,
                "name": turn.tool.name,
                "arguments": turn.tool.input,
            }
        )
    return items


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _pieces(turn: Turn, item: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands between an item's announcement and its end."""
    if item["type"] == "message":
        return _message_pieces(turn)
    if item["type"] == "reasoning":
        return _reasoning_pieces(turn)
    fragments = [
        {"type": "response.function_call_arguments.delta", "delta": piece}
        for piece in halves(item["arguments"])
    ]
    done = {"type": "response.function_call_arguments.done", "arguments": item["arguments"]}
    return [*fragments, {**done, "name": item["name"]}]


def _message_pieces(turn: Turn) -> list[dict[str, Any]]:
    place = {"content_index": 0}
    deltas = [
        {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **place}
        for piece in turn.text_pieces
    ]
    return [
        {"type": "response.content_part.added", "part": _text_part(""), **place},
        *deltas,
        {"type": "response.output_text.done", "text": turn.text, "logprobs": [], **place},
        {"type": "response.content_part.done", "part": _text_part(turn.text), **place},
    ]


def _reasoning_pieces(turn: Turn) -> list[dict[str, Any]]:
    place = {"summary_index": 0}
    part = {"type": "summary_text", "text": turn.thought}
    deltas = [
        {"type": "response.reasoning_summary_text.delta", "delta": piece, **place}
        for piece in turn.thought_pieces
    ]
    return [
        {"type": "response.reasoning_summary_part.added", "part": {**part, "text": ""}, **place},
        *deltas,
        {"type": "response.reasoning_summary_text.done", "text": turn.thought, **place},
        {"type": "response.reasoning_summary_part.done", "part": part, **place},
    ]


def _usage(turn: Turn) -> dict[str, Any]:
    whole_input = turn.input_tokens + turn.cached_tokens
    return {
        "input_tokens": whole_input,
        "input_tokens_details": {"cached_tokens": turn.cached_tokens},
        "output_tokens": turn.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": whole_input + turn.output_tokens,
    }
