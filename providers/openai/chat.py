"""The Chat completions API: what a request says, the readers of its answers, and the usage we ask for.

A streamed request that doesn't ask for usage gets an edit that does, and its answer a filter that hides it; whether
they are used is for the layers to decide.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from providers.base import Api, Edit, Reader, RequestFacts, StreamFilter
from providers.blocking import BlockingReader
from providers.documents import Loose, items, last, text
from providers.openai.chat_answers import ChatEvents, read_answer
from providers.openai.usage_chunk import UsageChunkFilter, usage_edit
from providers.request_body import read_body
from providers.streaming import StreamReader


class _Request(msgspec.Struct, frozen=True):
    model: Loose = None
    stream: Loose = None
    stream_options: Loose | UnsetType = UNSET
    messages: Loose = None


class _Message(msgspec.Struct, frozen=True):
    role: Loose = None
    content: Loose = None
    tool_call_id: Loose = None


class _Part(msgspec.Struct, frozen=True):
    type: Loose = None
    text: Loose = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_PART: Final = msgspec.json.Decoder(_Part)


class ChatCompletions:
    """`POST /chat/completions`."""

    name = "chat_completions"

    def read_request(self, body: bytes) -> RequestFacts:
        request = read_body(_REQUEST, body)
        message = last(request.messages, _MESSAGE) or _Message()
        return RequestFacts(
            model=text(request.model) or "",
            stream=request.stream is True,
            prompt=_prompt(message) if message.role == "user" else None,
            correlating_tool_call_id=text(message.tool_call_id) if message.role == "tool" else None,
            usage_edit=_usage_edit(request, body),
        )

    def reader(self, *, streamed: bool) -> Reader:
        return StreamReader(ChatEvents) if streamed else BlockingReader(read_answer)

    def usage_filter(self) -> StreamFilter:
        return UsageChunkFilter()


def _prompt(message: _Message) -> str | None:
    texts = [part.text for part in items(message.content, _PART) if part.type == "text"]
    return text(message.content) or text(texts[-1] if texts else None)


def _usage_edit(request: _Request, body: bytes) -> Edit | None:
    if request.stream is not True:
        return None
    options = request.stream_options
    if isinstance(options, dict) and bytes(options.get("include_usage", b"")) == b"true":
        return None
    return usage_edit(body, has_options=options is not UNSET)


CHAT_COMPLETIONS: Final[Api] = ChatCompletions()
