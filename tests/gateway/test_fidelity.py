"""Bytes pass untouched: request bodies, answers, chunk boundaries, statuses and headers, in both directions."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx
import pytest

from tests.asgi import call, drive, http_scope
from tests.gateway.rig import PREFIX, TOKEN, Rig, client_of, in_process, on_sockets
from tests.servers import SERVERS
from tests.upstream import CUT, Received, Reply, Upstream

WAYS: Final = ("in process", *SERVERS)
AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}"}
SSE: Final = (b"content-type", b"text/event-stream")

each_way = pytest.mark.parametrize("way", WAYS)


def _padding() -> bytes:
    """100 KB of text that a JSON library would write differently: needless escapes, optional ones, raw characters."""
    piece = rb"line\n\u0041\/\u00e9" + "é\U0001f600".encode() + rb"\ud83d\ude00 \ud800 \u2028\"\\ "
    return piece * (100 * 1024 // len(piece) + 1)


ODD_VALUES: Final = (
    b'"z":1E400, "a":-0.0,"b" :1.0000000000000000001,\t"c":0.10,"big":123456789012345678901234567890,'
    b'"dup":1,"dup":2,"unknown":{"nested":[1e2,1.50,{}, [ ] ,null]},"A":"\\u0000","":""'
)
CHAT_TAIL: Final = b',"messages":[{"content":"' + _padding() + b'","role":"user"}],\r\n"model":"m" }\n'

BODIES: Final = {
    "chat": ("openai", "/v1/chat/completions", b" {" + ODD_VALUES + CHAT_TAIL),
    "chat stream that asks for usage": (
        "openai",
        "/v1/chat/completions",
        b'{"stream":true,"stream_options":{"include_usage":true},' + ODD_VALUES + CHAT_TAIL,
    ),
    "responses": (
        "openai",
        "/v1/responses",
        b"{" + ODD_VALUES + b',"stream": true, "input":"' + _padding() + b'","model":"m"}',
    ),
    "messages": ("anthropic", "/v1/messages", b'{"stream":true,"max_tokens":9,' + ODD_VALUES + CHAT_TAIL),
    "passed through": ("anthropic", "/v1/messages/count_tokens", b"{" + ODD_VALUES + CHAT_TAIL),
    "passed through, not even JSON": ("openai", "/v1/conversations", bytes(range(256)) * 500),
}


@asynccontextmanager
async def running(way: str, *replies: Reply, **settings: Any) -> AsyncIterator[tuple[Rig, httpx.AsyncClient]]:
    """The gateway, and a client that speaks HTTP to it and does nothing of its own accord."""
    upstream = Upstream(replies)
    if way == "in process":
        async with in_process(upstream, **settings) as rig, client_of(rig.app) as client:
            yield rig, client
    else:
        server = next(server for server in SERVERS if server == way)
        async with (
            on_sockets(upstream, server, **settings) as rig,
            httpx.AsyncClient(timeout=None) as client,
        ):
            yield rig, client


def ok(body: bytes = b"{}") -> Reply:
    return Reply(
        200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], [body]
    )


# -- requests -------------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("kind", BODIES)
async def test_the_provider_gets_the_very_bytes_of_the_client(way: str, kind: str) -> None:
    """A body that any re-serialisation would change has the same SHA-256 on both sides."""
    provider, path, body = BODIES[kind]
    assert len(body) > 100 * 1024
    async with running(way, ok()) as (rig, client):
        answer = await client.post(rig.url(provider, path), content=body, headers=AUTHORIZATION)
        assert answer.status_code == 200
        (request,) = rig.upstream.requests
        assert request.sha256 == hashlib.sha256(body).hexdigest()
        assert request.header("content-length") == str(len(body))


@pytest.mark.parametrize(
    ("before", "span", "after", "replacement"),
    [
        (b" \n{", b"", b'"stream":true,' + ODD_VALUES, b'"stream_options":{"include_usage":true},'),
        (b'{"stream":true,"stream_options":', b"null", b"," + ODD_VALUES, b'{"include_usage":true}'),
        (b'{"stream":true,"stream_options": {', b"", b"}," + ODD_VALUES, b'"include_usage":true'),
        (
            b'{"stream":true,"stream_options":{',
            b"",
            b'"include_obfuscation":false},' + ODD_VALUES,
            b'"include_usage":true,',
        ),
        (b'{"stream":true,"stream_options":{"include_usage" :', b"false", b"}," + ODD_VALUES, b"true"),
    ],
    ids=["no options", "null", "empty options", "other options", "usage off"],
)
async def test_the_usage_edit_changes_nothing_outside_its_span(
    before: bytes, span: bytes, after: bytes, replacement: bytes
) -> None:
    """The one documented edit of a body of 100 KB: what stands before and behind it is the client's."""
    async with running("in process", ok()) as (rig, client):
        body = before + span + after + CHAT_TAIL
        await client.post(rig.url("openai", "/v1/chat/completions"), content=body, headers=AUTHORIZATION)
        (request,) = rig.upstream.requests
        assert request.body == before + replacement + after + CHAT_TAIL
        assert request.header("content-length") == str(len(request.body))
        assert json.loads(request.body)["stream_options"]["include_usage"] is True


