"""The body layer: read once, bounded, replayed to the byte, and looked into on recorded routes."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from middleware.body import BodyMiddleware
from middleware.errors import (
    BadRequest,
    BodyTimeout,
    BodyTooLarge,
    ClientLeft,
    ErrorsMiddleware,
    GatewayError,
    NotImplementedByGateway,
    UnsupportedCoding,
)
from middleware.exchange import Exchange
from tests.asgi import call, drive
from tests.middleware.exchanges import CHAT_BODY, OPENAI_INSTANCE, Inward, known_scope

STREAMED = b'{"model":"gpt-x","stream":true,"messages":[{"role":"user","content":"hello"}]}'


class Clock:
    """The event loop's own clock, which stands still until the test lets it go on: nothing is waited for in truth."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now_s = loop.time()

    async def goes_on(self, seconds: float) -> None:
        """Return when all that was due until then has been called."""
        reached = asyncio.Event()
        self._loop.call_later(seconds, reached.set)
        self.now_s += seconds
        await reached.wait()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", lambda: clock.now_s)
    return clock


def fresh(path: str = "/v1/chat/completions", *, method: str = "POST", **headers: str) -> Scope:
    """A routed request whose body nobody has read."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    scope = known_scope(path, method=method, headers=pairs)
    Exchange.of(scope).body = Exchange.of(scope).facts = None
    return scope


async def refusal(scope: Scope, *pieces: bytes, max_bytes: int = 1000) -> GatewayError:
    inward = Inward()
    async with drive(BodyMiddleware(inward, max_bytes=max_bytes), scope, body=pieces) as client:
        failure = await client.failed()
    assert isinstance(failure, GatewayError)
    assert not inward.scopes
    return failure


@pytest.mark.parametrize("pieces", [[CHAT_BODY], [CHAT_BODY[:9], b"", CHAT_BODY[9:]], [b"", CHAT_BODY]])
async def test_the_body_is_replayed_to_the_byte(pieces: list[bytes]) -> None:
    """However it came, the inside gets it whole, and the exchange knows it and its facts."""
    inward = Inward()
    await call(BodyMiddleware(inward), fresh(), pieces)
    exchange = Exchange.of(inward.scope)
    assert inward.body == exchange.body == CHAT_BODY
    assert exchange.facts is not None
    assert (exchange.facts.model, exchange.facts.prompt) == ("gpt-x", "hello")


async def test_odd_bytes_stay() -> None:
    """Escapes, numbers, duplicate keys, white space and unknown fields are the client's own."""
    body = b'{ "model":"m","a":1.0e+2,"a":-0,"n":1234567890123456789012,"t":"\\u00e9\\/", "messages":[] }\n'
    inward = Inward()
    await call(BodyMiddleware(inward), fresh(), body)
    assert inward.body == body


