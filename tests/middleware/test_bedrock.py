"""The layer between Anthropic's clients and Amazon Bedrock, in front of a scripted Bedrock that judges signatures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from starlette.types import ASGIApp

from middleware.bedrock import MAX_ERROR_BYTES, BedrockMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.errors import BadRequest, ClientLeft, Unavailable, UnsupportedCoding, UpstreamBroke
from middleware.exchange import Exchange
from providers.bedrock.signer import KeysUnavailable, Signature, Unsigned
from providers.secret import Secret
from tests.answers import anthropic, bedrock
from tests.answers.turn import ToolUse, Turn
from tests.asgi import call, drive
from tests.aws_signature import problem
from tests.middleware.bedrock import (
    ACCESS_KEY,
    ACCOUNTS,
    BEDROCK_INSTANCE,
    CHAIN_INSTANCE,
    REGION,
    SECOND_ACCESS_KEY,
)
from tests.middleware.exchanges import MESSAGES_BODY, USER_KEY, chunk, known_scope, read_body, start
from tests.upstream import CUT, ConnectionCut, Reply, Step, Upstream

STREAM_BODY = b'{"model":"claude-haiku-4-5","stream":true,"messages":[{"role":"user","content":"hi"}]}'
TURN = Turn(text="Hello there", tool=ToolUse("get_weather", '{"city":"Turin"}'))
FRAMES = [bedrock.chunk(event) for event in bedrock.events(TURN)]
EVENTS = anthropic.events(TURN)
BLOCKING = bedrock.reply(TURN, streamed=False)


def layers(app: ASGIApp) -> ASGIApp:
    return ProviderDispatch(BedrockMiddleware(app))


def scope(body: bytes = MESSAGES_BODY, **changes: Any) -> Any:
    return known_scope("/v1/messages", **{"provider": BEDROCK_INSTANCE, "body": body, **changes})


async def told(*steps: Any, body: bytes = STREAM_BODY) -> bytes:
    """What the client gets of a stream."""
    return (await call(layers(Upstream(bedrock.stream(steps))), scope(body), body)).body


# -- going up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (MESSAGES_BODY, "/base/model/anthropic.big-v1%3A0/invoke"),
        (STREAM_BODY, "/base/model/anthropic.small-v1%3A0/invoke-with-response-stream"),
    ],
    ids=["blocking", "streamed"],
)
async def test_a_request_reaches_bedrock_as_bedrock_takes_it(body: bytes, path: str) -> None:
    """Path, body and flags; and a signature that AWS finds right."""
    upstream = Upstream(BLOCKING)
    headers = [
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "context-1m-2025-08-07,claude-code-20250219"),
        ("user-agent", "claude-cli/2"),
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "text/event-stream"),
        ("X-Amz-Security-Token", "of-a-client"),
        ("x-amz-target", "of-a-client"),
    ]
    await call(layers(upstream), scope(body, headers=headers, query="beta=true"), body)
    (request,) = upstream.requests
    assert problem(request, ACCOUNTS, region=REGION) == ""
    assert (request.method, request.raw_path.decode(), request.query) == ("POST", path, b"")
    assert request.path == path.replace("%3A", ":")
    sent = json.loads(request.body)
    assert (sent["anthropic_version"], sent["anthropic_beta"]) == (
        "bedrock-2023-05-31",
        ["context-1m-2025-08-07"],
    )
    assert sent["messages"] == json.loads(body)["messages"]
    assert not {"model", "stream"} & set(sent)
    assert sorted(name for name, _ in request.headers) == sorted(
        [b"host", b"user-agent", b"content-type", b"accept", b"authorization", b"x-amz-date"]
    )
    assert request.header("content-type") == request.header("accept") == "application/json"


@pytest.mark.parametrize("secret", [ACCESS_KEY, SECOND_ACCESS_KEY])
async def test_the_pair_of_the_attempts_key_signs(secret: str) -> None:
    """Whoever tries another key says which by `credential`; the record names it by its hint."""
    upstream = Upstream(BLOCKING)

    async def choosing(scope: Any, receive: Any, send: Any) -> None:
        credential = Exchange.of(scope).credential
        assert credential is not None
        Exchange.of(scope).credential = dataclasses.replace(credential, secret=Secret(secret))
        await BedrockMiddleware(upstream)(scope, receive, send)

    asked = scope()
    await call(ProviderDispatch(choosing), asked, MESSAGES_BODY)
    assert f"Credential={secret}/" in (upstream.requests[0].header("authorization") or "")
    assert problem(upstream.requests[0], ACCOUNTS, region=REGION) == ""
    credential = Exchange.of(asked).credential
    assert credential is not None
    assert credential.hint == Secret(secret).hint


async def test_without_keys_of_its_own_an_instance_signs_with_what_its_signer_has() -> None:
    """As where the default chain has the credentials."""
    upstream = Upstream(BLOCKING)
    await call(layers(upstream), scope(provider=CHAIN_INSTANCE), MESSAGES_BODY)
    assert problem(upstream.requests[0], ACCOUNTS, region=REGION) == ""


async def test_each_attempt_is_signed_anew() -> None:
    """The same request twice: neither the first signature nor the first date is in the way."""
    upstream = Upstream([BLOCKING, BLOCKING])
    layer = BedrockMiddleware(upstream)

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def nobody(message: Any) -> None:
            pass

        await layer(scope, again, nobody)
        await layer(scope, again, send)

    await call(ProviderDispatch(twice), scope(), MESSAGES_BODY)
    assert [problem(request, ACCOUNTS, region=REGION) for request in upstream.requests] == ["", ""]


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
async def test_a_users_own_key_is_a_bearer_and_nothing_is_signed(name: str) -> None:
    """Wherever the client had a place for it; the organisation's account has no part in it."""
    upstream = Upstream(BLOCKING)
    asked = scope(
        headers=[(name, f"Bearer {USER_KEY}" if name == "authorization" else USER_KEY)], kind="byok"
    )
    await call(layers(upstream), asked, MESSAGES_BODY)
    (request,) = upstream.requests
    assert request.values("authorization") == [f"Bearer {USER_KEY}".encode()]
    assert request.values("x-api-key") == []
    assert request.header("x-amz-date") is None
    credential = Exchange.of(asked).credential
    assert credential is not None
    assert credential.hint == Secret(USER_KEY).hint
    assert request.raw_path.endswith(b"/invoke")


