"""The errors layer: every row of the table, in the right shape, and nothing after an answer began."""

from __future__ import annotations

import json
import logging

import pytest
from starlette.types import Message, Receive, Scope, Send

from middleware import errors
from middleware.errors import ErrorsMiddleware, GatewayError
from middleware.exchange import Exchange
from providers.registry import Registry
from tests.asgi import call, drive, http_scope
from tests.middleware.exchanges import (
    ANTHROPIC_INSTANCE,
    COPILOT_INSTANCE,
    OPENAI_INSTANCE,
    chunk,
    raising,
    start,
)

TABLE: list[tuple[GatewayError, int, str]] = [
    (errors.NoToken(), 400, "no authentication key provided"),
    (errors.Unauthorized("expired"), 403, "unauthorized"),
    (errors.AuthorityUnreachable(), 503, "could not connect to authority"),
    (errors.ByokDisabled(), 403, "Bring Your Own Key (BYOK) mode is not enabled."),
    (errors.RouteNotSupported("PUT", "/openai/v1/x"), 404, "route not supported: PUT /openai/v1/x"),
    (errors.ProviderDisabled("corp"), 503, 'provider_disabled: AI provider "corp" is disabled'),
    (errors.BodyTimeout(2.5), 408, "request body stopped coming: nothing of it arrived for 2.5 s"),
    (errors.BodyTooLarge(1000), 413, "request body is larger than the limit of 1000 bytes"),
    (errors.BadRequest("not JSON at byte 3"), 400, "not JSON at byte 3"),
    (errors.UnsupportedCoding("content-encoding br"), 415, "content-encoding br"),
    (errors.NotImplementedByGateway("background is not supported"), 501, "background is not supported"),
    (errors.RecordingFailed(), 503, "failed to record interception"),
    (errors.KeysExhausted("every key is refused"), 502, "every key is refused"),
    (errors.KeysRateLimited("every key is rate limited", retry_after_s=7), 429, "every key is rate limited"),
    (errors.UpstreamUnreachable("could not reach"), 502, "could not reach"),
    (
        errors.UpstreamTimeout("first byte", 2.5),
        504,
        "upstream timed out: first byte took longer than 2.5 s",
    ),
    (errors.Unavailable("shutting down", retry_after_s=3), 503, "shutting down"),
    (errors.GatewayDisabled(), 404, "AI Gateway is disabled: the operator turned it off (setting `enabled`)"),
    (GatewayError(), 500, "internal error"),
]


def names(cases: list[tuple[GatewayError, int, str]]) -> list[str]:
    return [type(error).__name__ for error, _, _ in cases]


@pytest.mark.parametrize(("error", "status", "message"), TABLE, ids=names(TABLE))
async def test_an_error_becomes_its_status_and_message(
    error: GatewayError, status: int, message: str
) -> None:
    """Status and message are what clients rely on; on paths of no provider the body is the plain one."""
    client = await call(ErrorsMiddleware(raising(error)), http_scope("POST", "/x"))
    assert (client.status, json.loads(client.body)) == (status, {"message": message})
    assert client.header("content-type") == b"application/json"
    assert client.header("content-length") == str(len(client.body)).encode()
    assert client.complete


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.AuthorityUnreachable(), b"5"),
        (errors.RecordingFailed(), b"5"),
        (errors.Unavailable("shutting down", retry_after_s=0), b"0"),
        (errors.ProviderDisabled("corp"), None),
        (errors.NoToken(), None),
    ],
)
async def test_retry_after_is_told_where_waiting_helps(error: GatewayError, seconds: bytes | None) -> None:
    """A client comes back by itself when the trouble is passing, and only then."""
    client = await call(ErrorsMiddleware(raising(error)), http_scope("POST", "/x"))
    assert client.header("retry-after") == seconds


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/openai/v1/chat/completions", ("error", "message")),
        ("/anthropic/v1/messages", ("error", "message")),
        ("/copilot/chat/completions", ("error", "message")),
        ("/api/v2/ai-gateway/anthropic/v1/messages", ("error", "message")),
        ("/nobody/v1/messages", ("message",)),
        ("/", ("message",)),
    ],
)
async def test_the_shape_is_the_providers(path: str, place: tuple[str, ...]) -> None:
    """SDKs show the message where their provider puts it; elsewhere it stands alone."""
    registry = Registry([OPENAI_INSTANCE, ANTHROPIC_INSTANCE, COPILOT_INSTANCE])

    def shape(scope: Scope, status: int, message: str, code: str) -> bytes:
        return registry.error_body(scope, status, message, code) or errors.plain_error(
            scope, status, message, code
        )

    app = ErrorsMiddleware(raising(errors.NoToken()), error_shape=shape)
    found = json.loads((await call(app, http_scope("POST", path))).body)
    for key in place:
        found = found[key]
    assert found == "no authentication key provided"