async def test_without_the_setting_no_byte_of_a_stream_request_changes() -> None:
    """The edit is an option; switched off, the bytes are the client's and no chunk of the answer is hidden."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
    upstream = Upstream(Reply(200, [SSE], [usage, b"data: [DONE]\n\n"]))
    async with in_process(upstream, request_stream_usage=False) as rig, client_of(rig.app) as client:
        body = b'{"stream":true,"model":"m","messages":[]}'
        answer = await client.post(
            rig.url("openai", "/v1/chat/completions"), content=body, headers=AUTHORIZATION
        )
        assert upstream.requests[0].body == body
        assert answer.content == usage + b"data: [DONE]\n\n"


async def test_a_coded_body_goes_upstream_as_it_came() -> None:
    """A gzip body is looked into, and neither unpacked nor edited."""
    body = gzip.compress(b'{"stream":true,"model":"m","messages":[]}', mtime=0)
    async with running("in process", ok()) as (rig, client):
        await client.post(
            rig.url("openai", "/v1/chat/completions"),
            content=body,
            headers={**AUTHORIZATION, "content-encoding": "gzip"},
        )
        (request,) = rig.upstream.requests
        assert (request.body, request.header("content-encoding")) == (body, "gzip")
        store = await rig.settled()
    assert store.starts[0].model == "m"


async def test_a_body_in_many_pieces_arrives_whole() -> None:
    """A client that sends its body chunked, without a length, is served alike."""
    _, _, body = BODIES["chat"]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 997):
            yield body[start : start + 997]

    async with running("hypercorn", ok()) as (rig, client):
        await client.post(rig.url("openai", "/v1/chat/completions"), content=pieces(), headers=AUTHORIZATION)
        assert rig.upstream.requests[0].body == body
        assert rig.upstream.requests[0].header("transfer-encoding") is None


@each_way
async def test_headers_go_upstream_in_order_with_duplicates(way: str) -> None:
    """What concerns the provider arrives as it was sent; what concerns this hop or only us does not."""
    sent = [
        ("User-Agent", "claude-cli/2.1"),
        ("anthropic-version", "2023-06-01"),
        ("Authorization", f"Bearer {TOKEN}"),
        ("anthropic-beta", "one"),
        ("X-Stainless-Lang", "js"),
        ("anthropic-beta", "two,three"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Cookie", "session=1"),
        ("X-Coder-Agent-Chat-Id", "c-1"),
        ("Coder-Session-Token", "fake-session"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Content-Type", "application/json"),
        ("originator", "codex_exec"),
    ]
    async with running(way, ok()) as (rig, client):
        url = rig.url("anthropic", "/v1/messages?beta=true&a=%2F%20b&a=2")
        await client.request(
            "POST", url, content=b'{"model":"m"}', headers=httpx.Headers(sent), extensions={}
        )
        (request,) = rig.upstream.requests
    assert request.query == b"beta=true&a=%2F%20b&a=2"
    passed = [
        (name, value)
        for name, value in request.headers
        if name not in {b"host", b"content-length", b"accept", b"accept-encoding", b"x-api-key"}
    ]
    assert passed == [
        (b"user-agent", b"claude-cli/2.1"),
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"one"),
        (b"x-stainless-lang", b"js"),
        (b"anthropic-beta", b"two,three"),
        (b"content-type", b"application/json"),
        (b"originator", b"codex_exec"),
    ]


@pytest.mark.parametrize("way", SERVERS)
async def test_a_client_that_sends_too_much_is_told_so_and_not_cut_off(way: str) -> None:
    """The answer waits until the client has sent its body, because nobody listens while sending."""
    async with running(way, max_body_bytes=1000) as (rig, client):
        body = b'{"a":"' + b"x" * 2_000_000 + b'"}'
        answer = await client.post(
            rig.url("openai", "/v1/chat/completions"), content=body, headers=AUTHORIZATION
        )
        assert answer.status_code == 413
        assert "limit of 1000 bytes" in answer.json()["error"]["message"]
        assert rig.upstream.requests == []


# -- answers --------------------------------------------------------------------------------------------------------

ODD_CHUNKS: Final = (
    b"event: message_start\r\nda",
    b'ta: {"type":"message_start"',
    b"}\r",
    b"\n\r\n: a comment\n\n",
    b"\xff\xfe not UTF-8",
    b"x" * 70_000,
    b"\n\ndata: [DONE]",
)


async def test_each_chunk_of_a_stream_leaves_as_one_message_when_it_comes() -> None:
    """In process nothing hides a boundary: the chunks are the provider's, and none waits for the next."""
    gates = [asyncio.Event() for _ in ODD_CHUNKS]
    steps = [step for pair in zip(ODD_CHUNKS, gates, strict=True) for step in pair]
    upstream = Upstream(Reply(200, [SSE], steps))
    async with in_process(upstream) as rig:
        scope = http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=AUTHORIZATION.items())
        async with drive(rig.app, scope, body=b'{"model":"m","stream":true}') as client:
            for index, gate in enumerate(gates):
                assert (await client.message(index + 1))["body"] == ODD_CHUNKS[index]
                assert not client.complete
                gate.set()
            await client.completed()
        assert tuple(client.chunks) == ODD_CHUNKS
        assert client.complete


