"""Amazon Bedrock's InvokeModel and InvokeModelWithResponseStream, answering for a model of Anthropic's."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from tests.answers import anthropic
from tests.answers.turn import Turn, blocking
from tests.upstream import Reply, Step

EVENT_STREAM = (b"content-type", b"application/vnd.amazon.eventstream")


def reply(turn: Turn, *, streamed: bool) -> Reply:
    return stream([chunk(event) for event in events(turn)]) if streamed else blocking(anthropic.message(turn))


def stream(steps: Sequence[Step]) -> Reply:
    return Reply(200, [EVENT_STREAM, (b"x-amzn-requestid", b"scripted")], list(steps))


def events(turn: Turn) -> list[bytes]:
    """The JSON of each event, as Anthropic's own stream has it."""
    return [event.partition(b"data: ")[2].strip() for event in anthropic.events(turn)]


def chunk(event: bytes) -> bytes:
    """An event in its frame, with the padding that Bedrock adds."""
    payload = {"bytes": base64.b64encode(event).decode(), "p": "abcdefgh"}
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(payload).encode())


def exception(kind: str, text: str) -> bytes:
    """What Bedrock sends in mid-stream when something goes wrong."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": text}).encode())


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    return raw_frame(b"".join(_string_header(name, value) for name, value in headers.items()), payload)


def raw_frame(headers: bytes, payload: bytes) -> bytes:
    """A frame with any bytes as its headers, and with right checksums."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def _string_header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()


def error(status: int, kind: str, body: Any) -> Reply:
    return blocking(body, status, ((b"x-amzn-errortype", kind.encode()),))