async def test_after_the_body_receive_is_the_servers() -> None:
    """The layer that waits for the provider can watch it for the client."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([(await receive())["type"] for _ in range(3)])

    async with drive(BodyMiddleware(app), fresh(), body=CHAT_BODY) as client:
        client.disconnect()
        await client.completed()
    assert seen == ["http.request", "http.disconnect", "http.disconnect"]


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.parametrize("declared", [True, False])
async def test_the_limit_is_exact(size: int, declared: bool) -> None:
    """A body of the limit passes, one byte more is a 413 that names the limit."""
    body = b"x" * size
    headers = {"content_length": str(size)} if declared else {}
    scope = fresh("/v1/conversations", **headers)
    if size == 1000:
        inward = Inward()
        await call(BodyMiddleware(inward, max_bytes=1000), scope, [body[:600], body[600:]])
        assert inward.body == body
    else:
        failure = await refusal(scope, body[:600], body[600:])
        assert isinstance(failure, BodyTooLarge)
        assert "1000 bytes" in failure.message


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    """Nothing of it is taken in."""
    layer = BodyMiddleware(Inward(), max_bytes=10)
    async with drive(layer, fresh(content_length="11"), body=None) as client:
        assert isinstance(await client.failed(), BodyTooLarge)
        assert client.receive_calls == 0


@pytest.mark.parametrize("declared", ["5", "-1", "", "many", "٣"])
async def test_a_wrong_declaration_does_not_lift_the_limit(declared: str) -> None:
    """What comes is counted, whatever was said about it."""
    scope = fresh()
    scope["headers"] = [(b"content-length", declared.encode("utf-8"))]
    assert isinstance(await refusal(scope, b"x" * 1001), BodyTooLarge)


async def test_an_endless_body_is_refused_when_the_limit_is_passed() -> None:
    """And not at its end, which may never come."""
    async with drive(BodyMiddleware(Inward(), max_bytes=10), fresh(), body=None) as client:
        client.feed(b"12345678")
        client.feed(b"90123")
        assert isinstance(await client.failed(), BodyTooLarge)


async def test_a_client_that_leaves_while_sending_ends_the_request() -> None:
    """Nothing reaches the inside, and the exchange knows why."""
    inward, scope = Inward(), fresh()
    async with drive(BodyMiddleware(inward), scope, body=None) as client:
        client.feed(b'{"model":')
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
    assert Exchange.of(scope).client_left
    assert not inward.scopes


async def test_a_client_that_stops_within_its_body_is_refused(clock: Clock) -> None:
    """It would hold its place for ever; nothing reaches the inside."""
    inward, scope = Inward(), fresh()
    async with drive(BodyMiddleware(inward, timeout_s=60), scope, body=None) as client:
        client.feed(b'{"model":')
        await client.receiving(2)
        await clock.goes_on(61)
        failure = await client.failed()
    assert isinstance(failure, BodyTimeout)
    assert "60 s" in failure.message
    assert (inward.scopes, Exchange.of(scope).client_left) == ([], False)


async def test_the_client_that_stopped_is_told_so_in_its_shape(clock: Clock) -> None:
    """Once the errors layer has given up on the rest."""

    def shape(scope: Scope, status: int, message: str, code: str) -> bytes:
        return OPENAI_INSTANCE.error_body("/v1/chat/completions", status, message, code)

    layer = ErrorsMiddleware(BodyMiddleware(Inward()), error_shape=shape, drain_timeout_s=0.0)
    async with drive(layer, fresh(), body=None) as client:
        await client.receiving(1)
        await clock.goes_on(61)
        await client.completed()
    error = json.loads(client.body)["error"]
    assert (client.status, error["type"]) == (408, "invalid_request_error")
    assert "stopped coming" in error["message"]


async def test_a_slow_client_that_goes_on_sending_is_waited_for(clock: Clock) -> None:
    """Each piece is waited for anew, so a body may take longer than the longest silence."""
    inward = Inward()
    async with drive(BodyMiddleware(inward, timeout_s=60), fresh(), body=None) as client:
        for call_number, place in enumerate(range(0, len(CHAT_BODY), 10), 1):
            await client.receiving(call_number)
            await clock.goes_on(59)
            client.feed(CHAT_BODY[place : place + 10], more=place + 10 < len(CHAT_BODY))
        await client.completed()
    assert inward.body == CHAT_BODY


async def test_after_the_body_a_client_may_be_silent(clock: Clock) -> None:
    """It waits for its answer, however long that takes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    async with drive(BodyMiddleware(app, timeout_s=60), fresh(), body=CHAT_BODY) as client:
        await client.receiving(2)
        await clock.goes_on(61)
        client.disconnect()
        await client.completed()