async def test_an_echo_of_the_users_key_does_not_come_back() -> None:
    """In whatever header a proxy on the way repeats it."""
    reply = Reply(200, [(b"x-debug", f"key={USER_KEY}".encode()), (b"x-kept", b"1")], [b"{}"])
    asked = scope(headers=[("x-api-key", USER_KEY)], kind="byok")
    client = await call(layers(Upstream(reply)), asked, MESSAGES_BODY)
    assert (client.header("x-debug"), client.header("x-kept")) == (None, b"1")


async def test_a_compressed_body_is_refused() -> None:
    """It would have to be unpacked; nothing goes out."""
    upstream = Upstream()
    with pytest.raises(UnsupportedCoding, match="Bedrock"):
        await call(layers(upstream), scope(headers=[("content-encoding", "gzip")]), MESSAGES_BODY)
    assert not upstream.requests


async def test_a_body_that_is_no_object_is_refused() -> None:
    """It would have no place for a version."""
    with pytest.raises(BadRequest, match="not a JSON object"):
        await call(layers(Upstream()), scope(), b"[]")


class NoKeys:
    """A signer whose keys are gone."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def sign(self, request: Unsigned, access_key: Secret | None) -> Signature:
        raise KeysUnavailable("AWS credentials can't be fetched: TheReason")


async def test_without_keys_the_answer_is_503() -> None:
    """With the reason, and a time to come back."""
    instance = dataclasses.replace(BEDROCK_INSTANCE, signer=NoKeys())
    with pytest.raises(Unavailable, match="TheReason") as refused:
        await call(layers(Upstream()), scope(provider=instance), MESSAGES_BODY)
    assert refused.value.retry_after_s is not None


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    """Nothing goes out."""
    upstream = Upstream()
    asked = scope()
    async with drive(layers(upstream), asked, body=None) as client:
        client.feed(MESSAGES_BODY[:5])
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
    assert Exchange.of(asked).client_left
    assert not upstream.requests


# -- coming down ----------------------------------------------------------------------------------------------------


async def test_a_blocking_answer_passes_as_it_is() -> None:
    """It is a message already."""
    client = await call(layers(Upstream(BLOCKING)), scope(), MESSAGES_BODY)
    assert (client.status, client.body) == (
        200,
        b"".join(step for step in BLOCKING.chunks if isinstance(step, bytes)),
    )


async def test_a_stream_becomes_server_sent_events() -> None:
    """The very events of Anthropic's own stream, announced as such."""
    client = await call(layers(Upstream(bedrock.stream(FRAMES))), scope(STREAM_BODY), STREAM_BODY)
    assert client.header("content-type") == b"text/event-stream; charset=utf-8"
    assert client.header("x-accel-buffering") == b"no"
    assert client.header("x-amzn-requestid") == b"scripted"
    assert client.body == b"".join(EVENTS)
    assert client.complete