async def test_the_code_reaches_the_shape() -> None:
    """A code of ours stands beside the message where the provider's shape has a place for it."""
    seen: list[tuple[int, str, str]] = []

    def shape(scope: Scope, status: int, message: str, code: str) -> bytes:
        seen.append((status, message, code))
        return b"{}"

    disabled = errors.ProviderDisabled("corp")
    await call(ErrorsMiddleware(raising(disabled), error_shape=shape), http_scope("POST", "/x"))
    custom = GatewayError("odd", code="odd_code")
    await call(ErrorsMiddleware(raising(custom), error_shape=shape), http_scope("POST", "/x"))
    assert seen == [(503, disabled.message, "provider_disabled"), (500, "odd", "odd_code")]


async def test_the_answer_names_the_request() -> None:
    """A user can report the ID under which the log knows the request."""
    scope = http_scope("POST", "/x")
    Exchange.of(scope).request_id = "request-7"
    client = await call(ErrorsMiddleware(raising(errors.NoToken())), scope)
    assert client.header("x-ai-gateway-request-id") == b"request-7"


async def test_an_unforeseen_error_shows_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a bare 500, the log the traceback, and the server the exception."""
    broken = ValueError("a secret detail")
    caplog.set_level(logging.ERROR)
    async with drive(ErrorsMiddleware(raising(broken)), http_scope("POST", "/x")) as client:
        assert await client.failed() is broken
    assert (client.status, json.loads(client.body)) == (500, {"message": "internal error"})
    assert [record.message for record in caplog.records] == ["unexpected error"]


async def test_an_answer_that_began_is_not_touched() -> None:
    """An error of ours in mid-answer goes on to the server, which cuts the connection."""
    broke = errors.UpstreamBroke("the provider's answer broke off")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(chunk(b"half"))
        raise broke

    async with drive(ErrorsMiddleware(app), http_scope()) as client:
        assert await client.failed() is broke
    assert (len(client.messages), client.body, client.complete) == (2, b"half", False)


@pytest.mark.parametrize("begun", [False, True])
async def test_nobody_answers_a_client_that_left(begun: bool) -> None:
    """No answer, and nothing for the server to report."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(start())
        raise errors.ClientLeft

    client = await call(ErrorsMiddleware(app), http_scope())
    assert len(client.messages) == int(begun)


def refusing(error: GatewayError) -> ErrorsMiddleware:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return ErrorsMiddleware(app, drain_bytes=10)


async def test_an_unread_body_is_taken_in_before_the_answer() -> None:
    """A client that is still sending reads the message instead of a reset."""
    async with drive(refusing(errors.NoToken()), http_scope("POST", "/x"), body=None) as client:
        client.feed(b"12345")
        await client.receiving(2)
        assert not client.messages
        client.feed(b"67890", more=False)
        await client.completed()
    assert (client.status, client.receive_calls) == (400, 2)


async def test_a_body_is_drained_only_so_far() -> None:
    """Who sends without end is answered all the same."""
    pieces = [b"123456", b"789012", b"never taken"]
    client = await call(refusing(errors.NoToken()), http_scope("POST", "/x"), pieces)
    assert (client.status, client.receive_calls) == (400, 2)


async def test_draining_takes_only_so_long() -> None:
    """Who stops sending is answered when the time is over."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise errors.NoToken

    layer = ErrorsMiddleware(app, drain_timeout_s=0.0)
    async with drive(layer, http_scope("POST", "/x"), body=None) as client:
        await client.completed()
    assert client.status == 400


async def test_a_body_that_was_read_is_not_waited_for() -> None:
    """The real `receive` would only say that the client left."""
    client = await call(ErrorsMiddleware(raising(errors.NoToken())), http_scope("POST", "/x"), b"{}")
    assert (client.status, client.receive_calls) == (400, 1)


async def test_a_client_that_leaves_while_draining_ends_it() -> None:
    """The drain stops at the disconnect; what is sent then, the server drops."""
    async with drive(refusing(errors.NoToken()), http_scope("POST", "/x"), body=None) as client:
        client.feed(b"1")
        client.disconnect()
        await client.completed()
    assert client.receive_calls == 2


async def test_it_marks_the_exchange() -> None:
    """Layers inside may count on somebody who words their errors."""
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(Exchange.of(scope).errors)

    await call(ErrorsMiddleware(app), http_scope())
    assert seen == [True]


def test_a_bad_option_is_named() -> None:
    """The message says which option and which value."""
    with pytest.raises(ValueError, match="drain_bytes must not be negative: -1"):
        ErrorsMiddleware(_nothing, drain_bytes=-1)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that does nothing."""


async def test_messages_pass_as_they_are() -> None:
    """An answer of the app is none of this layer's business."""
    sent: list[Message] = [start(200, (b"X-Odd", b"1")), chunk(b"a"), chunk(b"", more=False)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in sent:
            await send(message)

    client = await call(ErrorsMiddleware(app), http_scope())
    assert all(got is gave for got, gave in zip(client.messages, sent, strict=True))