async def test_a_timeout_of_the_servers_own_stays_what_it_is() -> None:
    """It is no silence of the client."""
    trouble = TimeoutError("the server's")

    async def receive() -> Message:
        raise trouble

    async def send(message: Message) -> None: ...

    with pytest.raises(TimeoutError) as raised:
        await BodyMiddleware(Inward())(fresh(), receive, send)
    assert raised.value is trouble


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"model": "m", "messages": [}', "byte 28"),
        (b'{"model": "m"', "byte 13"),
        (b"", "byte 0"),
        (b"hello", "byte 0"),
        (b'{"model": "\xff"}', "byte 11"),
        (b"[1]", "object"),
        (b'"text"', "object"),
    ],
)
async def test_a_recorded_body_that_is_not_a_json_object_is_refused(body: bytes, where: str) -> None:
    """400, and it says where it broke."""
    failure = await refusal(fresh(), body)
    assert type(failure) is BadRequest
    assert failure.message.startswith("request body ")
    assert where in failure.message


@pytest.mark.parametrize("body", [b"", b"not JSON", b'{"a": \xff}', CHAT_BODY])
async def test_a_body_that_only_passes_through_is_not_looked_into(body: bytes) -> None:
    """It may be anything, also coded in a way that nobody here knows."""
    inward = Inward()
    await call(BodyMiddleware(inward), fresh("/v1/conversations", content_encoding="zstd"), body)
    exchange = Exchange.of(inward.scope)
    assert (inward.body, exchange.body, exchange.facts) == (body, body, None)


async def test_a_background_response_is_not_implemented() -> None:
    """Its answer would come to nobody; 501 says so."""
    failure = await refusal(fresh("/v1/responses"), b'{"model":"m","input":"x","background":true}')
    assert isinstance(failure, NotImplementedByGateway)
    assert "not supported" in failure.message


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", gzip.compress(STREAMED)),
        ("GZIP", gzip.compress(STREAMED)),
        ("deflate", zlib.compress(STREAMED)),
        ("identity", STREAMED),
    ],
)
async def test_a_coded_body_is_read_and_passed_as_it_came(coding: str, coded: bytes) -> None:
    """Its facts are known; no edit is planned, because its span would be of other bytes."""
    inward = Inward()
    await call(BodyMiddleware(inward), fresh(content_encoding=coding), coded)
    facts = Exchange.of(inward.scope).facts
    assert inward.body == coded
    assert facts is not None
    assert (facts.prompt, facts.usage_edit is None) == ("hello", coding != "identity")


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused() -> None:
    """The limit holds for what it unpacks to."""
    bomb = gzip.compress(json.dumps({"model": "m", "messages": [], "pad": "x" * 5000}).encode())
    assert len(bomb) < 1000
    assert isinstance(await refusal(fresh(content_encoding="gzip"), bomb), BodyTooLarge)


async def test_a_body_that_unpacks_to_the_limit_passes() -> None:
    """The limit is exact here too."""
    inward = Inward()
    layer = BodyMiddleware(inward, max_bytes=len(CHAT_BODY))
    await call(layer, fresh(content_encoding="deflate"), zlib.compress(CHAT_BODY))
    assert Exchange.of(inward.scope).facts is not None


@pytest.mark.parametrize("coded", [b"not gzip", gzip.compress(CHAT_BODY)[:-20], b""])
async def test_a_body_that_does_not_unpack_is_refused(coded: bytes) -> None:
    """400, whether it is another format or was cut."""
    failure = await refusal(fresh(content_encoding="gzip"), coded)
    assert type(failure) is BadRequest


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
async def test_an_unknown_coding_is_refused_on_a_recorded_route(coding: str) -> None:
    """415 names what can be sent instead; unread requests don't pass unrecorded."""
    failure = await refusal(fresh(content_encoding=coding), b"\x00")
    assert isinstance(failure, UnsupportedCoding)
    assert "gzip" in failure.message


@pytest.mark.parametrize("option", ["max_bytes", "timeout_s"])
@pytest.mark.parametrize("value", [0, -5])
def test_a_bad_limit_is_named(option: str, value: Any) -> None:
    """The message says which option and which value."""
    with pytest.raises(ValueError, match=f"{option} must be positive: {value}"):
        BodyMiddleware(Inward(), **{option: value})