async def test_each_event_leaves_when_it_is_whole() -> None:
    """While the provider thinks about the next one; half a frame is not sent as anything."""
    gates = [asyncio.Event() for _ in range(3)]
    steps: list[Step] = [FRAMES[0], gates[0], FRAMES[1][:9], gates[1], FRAMES[1][9:], gates[2], *FRAMES[2:]]
    reply = bedrock.stream(steps)
    async with drive(layers(Upstream(reply)), scope(STREAM_BODY), body=STREAM_BODY) as client:
        assert (await client.message(1))["body"] == EVENTS[0]
        gates[0].set()
        gates[1].set()
        assert (await client.message(2))["body"] == EVENTS[1]
        gates[2].set()
        await client.completed()
    assert client.body == b"".join(EVENTS)


async def test_an_exception_in_mid_stream_is_an_error_event() -> None:
    """As Anthropic would have reported it; the stream ends after it."""
    body = await told(FRAMES[0], bedrock.exception("throttlingException", "slow down"))
    event = (
        b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}\n\n'
    )
    assert body == EVENTS[0] + event


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([FRAMES[0], FRAMES[1][:-1] + b"?", FRAMES[2]], "checksum"),
        ([FRAMES[0] + b"?" * 12], "checksum"),
        ([FRAMES[0], FRAMES[1][:-1]], "within a message"),
    ],
)
async def test_a_broken_stream_breaks_off(steps: list[bytes], why: str) -> None:
    """The client has what was whole, and no end."""
    upstream = Upstream(bedrock.stream(steps))
    async with drive(layers(upstream), scope(STREAM_BODY), body=STREAM_BODY) as client:
        error = await client.failed()
    assert isinstance(error, UpstreamBroke)
    assert why in error.message
    assert client.body == EVENTS[0]
    assert not client.complete


async def test_a_cut_stays_a_cut() -> None:
    """What broke the connection comes out as it was."""
    upstream = Upstream(bedrock.stream([FRAMES[0], CUT]))
    async with drive(layers(upstream), scope(STREAM_BODY), body=STREAM_BODY) as client:
        assert isinstance(await client.failed(), ConnectionCut)
    assert client.body == EVENTS[0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
    ],
)
async def test_an_error_keeps_its_status_and_gets_anthropics_shape(status: int, kind: str) -> None:
    """Its headers pass, but for those that describe the old body."""
    body = json.dumps({"message": "says AWS"}).encode()
    headers = [
        (b"content-type", b"application/x-amz-json"),
        (b"content-length", b"22"),
        (b"retry-after", b"7"),
    ]
    reply = Reply(status, headers, [body[:5], body[5:]])
    client = await call(layers(Upstream(reply)), scope(STREAM_BODY), STREAM_BODY)
    assert json.loads(client.body) == {"type": "error", "error": {"type": kind, "message": "says AWS"}}
    assert (client.status, client.header("retry-after")) == (status, b"7")
    assert client.header("content-length") == str(len(client.body)).encode()
    assert client.header("content-type") == b"application/json"


async def test_a_page_as_an_error_is_cut_short() -> None:
    """However long it is, it is read to its end and not kept."""
    reply = Reply(502, [], [b"x" * MAX_ERROR_BYTES, b"y" * MAX_ERROR_BYTES])
    client = await call(layers(Upstream(reply)), scope(), MESSAGES_BODY)
    assert client.status == 502
    assert set(json.loads(client.body)["error"]["message"]) == {"x"}


async def test_messages_besides_the_answer_pass() -> None:
    """Whatever an extension brings."""
    early: dict[str, Any] = {"type": "http.response.debug", "info": {}}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send(early)
        await send(start(200))
        await send(chunk(b"", more=False))

    client = await call(layers(app), scope(), MESSAGES_BODY)
    assert client.messages[0] is early
