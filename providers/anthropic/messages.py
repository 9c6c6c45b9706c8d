"""The Messages API: what a request says, and the readers of its answers.

The body's `metadata.user_id` may name Claude Code's session: as JSON with `session_id`, or after `_session_`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from providers.anthropic.content import read_answer
from providers.anthropic.stream import MessageEvents
from providers.base import Api, Reader, RequestFacts, StreamFilter
from providers.blocking import BlockingReader
from providers.documents import Loose, anything, items, last, text
from providers.pass_through import PassThrough
from providers.request_body import read_body
from providers.streaming import StreamReader


class _Request(msgspec.Struct, frozen=True):
    model: Loose = None
    stream: Loose = None
    messages: Loose = None
    metadata: Loose = None


class _Message(msgspec.Struct, frozen=True):
    role: Loose = None
    content: Loose = None


class _Block(msgspec.Struct, frozen=True):
    type: Loose = None
    text: Loose = None
    tool_use_id: Loose = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BLOCK: Final = msgspec.json.Decoder(_Block)


class Messages:
    """`POST /v1/messages`."""

    name = "messages"

    def read_request(self, body: bytes) -> RequestFacts:
        request = read_body(_REQUEST, body)
        message = last(request.messages, _MESSAGE) or _Message()
        blocks = items(message.content, _BLOCK)
        return RequestFacts(
            model=text(request.model) or "",
            stream=request.stream is True,
            prompt=_prompt(message, blocks),
            correlating_tool_call_id=_last_of([b.tool_use_id for b in blocks if b.type == "tool_result"]),
            session_id=_session_id(request.metadata),
        )

    def reader(self, *, streamed: bool) -> Reader:
        return StreamReader(MessageEvents) if streamed else BlockingReader(read_answer)

    def usage_filter(self) -> StreamFilter:
        return PassThrough()


def _prompt(message: _Message, blocks: list[_Block]) -> str | None:
    if message.role != "user":
        return None
    return text(message.content) or _last_of([b.text for b in blocks if b.type == "text"])


def _last_of(values: list[Loose]) -> str | None:
    return text(values[-1]) if values else None


def _session_id(metadata: Loose) -> str | None:
    user_id = anything(metadata["user_id"]) if isinstance(metadata, dict) and "user_id" in metadata else None
    if not isinstance(user_id, str):
        return None
    if user_id.lstrip().startswith("{"):
        claims = anything(user_id.encode("utf-8", "replace"))
        session = claims.get("session_id") if isinstance(claims, dict) else None
    else:
        session = user_id.rpartition("_session_")[2] if "_session_" in user_id else None
    return session.strip() or None if isinstance(session, str) else None


MESSAGES: Final[Api] = Messages()
