"""What a model says in one response, free of any wire format, and how a reply is put on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.upstream import CUT, Reply, Step

JSON_HEADERS = ((b"content-type", b"application/json"), (b"x-request-id", b"req_scripted"))
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-request-id", b"req_scripted"),
)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call the model makes; `input` is the JSON text of its arguments."""

    name: str
    input: str
    call_id: str = "call_scripted_1"


@dataclass(frozen=True, slots=True)
class Turn:
    """One response: reasoning first, then text, then at most one tool call."""

    text: str = ""
    thought: str = ""
    tool: ToolUse | None = None
    response_id: str = "resp_scripted_1"
    model: str = "scripted-model"
    input_tokens: int = 100
    cached_tokens: int = 0
    output_tokens: int = 10

    @property
    def text_pieces(self) -> list[str]:
        """The text as a model streams it: word by word."""
        return _words(self.text)

    @property
    def thought_pieces(self) -> list[str]:
        return _words(self.thought)


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + ([words[-1]] if words[-1] else [])


def halves(text: str) -> list[str]:
    """Arguments as a model streams them: in two fragments that are no JSON alone."""
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


def blocking(
    document: dict[str, Any], status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    """One JSON document, with its length."""
    body = json.dumps(document).encode()
    return Reply(status, (*JSON_HEADERS, (b"content-length", b"%d" % len(body)), *headers), [body])


def streaming(events: list[bytes], *, cut_after: int | None = None) -> Reply:
    """Server-sent events, one chunk each; with `cut_after`, the connection breaks after that many."""
    steps: list[Step] = list(events) if cut_after is None else [*events[:cut_after], CUT]
    return Reply(200, STREAM_HEADERS, steps)


def named_event(document: dict[str, Any]) -> bytes:
    """An event whose name is the `type` of its data, as Messages and Responses write them."""
    return b"event: %s\ndata: %s\n\n" % (document["type"].encode(), json.dumps(document).encode())


def data_event(document: dict[str, Any]) -> bytes:
    """An event without a name, as Chat completions writes them."""
    return b"data: %s\n\n" % json.dumps(document).encode()
