"""Bedrock's answers as Anthropic's: events, exceptions in mid-stream, errors."""

from __future__ import annotations

import json

import pytest

from providers.bedrock.answers import MAX_ERROR_CHARS, EventTranslator, bedrock_error
from tests.answers import anthropic
from tests.answers.bedrock import chunk, events, exception, frame
from tests.answers.turn import ToolUse, Turn

TURN = Turn(text="Hello there", thought="let me see", tool=ToolUse("get_weather", '{"city":"Turin"}'))
FRAMES = [chunk(event) for event in events(TURN)]


def translated(*pieces: bytes) -> tuple[bytes, str]:
    translator = EventTranslator()
    told = b"".join(translator.feed(piece) for piece in pieces)
    translator.close()
    return told, translator.broken


def error_of(told: bytes) -> tuple[str, str]:
    """Type and message of the one error event that `told` is."""
    assert told.startswith(b"event: error\ndata: ")
    assert told.endswith(b"\n\n")
    error = json.loads(told.partition(b"data: ")[2])
    assert error["type"] == "error"
    return error["error"]["type"], error["error"]["message"]


def test_the_events_are_those_of_anthropics_own_stream() -> None:
    """Name and data, byte for byte."""
    told, broken = translated(b"".join(FRAMES))
    assert (told, broken) == (b"".join(anthropic.events(TURN)), "")


def test_each_event_comes_with_its_frame() -> None:
    """None waits for the next one."""
    translator = EventTranslator()
    assert [translator.feed(each) for each in FRAMES] == anthropic.events(TURN)


def test_line_ends_within_the_json_do_not_end_the_event() -> None:
    """They become lines of the same event, which readers put together again."""
    told, _ = translated(chunk(b'{"type":"ping",\n\r\n"a":1}'))
    assert told == b'event: ping\ndata: {"type":"ping",\ndata: \ndata: "a":1}\n\n'


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("throttlingException", "rate_limit_error"),
        ("ThrottlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("validationException", "invalid_request_error"),
        ("modelTimeoutException", "timeout_error"),
        ("internalServerException", "api_error"),
        ("modelStreamErrorException", "api_error"),
        ("somethingNew", "api_error"),
    ],
)
def test_an_exception_in_mid_stream_is_an_error_event(kind: str, type_: str) -> None:
    """After the events that came before it, under the name that Anthropic has for it."""
    told, broken = translated(FRAMES[0], exception(kind, "what went wrong"))
    assert told.startswith(anthropic.events(TURN)[0])
    assert error_of(told.removeprefix(anthropic.events(TURN)[0])) == (type_, "what went wrong")
    assert broken == ""


def test_an_error_without_an_exception_is_one_too() -> None:
    """The format knows both; this one has its words in headers."""
    headers = {":message-type": "error", ":error-code": "InternalServerException", ":error-message": "oh"}
    assert error_of(translated(frame(headers, b""))[0]) == ("api_error", "oh")


def test_frames_of_other_kinds_are_left_out() -> None:
    """A later version may bring them; the stream goes on."""
    other = frame({":message-type": "event", ":event-type": "news"}, b"{}")
    assert translated(other, FRAMES[0]) == (anthropic.events(TURN)[0], "")


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b'{"bytes":1}', b'{"bytes":"*"}', b'{"bytes":"e30="}', b'{"bytes":"/w=="}']
)
def test_a_chunk_that_cannot_be_read_ends_the_stream(payload: bytes) -> None:
    """What came before it is told, what comes after it is not."""
    bad = frame({":message-type": "event", ":event-type": "chunk"}, payload)
    told, broken = translated(FRAMES[0] + bad + FRAMES[1])
    assert (told, broken) == (anthropic.events(TURN)[0], "a chunk of the stream can't be read")


@pytest.mark.parametrize(
    ("status", "body", "type_", "message"),
    [
        (400, b'{"message":"max_tokens is missing"}', "invalid_request_error", "max_tokens is missing"),
        (403, b'{"Message":"no access to the model"}', "permission_error", "no access to the model"),
        (404, b'{"message":"no such model"}', "not_found_error", "no such model"),
        (408, b'{"message":"the model took too long"}', "invalid_request_error", "the model took too long"),
        (429, b'{"message":"too many tokens"}', "rate_limit_error", "too many tokens"),
        (500, b"", "api_error", "Amazon Bedrock answered with status 500"),
        (502, b"<html>bad gateway</html>", "api_error", "<html>bad gateway</html>"),
        (503, b'{"message":null}', "overloaded_error", "Amazon Bedrock answered with status 503"),
    ],
)
def test_an_error_has_anthropics_shape(status: int, body: bytes, type_: str, message: str) -> None:
    """With the message of Bedrock, wherever it wrote it."""
    assert json.loads(bedrock_error(status, body)) == {
        "type": "error",
        "error": {"type": type_, "message": message},
    }


def test_an_error_is_no_longer_than_can_be_shown() -> None:
    """A proxy may answer with a page."""
    shown = json.loads(bedrock_error(500, b"x" * 5000))["error"]["message"]
    assert shown == "x" * MAX_ERROR_CHARS