@pytest.mark.parametrize("way", SERVERS)
@pytest.mark.parametrize(
    ("provider", "path"),
    [("anthropic", "/v1/messages"), ("openai", "/v1/responses"), ("openai", "/v1/conversations/c/items")],
)
async def test_over_sockets_each_chunk_arrives_before_the_next_is_made(
    way: str, provider: str, path: str
) -> None:
    """The provider makes its next chunk only when the client has the last: nothing is held, merged or split."""
    chunks = [chunk for chunk in ODD_CHUNKS if len(chunk) < 10_000]
    gates = [asyncio.Event() for _ in chunks]
    steps = [step for pair in zip(chunks, gates, strict=True) for step in pair]
    async with running(way, Reply(200, [SSE], steps)) as (rig, client):
        request = client.stream(
            "POST", rig.url(provider, path), content=b'{"model":"m","stream":true}', headers=AUTHORIZATION
        )
        async with request as answer:
            arriving = answer.aiter_raw()
            for chunk, gate in zip(chunks, gates, strict=True):
                assert await anext(arriving) == chunk
                gate.set()
            assert [rest async for rest in arriving] == []


@each_way
async def test_the_headers_of_an_answer_come_before_its_first_byte(way: str) -> None:
    """A client sees status and headers while the provider still thinks."""
    gate = asyncio.Event()
    async with running(way, Reply(200, [SSE, (b"x-request-id", b"r-1")], [gate, b"data: 1\n\n"])) as (
        rig,
        client,
    ):
        request = client.stream(
            "POST", rig.url("anthropic", "/v1/messages"), content=b'{"model":"m"}', headers=AUTHORIZATION
        )
        async with request as answer:
            assert (answer.status_code, answer.headers["x-request-id"]) == (200, "r-1")
            gate.set()
            assert [chunk async for chunk in answer.aiter_raw()] == [b"data: 1\n\n"]


@each_way
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
async def test_an_error_of_the_provider_passes_as_it_came(way: str, status: int) -> None:
    """Status, body bytes and the headers that clients act upon are the provider's."""
    body = b' {"error" :{"type":"odd_error","message":"caf\\u00e9"}}\n'
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"request-id", b"req_1"),
        (b"x-request-id", b"req_2"),
        (b"retry-after", b"7"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"x-should-retry", b"true"),
        (b"set-cookie", b"tracking=1"),
        (b"vary", b"one"),
        (b"vary", b"two"),
    ]
    async with running(way, Reply(status, headers, [body])) as (rig, client):
        answer = await client.post(
            rig.url("anthropic", "/v1/messages"), content=b'{"model":"m"}', headers=AUTHORIZATION
        )
    assert (answer.status_code, answer.content) == (status, body)
    passed = [pair for pair in answer.headers.raw if pair in headers]
    assert passed == [pair for pair in headers if pair[0] != b"set-cookie"]
    assert "set-cookie" not in answer.headers


@each_way
async def test_a_redirect_is_handed_back_and_not_followed(way: str) -> None:
    """Following it would replay a credential to wherever a provider points."""
    reply = Reply(307, [(b"location", b"https://elsewhere.test/v1"), (b"content-length", b"0")])
    async with running(way, reply) as (rig, client):
        answer = await client.post(
            rig.url("openai", "/v1/chat/completions"), content=b'{"model":"m"}', headers=AUTHORIZATION
        )
        assert (answer.status_code, answer.headers["location"]) == (307, "https://elsewhere.test/v1")
        assert len(rig.upstream.requests) == 1


