"""Query strings and bodies: what is read, and how all that is wrong is named at once."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from gateway.api.parameters import (
    InterceptionsParameters,
    NewUser,
    SessionParameters,
    SessionsParameters,
    is_text,
    read_body,
    read_query,
)
from middleware.errors import BadRequest


def complaint(query: bytes | str) -> str:
    raw = query.encode() if isinstance(query, str) else query
    with pytest.raises(BadRequest) as caught:
        read_query(raw, SessionsParameters)
    return caught.value.message


def test_what_is_not_given_has_its_default() -> None:
    """As the OpenAPI document says."""
    assert read_query(b"", SessionsParameters) == SessionsParameters(limit=100, offset=0)
    assert read_query(b"", SessionParameters).limit == 50


def test_everything_that_can_be_given_is_read() -> None:
    """Each in the type that it has."""
    given = {
        **{name: f"the {name}" for name in ("initiator", "provider", "provider_name", "model", "client")},
        **{
            "session_id": "s",
            "started_after": "2026-01-02T03:04:05+02:00",
            "started_before": "2026-02-01T00:00:00Z",
        },
        **{"limit": "7", "after_id": "i"},
    }
    read = read_query(urlencode(given).encode(), InterceptionsParameters)

    assert read == InterceptionsParameters(
        **{name: f"the {name}" for name in ("initiator", "provider", "provider_name", "model", "client")},
        session_id="s",
        started_after=datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
        started_before=datetime(2026, 2, 1, tzinfo=UTC),
        limit=7,
        after_id="i",
    )


def test_all_that_is_wrong_is_named_at_once() -> None:
    """Nobody likes to be told one thing after the other."""
    message = complaint("limit=0&offset=-1&foo=1&started_after=yesterday&model=&client=a&client=b")

    assert message.split("; ") == [
        "'client': given twice",
        "'foo': unknown",
        "model: Expected `str` of length >= 1",
        "started_after: Invalid RFC3339 encoded datetime",
        "limit: Expected `int` >= 1",
        "offset: Expected `int` >= 0",
    ]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=1001", "limit: Expected `int` <= 1000"),
        ("limit=10.5", "limit: Expected `int`"),
        ("limit=true", "limit: Expected `int`"),
        ("limit=", "limit: Expected `int`"),
        ("limit=99999999999999999999999", "limit: "),
        ("offset=10001", "offset: Expected `int` <= 10000"),
        ("started_after=2026-01-02T00:00:00", "started_after: Expected `datetime` with a timezone component"),
        ("started_after=1767312000", "started_after: Invalid RFC3339 encoded datetime"),
        ("started_before=null", "started_before: Invalid RFC3339 encoded datetime"),
        ("model=%00", "model: holds a character that no text has"),
        ("model=" + "x" * 1025, "model: Expected `str` of length <= 1024"),
        ("offset=1&after_session_id=s", "offset: can't be combined with after_session_id"),
        ("after_initiator=u", "after_initiator: needs after_session_id"),
        ("q=model:a&model=b", "model: given in q too"),
        ("q=limit:5", "q: has no key 'limit': it is one of initiator, provider, "),
        ("q=model:", "q: can't be read from character 1 on"),
        ("q=started_after:soon", "started_after: Invalid RFC3339"),
        ("x" * 100 + "=1", f"'{'x' * 64}': unknown"),
        ("a%0Ab=1", r"'a\nb': unknown"),
    ],
)
def test_what_does_not_fit_is_named(query: str, named: str) -> None:
    """By its name, with what would fit, on one line."""
    message = complaint(query)

    assert message.startswith(named)
    assert "\n" not in message


def test_bytes_that_are_no_text_find_nothing_and_break_nothing() -> None:
    """They become replacement characters, which no record has."""
    assert read_query(b"model=%ff%fe", SessionsParameters).model == "\ufffd\ufffd"
    assert read_query(b"model=\xff", SessionsParameters).model is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"role": 1, "x": 2}', "'x': unknown; name: missing; role: Expected `str`, got `int`"),
        (b"[]", "the body must be a JSON object"),
        (b"", "the body is not JSON: "),
        (b'{"name": "a\\ud800"}', "the body is not JSON: "),
    ],
)
def test_a_body_is_read_as_strictly(body: bytes, message: str) -> None:
    """All its mistakes at once."""
    with pytest.raises(BadRequest) as caught:
        read_body(body, NewUser)

    assert caught.value.message.startswith(message)


def test_what_no_database_takes_is_no_text() -> None:
    """Neither half a character nor a NUL."""
    assert is_text("ä\U0001f600\n")
    assert not is_text("a\x00")
    assert not is_text("a\ud800")
