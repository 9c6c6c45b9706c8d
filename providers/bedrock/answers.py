"""From Bedrock's answers to Anthropic's: event stream messages become server-sent events, errors get Anthropic's shape.

A `chunk` carries one event of the Messages stream, which goes on byte for byte under the name that it bears itself.
An exception within the stream becomes an `error` event. Of a blocking answer nothing is changed: it is a message.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from providers.anthropic.errors import error_body
from providers.bedrock.event_stream import EventMessage, EventStreamDecoder

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"

MAX_ERROR_CHARS: Final = 1000

_STATUSES: Final = {
    "validationException": 400,
    "accessDeniedException": 403,
    "resourceNotFoundException": 404,
    "modelTimeoutException": 504,
    "throttlingException": 429,
    "modelStreamErrorException": 500,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
"""What status an exception would have had as an answer, which decides what Anthropic calls it."""


class _Chunk(msgspec.Struct):
    bytes: str


class _Event(msgspec.Struct):
    type: str


class _Error(msgspec.Struct):
    message: str | None = None
    capital: str | None = msgspec.field(name="Message", default=None)


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_EVENT: Final = msgspec.json.Decoder(_Event)
_ERROR: Final = msgspec.json.Decoder(_Error)


class EventTranslator:
    """Event stream in, server-sent events out. `broken` says why nothing more can come, and is empty until then."""

    def __init__(self) -> None:
        self._decoder = EventStreamDecoder()
        self._unreadable = ""

    @property
    def broken(self) -> str:
        return self._unreadable or self._decoder.broken

    def feed(self, data: bytes) -> bytes:
        """The events that are now whole, as they were sent; nothing after `broken`."""
        events: list[bytes] = []
        for message in self._decoder.feed(data):
            if not self._unreadable:
                events.append(self._event(message))
        return b"".join(events)

    def close(self) -> None:
        self._decoder.close()

    def _event(self, message: EventMessage) -> bytes:
        headers = message.headers
        kind = headers.get(":message-type", "")
        if kind == "exception":
            return _error_event(headers.get(":exception-type", ""), _message(message.payload))
        if kind == "error":
            return _error_event(headers.get(":error-code", ""), headers.get(":error-message", ""))
        if headers.get(":event-type") != "chunk":
            return b""  # of another kind, which a later version may bring
        try:
            data = base64.b64decode(_CHUNK.decode(message.payload).bytes, validate=True)
            return _named(_EVENT.decode(data).type, data)
        except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
            self._unreadable = "a chunk of the stream can't be read"
            return b""


def bedrock_error(status: int, body: bytes) -> bytes:
    """The body of an error answer in Anthropic's shape."""
    return error_body("", status, _message(body) or f"Amazon Bedrock answered with status {status}")


def _error_event(exception: str, message: str) -> bytes:
    known = exception[:1].lower() + exception[1:]
    return _named("error", error_body("", _STATUSES.get(known, 500), message or exception or "unknown error"))


def _named(name: str, data: bytes) -> bytes:
    """One server-sent event. JSON may hold line ends between its tokens, which would end a line of the event."""
    return b"event: %b\ndata: %b\n\n" % (
        b" ".join(name.encode().splitlines()),
        b"\ndata: ".join(data.splitlines()),
    )


def _message(payload: bytes) -> str:
    try:
        error = _ERROR.decode(payload)
        found = error.message or error.capital or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = payload.decode("utf-8", "replace").strip()
    return found[:MAX_ERROR_CHARS]
