"""The Responses API: what a request says, and the readers of its answers.

`background: true` is refused: the answer would come by another request, past the recording.
"""

from __future__ import annotations

from typing import Final

import msgspec

from providers.base import Api, Reader, RequestFacts, RequestRefused, StreamFilter
from providers.blocking import BlockingReader
from providers.documents import ABSENT, Loose, anything, items, last, text
from providers.openai.bonds import bond_of
from providers.openai.response_answers import ResponseEvents, read_answer
from providers.pass_through import PassThrough
from providers.request_body import read_body
from providers.streaming import StreamReader


class _Request(msgspec.Struct, frozen=True):
    model: Loose = None
    stream: Loose = None
    background: Loose = None
    input: Loose = None
    previous_response_id: Loose = None
    conversation: Loose = None


class _Item(msgspec.Struct, frozen=True):
    type: Loose = None
    role: Loose = None
    content: Loose = None
    call_id: Loose = None
    encrypted_content: Loose = None


class _Part(msgspec.Struct, frozen=True):
    type: Loose = None
    text: Loose = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_ITEM: Final = msgspec.json.Decoder(_Item)
_PART: Final = msgspec.json.Decoder(_Part)


class Responses:
    """`POST /responses`."""

    name = "responses"

    def read_request(self, body: bytes) -> RequestFacts:
        request = read_body(_REQUEST, body)
        if request.background is True:
            raise RequestRefused(501, "background responses are not supported")
        item = last(request.input, _ITEM) or _Item()
        return RequestFacts(
            model=text(request.model) or "",
            stream=request.stream is True,
            prompt=text(request.input) or _prompt(item),
            correlating_tool_call_id=_correlating_id(item),
            bound_to=_bond(request, body),
        )

    def reader(self, *, streamed: bool) -> Reader:
        return StreamReader(ResponseEvents) if streamed else BlockingReader(read_answer)

    def usage_filter(self) -> StreamFilter:
        return PassThrough()


def _prompt(item: _Item) -> str | None:
    if item.role != "user" or item.type not in (None, "message"):
        return None
    parts = items(item.content, _PART)
    return text(item.content) or text(
        "\n".join(t for p in parts if p.type == "input_text" and (t := text(p.text)))
    )


def _correlating_id(item: _Item) -> str | None:
    """The call that the last item answers: `function_call_output`, `custom_tool_call_output` and their like."""
    answers = isinstance(item.type, str) and item.type.endswith("_call_output")
    return text(item.call_id) if answers else None


def _bond(request: _Request, body: bytes) -> str | None:
    """The earlier response, the stored conversation, or the latest encrypted reasoning that the request builds on."""
    conversation = request.conversation
    if isinstance(conversation, dict):
        conversation = anything(conversation.get("id", ABSENT))
    return text(request.previous_response_id) or text(conversation) or _reasoning(request.input, body)


def _reasoning(given: Loose, body: bytes) -> str | None:
    if not isinstance(given, list) or b'"encrypted_content"' not in body:
        return None
    for raw in reversed(given):
        item = last([raw], _ITEM)
        if item is not None and (encrypted := text(item.encrypted_content)):
            return bond_of(encrypted)
    return None


RESPONSES: Final[Api] = Responses()