@each_way
async def test_a_compressed_answer_of_a_passed_through_route_is_not_touched(way: str) -> None:
    """The client says there what it accepts, and gets the provider's coded bytes."""
    body = gzip.compress(b'{"data":[]}', mtime=0)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"%d" % len(body)),
    ]
    async with running(way, Reply(200, headers, [body])) as (rig, client):
        asked = {**AUTHORIZATION, "accept-encoding": "gzip, br, zstd"}
        async with client.stream("GET", rig.url("openai", "/v1/models"), headers=asked) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
            assert (raw, answer.headers["content-encoding"]) == (body, "gzip")
        assert rig.upstream.requests[0].header("accept-encoding") == "gzip, br, zstd"


async def test_a_compressed_answer_that_nobody_asked_for_passes_and_is_read() -> None:
    """A provider that compresses a recorded answer all the same costs no byte and no record."""
    document = {"id": "msg_1", "type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}}
    body = gzip.compress(json.dumps(document).encode(), mtime=0)
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    async with running("in process", Reply(200, headers, [body[:20], body[20:]])) as (rig, client):
        request = client.stream(
            "POST", rig.url("anthropic", "/v1/messages"), content=b'{"model":"m"}', headers=AUTHORIZATION
        )
        async with request as answer:
            assert [chunk async for chunk in answer.aiter_raw()] == [body[:20], body[20:]]
        store = await rig.settled()
    assert (store.token_usages[0].input_tokens, store.token_usages[0].output_tokens) == (3, 4)


@each_way
@pytest.mark.parametrize(
    ("provider", "path"), [("anthropic", "/v1/messages"), ("openai", "/v1/conversations")]
)
async def test_a_stream_that_the_provider_cuts_is_a_cut_for_the_client(
    way: str, provider: str, path: str
) -> None:
    """What came before the cut arrives; then the client gets an error and not an end."""
    async with running(way, Reply(200, [SSE], [b"data: {}\n\n", b"data: {", CUT])) as (rig, client):
        request = client.stream(
            "POST", rig.url(provider, path), content=b'{"model":"m","stream":true}', headers=AUTHORIZATION
        )
        received = bytearray()
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_into(received, request)
        assert received == b"data: {}\n\ndata: {"
        if provider == "anthropic":
            (end,) = (await rig.ended()).ends
            assert (end.outcome, end.error_type) == ("upstream_failed", "UpstreamBroke")


async def _read_into(received: bytearray, request: AbstractAsyncContextManager[httpx.Response]) -> None:
    async with request as answer:
        async for chunk in answer.aiter_raw():
            received += chunk


@pytest.mark.parametrize("way", SERVERS)
async def test_an_answer_with_a_length_that_is_cut_is_a_cut_too(way: str) -> None:
    """Fewer bytes than promised never look like a whole answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    async with running(way, Reply(200, headers, [b'{"half":', CUT])) as (rig, client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(
                rig.url("openai", "/v1/chat/completions"), content=b'{"model":"m"}', headers=AUTHORIZATION
            )
        (end,) = (await rig.ended()).ends
    assert end.outcome == "upstream_failed"


@each_way
async def test_an_answer_without_a_body_passes_each_time(way: str) -> None:
    """Also the second of the process, and the one after."""
    async with running(way, *[Reply(204, [(b"x-request-id", b"r-1")])] * 3) as (rig, client):
        for _ in range(3):
            answer = await client.delete(rig.url("openai", "/v1/responses/r"), headers=AUTHORIZATION)
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["x-request-id"] == "r-1"
            assert "transfer-encoding" not in answer.headers


# -- probes ---------------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_probe_is_answered_without_going_upstream(way: str, method: str) -> None:
    """A client that only asks whether its base URL answers needs no credential, and costs the provider nothing."""
    async with running(way) as (rig, client):
        for provider, rest in (("anthropic", ""), ("anthropic", "/"), ("openai", "/v1"), ("openai", "/v1/")):
            answer = await client.request(method, rig.url(provider, rest))
            assert (answer.status_code, answer.content) == (200, b"")
        assert rig.upstream.requests == []


async def test_a_head_request_has_the_headers_of_its_answer_and_no_body() -> None:
    """An answer to HEAD may state the length of a body that never comes; that is no cut."""
    seen: list[Any] = []

    def answer(request: Received) -> Reply:
        seen.append(request.method)
        return Reply(200, [(b"content-type", b"text/plain"), (b"content-length", b"12")])

    async with in_process(Upstream(answer), extra_routes={"openai": ("/files/*",)}) as rig:
        scope = http_scope("HEAD", f"{PREFIX}/openai/v1/files/f", headers=AUTHORIZATION.items())
        client = await call(rig.app, scope)
    assert (seen, client.status, client.header("content-length"), client.body) == (["HEAD"], 200, b"12", b"")
