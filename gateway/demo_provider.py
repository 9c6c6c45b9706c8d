"""A provider in the box: answers like OpenAI and Anthropic, costs nothing, needs no network.

It greets and repeats what was asked, in the formats of Messages, Chat completions and Responses, streamed and
blocking, and lists its one model. It understands no tools. For trying the gateway out; nothing of it is on the way of
a real request.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MODEL: Final = "demo-model"

_numbers = itertools.count(1)


def create_demo_provider() -> Starlette:
    """OpenAI's formats below `/openai`, Anthropic's below `/anthropic`."""
    return Starlette(
        routes=[
            Route("/openai/chat/completions", _chat, methods=["POST"]),
            Route("/openai/responses", _responses, methods=["POST"]),
            Route("/openai/models", _openai_models),
            Route("/anthropic/v1/messages", _messages, methods=["POST"]),
            Route("/anthropic/v1/messages/count_tokens", _count_tokens, methods=["POST"]),
            Route("/anthropic/v1/models", _anthropic_models),
        ]
    )


def _reply(asked: str) -> str:
    shown = asked.strip().splitlines()[-1][:200] if asked.strip() else "nothing"
    return f"Hello from the provider in the box. You asked: {shown}"


def _words(text: str) -> Iterator[str]:
    return (word + " " for word in text.split(" "))


def _last_text(messages: Any) -> str:
    """The text of the last user message, in any of the three formats; empty when there is none."""
    if isinstance(messages, str):
        return messages
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            texts = [part["text"] for part in content or [] if isinstance(part, dict) and "text" in part]
            return texts[-1] if texts else ""
    return ""


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _event(data: dict[str, Any], *, named: bool = True) -> bytes:
    name = f"event: {data['type']}\n" if named else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def _stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


async def _messages(request: Request) -> Response:
    body = await request.body()
    asked = json.loads(body)
    text = _reply(_last_text(asked.get("messages")))
    usage = {"input_tokens": len(body) // 4, "output_tokens": _tokens(text)}
    message = {
        "id": f"msg_demo{next(_numbers)}",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model", MODEL),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not asked.get("stream"):
        return JSONResponse(message)

    async def events() -> AsyncIterator[bytes]:
        opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        yield _event({"type": "message_start", "message": opening})
        block = {"type": "text", "text": ""}
        yield _event({"type": "content_block_start", "index": 0, "content_block": block})
        for word in _words(text):
            delta = {"type": "text_delta", "text": word}
            yield _event({"type": "content_block_delta", "index": 0, "delta": delta})
        yield _event({"type": "content_block_stop", "index": 0})
        ending = {"stop_reason": "end_turn", "stop_sequence": None}
        yield _event({"type": "message_delta", "delta": ending, "usage": usage})
        yield _event({"type": "message_stop"})

    return _stream(events())


async def _count_tokens(request: Request) -> Response:
    return JSONResponse({"input_tokens": len(await request.body()) // 4})


async def _chat(request: Request) -> Response:
    body = await request.body()
    asked = json.loads(body)
    text = _reply(_last_text(asked.get("messages")))
    prompt, completion = len(body) // 4, _tokens(text)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    head = {
        "id": f"chatcmpl-demo{next(_numbers)}",
        "created": 1_700_000_000,
        "model": asked.get("model", MODEL),
    }
    if not asked.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": None,
        }
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def events() -> AsyncIterator[bytes]:
        chunk = {**head, "object": "chat.completion.chunk"}
        for word in _words(text):
            choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            yield _event({**chunk, "choices": [choice]}, named=False)
        ending = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield _event({**chunk, "choices": [ending]}, named=False)
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield _event({**chunk, "choices": [], "usage": usage}, named=False)
        yield b"data: [DONE]\n\n"

    return _stream(events())


async def _responses(request: Request) -> Response:
    body = await request.body()
    asked = json.loads(body)
    text = _reply(_last_text(asked.get("input")))
    number = next(_numbers)
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {
        "type": "message",
        "id": f"msg_demo{number}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    given, made = len(body) // 4, _tokens(text)
    response = {
        "id": f"resp_demo{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": asked.get("model", MODEL),
        "status": "completed",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        },
    }
    if not asked.get("stream"):
        return JSONResponse(response)

    async def events() -> AsyncIterator[bytes]:
        for order, event in enumerate(_response_events(response, item, text)):
            yield _event({**event, "sequence_number": order})

    return _stream(events())


def _response_events(response: dict[str, Any], item: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**item, "status": "in_progress", "content": []},
    }
    yield {"type": "response.content_part.added", **place, "part": empty}
    for word in _words(text):
        yield {"type": "response.output_text.delta", **place, "delta": word}
    yield {"type": "response.output_text.done", **place, "text": text}
    yield {"type": "response.content_part.done", **place, "part": item["content"][0]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": response}


async def _openai_models(request: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "demo"}
    return JSONResponse({"object": "list", "data": [model]})


async def _anthropic_models(request: Request) -> Response:
    model = {"type": "model", "id": MODEL, "display_name": "Demo", "created_at": "2025-01-01T00:00:00Z"}
    return JSONResponse({"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL})
