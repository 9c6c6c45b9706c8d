"""Request bodies: refused when they are no JSON object, with the place where they broke."""

from __future__ import annotations

import msgspec
import pytest

from providers.base import RequestRefused
from providers.documents import Loose
from providers.request_body import read_body


class Sketch(msgspec.Struct):
    model: Loose = None


SKETCH = msgspec.json.Decoder(Sketch)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "request body is not valid JSON: Expecting value at byte 0"),
        (b'{"model":"m",}', "request body is not valid JSON: "),
        (b'{"other":"\xff"}', "request body is not valid JSON: invalid UTF-8 at byte 10"),
        (b"\xff\xfe{\x00}\x00", "request body is not valid JSON: invalid UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "request body is not valid JSON: "),
        (b'{"model":' * 100_000, "request body is not valid JSON: nested too deeply"),
        (b"[]", "request body must be a JSON object"),
        (b'"text"', "request body must be a JSON object"),
        (b"7", "request body must be a JSON object"),
        (b"null", "request body must be a JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, message: str) -> None:
    """The status is 400, and the message says what is wrong and where."""
    with pytest.raises(RequestRefused) as refused:
        read_body(SKETCH, body)
    assert refused.value.status == 400
    assert refused.value.message.startswith(message)


def test_a_message_never_quotes_the_body() -> None:
    """A body may hold secrets; the refusal holds none of it."""
    with pytest.raises(RequestRefused) as refused:
        read_body(SKETCH, b'{"model":"m","key":"fake-secret" "x"}')
    assert "secret" not in refused.value.message


def test_any_json_object_is_read() -> None:
    """Odd shapes are no error."""
    assert read_body(SKETCH, '{"model":{"é":NaN},"x":"\\ud800"}'.encode()).model is not None
    assert read_body(SKETCH, b" {} ").model is None
