"""What an answer says, whoever encoded it: for targets that parse answers and write them anew.

Text, reasoning, and the name, ID and input of each tool call, of a JSON document or a stream, on Chat completions or
the Messages API. Of a stream the pieces are joined, so that it may be cut in other places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class UnreadableError(Exception):
    """Neither a document nor a stream of the two APIs."""


def content(body: bytes) -> str:
    """All of it in one string. Raises `UnreadableError`."""
    try:
        if body.lstrip().startswith(b"{"):
            return "".join(_said_in_document(msgspec.json.decode(body)))
        return "".join(piece for event in _events(body) for piece in _said_in_event(event))
    except (msgspec.DecodeError, KeyError, TypeError, IndexError) as error:
        raise UnreadableError(repr(body[:300])) from error


def _events(body: bytes) -> Iterator[Any]:
    for line in body.splitlines():
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            yield msgspec.json.decode(line[5:])


def _said_in_document(answer: dict[str, Any]) -> Iterator[str]:
    for choice in answer.get("choices", ()):
        yield choice["message"]["content"] or ""
    for block in answer.get("content", ()):
        yield from _said_in_block(block)


def _said_in_event(event: dict[str, Any]) -> Iterator[str]:
    for choice in event.get("choices", ()):
        yield choice["delta"].get("content") or ""
    if "content_block" in event:
        yield from _said_in_block({**event["content_block"], "input": ""})
    delta = event.get("delta", {})
    for kind in ("text", "thinking", "partial_json"):
        yield delta.get(kind, "")


def _said_in_block(block: dict[str, Any]) -> Iterator[str]:
    for name in ("text", "thinking", "id", "name"):
        yield block.get(name, "")
    if block.get("input"):
        yield msgspec.json.encode(block["input"], order="sorted").decode()
