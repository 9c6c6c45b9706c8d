"""Failover in the whole gateway: one record of many attempts, the provider's shape, dumps, and a provider that fails.

The last test is held on sockets against a server that closes connections as real ones do: while they are idle, before
an answer and in its middle.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from gateway.app import create_app
from gateway.stack import LAYERS, Layer
from middleware.failover import FailoverMiddleware
from providers.options import ProviderOptions
from providers.secret import Secret, mask
from tests.answers import anthropic, bedrock, chat, responses
from tests.answers.turn import Turn
from tests.aws_signature import problem
from tests.gateway.rig import (
    GOVERNANCE,
    TOKEN,
    USER_KEY,
    AppTransport,
    Rig,
    WatchedStore,
    client_of,
    gateway_settings,
    providers,
)
from tests.middleware.bedrock import ACCESS_KEY, ACCOUNTS, REGION, SECOND_ACCESS_KEY, SECRETS
from tests.servers import SERVERS, Server, serving
from tests.upstream import Received, Reply, Upstream

KEYS: Final = ("sk-fake-central-key-the-first", "sk-fake-central-key-the-second")
HINTS: Final = ("sk-f...irst", "sk-f...cond")
AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}"}
CHAT: Final = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
MESSAGES: Final = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
TURN: Final = Turn(text="Hello")


@dataclass(slots=True)
class Time:
    """Time that passes only while the gateway waits to try again."""

    now_s: float = 0.0

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def timed(time: Time, max_retries: int = 2) -> tuple[Layer, ...]:
    """The stack, in which the failover layer has a time of its own."""
    layer = Layer(
        FailoverMiddleware,
        lambda app, p: FailoverMiddleware(app, max_retries=max_retries, clock=time.clock, sleep=time.sleep),
        "as listed",
    )
    return tuple(layer if listed.kind is FailoverMiddleware else listed for listed in LAYERS)


@asynccontextmanager
async def rig(upstream: Upstream, *, max_retries: int = 2, **changes: Any) -> AsyncIterator[tuple[Rig, Time]]:
    """A gateway whose instances have two central keys each."""
    time, store = Time(), WatchedStore()
    pooled = tuple(
        msgspec.structs.replace(each, keys=tuple(Secret(key) for key in KEYS))
        for each in providers("http://provider.test")
    )
    app = create_app(
        gateway_settings(**{"providers": pooled, **changes}),
        store=store,
        transport=AppTransport(upstream),
        layers=timed(time, max_retries),
    )
    async with app.lifespan():
        yield Rig(app, upstream, store, "http://gateway.test"), time


async def ask(
    gateway: Rig, path: str = "/v1/chat/completions", body: bytes = CHAT, **headers: str
) -> httpx.Response:
    provider = "anthropic" if path.endswith("messages") else "openai"
    async with client_of(gateway.app) as client:
        return await client.post(gateway.url(provider, path), content=body, headers=headers or AUTHORIZATION)


def keys_of(upstream: Upstream) -> list[str]:
    """The key that each request came with."""
    sent = [
        request.header("authorization") or request.header("x-api-key") or "" for request in upstream.requests
    ]
    return [value.removeprefix("Bearer ") for value in sent]


async def test_one_record_tells_the_end_and_the_key_that_served_it() -> None:
    """One start, one end, the usage of the answer that the client got; nothing of the attempts before."""
    limit = chat.error(429, "rate_limit", "slow down")
    upstream = Upstream([limit, chat.error(500, "server_error", "oops"), chat.reply(TURN, streamed=False)])
    async with rig(upstream) as (gateway, _):
        answer = await ask(gateway)
        store = await gateway.ended()
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "Hello")
    assert keys_of(upstream) == [KEYS[0], KEYS[1], KEYS[1]]
    assert len({request.body for request in upstream.requests}) == 1
    ((start,), (end,), (usage,)) = store.starts, store.ends, store.token_usages
    assert (start.credential_hint, end.credential_hint) == HINTS
    assert (end.outcome, end.status, end.error_type) == ("completed", 200, None)
    assert usage.input_tokens == 100


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (429, (429, "60", "rate_limit_error", "rate limited")),
        (401, (502, None, None, "refused by the provider")),
    ],
)
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)])
async def test_the_end_of_the_keys_is_told_in_the_providers_shape(
    path: str, body: bytes, status: int, outcome: tuple[int, str | None, str | None, str]
) -> None:
    """As its SDKs read it, with `Retry-After` where waiting helps; on record as a failure of the provider."""
    upstream = Upstream([chat.error(status, "x", "x")] * 2)
    async with rig(upstream) as (gateway, _):
        answer = await ask(gateway, path, body)
        (end,) = (await gateway.ended()).ends
    expected_status, retry_after, kind, words = outcome
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers.get("retry-after")) == (expected_status, retry_after)
    assert words in error["message"]
    assert error["type"] == (kind or ("api_error" if path == "/v1/messages" else "server_error"))
    assert (end.outcome, end.status, end.credential_hint) == ("upstream_failed", expected_status, HINTS[1])


async def test_a_users_own_key_is_tried_again_and_never_replaced() -> None:
    """What the provider says in the end is the answer, and no central key has paid for it."""
    upstream = Upstream([anthropic.error(status, "x", "x") for status in (529, 429, 401)])
    async with rig(upstream) as (gateway, _):
        answer = await ask(
            gateway, "/v1/messages", MESSAGES, **{GOVERNANCE: TOKEN, "authorization": f"Bearer {USER_KEY}"}
        )
    assert answer.status_code == 401
    assert keys_of(upstream) == [USER_KEY] * 3


def texts_below(folder: Path) -> dict[str, str]:
    """Name without its time -> text."""
    return {path.name.partition("-")[2]: path.read_text() for path in folder.rglob("*.txt")}


async def test_each_attempt_is_dumped_with_its_number(tmp_path: Path) -> None:
    """Request and answer of each, and no key in any of them."""
    upstream = Upstream([chat.error(429, "x", "slow down"), chat.reply(TURN, streamed=False)])
    async with rig(upstream, dump_dir=str(tmp_path)) as (gateway, _):
        await ask(gateway)
        (start,) = (await gateway.ended()).starts
    files = texts_below(tmp_path)
    name = start.interception_id
    assert set(files) == {f"{name}{n}.{kind}.txt" for n in ("", ".2") for kind in ("req", "resp")}
    assert "slow down" in files[f"{name}.resp.txt"]
    assert "Hello" in files[f"{name}.2.resp.txt"]
    for number, hint in (("", HINTS[0]), (".2", HINTS[1])):
        assert f"authorization: Bearer {hint}" in files[f"{name}{number}.req.txt"]
    assert not [key for key in KEYS for text in files.values() if key in text]


def with_encrypted_reasoning(reply: Reply) -> Reply:
    """The reply with its reasoning as clients get it that store nothing with the provider."""
    plain, encrypted = b'"type":"reasoning"', b'"type":"reasoning","encrypted_content":"gAAAfake"'
    chunks = [
        chunk.replace(b": ", b":").replace(b", ", b",") for chunk in reply.chunks if isinstance(chunk, bytes)
    ]
    return Reply(
        reply.status,
        [(name, value) for name, value in reply.headers if name != b"content-length"],
        [chunk.replace(plain, encrypted) for chunk in chunks],
    )


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "building_on",
    [
        {"previous_response_id": "resp_scripted_1"},
        {
            "input": [
                {"type": "reasoning", "encrypted_content": "gAAAfake"},
                {"role": "user", "content": "on"},
            ]
        },
    ],
)
async def test_a_conversation_stays_with_the_account_that_can_read_it(
    streamed: bool, building_on: dict[str, Any]
) -> None:
    """What the reader of an answer finds binds what comes after it, though the first key is free again."""
    reply = with_encrypted_reasoning(
        responses.reply(Turn(text="Hello", thought="let me think"), streamed=streamed)
    )
    upstream = Upstream([chat.error(429, "x", "x", retry_after_s=5), reply, reply, reply])
    asked = {"model": "m", "stream": streamed, "input": "hi"}
    async with rig(upstream) as (gateway, time):
        for body in (asked, {**asked, **building_on}, asked):
            answer = await ask(gateway, "/v1/responses", json.dumps(body).encode())
            assert answer.status_code == 200
            time.now_s += 5
        assert b"gAAAfake" in answer.content
    assert keys_of(upstream) == [KEYS[0], KEYS[1], KEYS[1], KEYS[0]]


async def test_an_attempt_is_never_recorded_twice_when_all_of_them_fail() -> None:
    """The provider's last word is the answer, and the one on record."""
    upstream = Upstream([chat.error(503, "x", f"number {number}") for number in range(3)])
    async with rig(upstream) as (gateway, _):
        answer = await ask(gateway)
        store = await gateway.ended()
    assert answer.json()["error"]["message"] == "number 2"
    assert [(end.outcome, end.status, end.error_message) for end in store.ends] == [
        ("upstream_failed", 503, "number 2")
    ]
    assert len(store.starts) == 1


async def test_the_next_access_key_signs_where_amazon_bedrock_throttles_the_first() -> None:
    """Each attempt has a signature of its own, which the provider finds right, and the record names the last."""
    signed: list[str | None] = []

    def judge(request: Received) -> Reply:
        assert problem(request, ACCOUNTS, region=REGION) == ""
        signed.append(next((key for key in SECRETS if key in (request.header("authorization") or "")), None))
        if len(signed) < 3:
            return bedrock.error((503, 429)[len(signed) - 1], "ThrottlingException", {"message": "slow down"})
        return bedrock.reply(TURN, streamed=False)

    instance = ProviderOptions(
        type="anthropic",
        name="anthropic",
        bedrock_base_url="https://bedrock.test",
        bedrock_region=REGION,
        bedrock_access_keys=tuple(Secret(key) for key in SECRETS),
        bedrock_access_key_secrets=tuple(Secret(secret) for secret in SECRETS.values()),
    )
    upstream = Upstream(judge)
    async with rig(upstream, providers=(instance,)) as (gateway, _):
        answer = await ask(gateway, "/v1/messages", MESSAGES)
        ((start,), (end,)) = (await gateway.ended()).starts, gateway.store.ends
    assert (answer.status_code, answer.json()["content"][0]["text"]) == (200, "Hello")
    assert signed == [ACCESS_KEY, ACCESS_KEY, SECOND_ACCESS_KEY]
    assert (start.credential_hint, end.credential_hint) == (mask(ACCESS_KEY), mask(SECOND_ACCESS_KEY))


class Stopped(Time):
    """Time that never passes; `waited` is set once somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waited.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_that_hangs_up_during_a_wait_is_noticed(server: Server) -> None:
    """By its socket, under either server; the record says that it left, and the provider isn't asked again."""
    upstream, store, time = Upstream([chat.error(503, "x", "x")]), WatchedStore(), Stopped()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(upstream), layers=timed(time))
    async with serving(app, server) as base_url, httpx.AsyncClient(timeout=None) as client:
        gateway = Rig(app, upstream, store, base_url)
        url = gateway.url("openai", "/v1/chat/completions")
        asking = asyncio.create_task(client.post(url, content=CHAT, headers=AUTHORIZATION))
        await time.waited.wait()
        asking.cancel()
        (end,) = (await gateway.ended()).ends
    assert (end.outcome, end.status) == ("client_left", 499)
    assert len(upstream.requests) == 1


# -- under load, on sockets --------------------------------------------------------------------------------------------

REQUESTS: Final = 200
AT_ONCE: Final = 10
EVENTS: Final = [b"data: {}\n\n", b"data: [DONE]\n\n"]


@dataclass(slots=True)
class Unreliable:
    """A server of which 30 % of the answers fail, each in one of six ways, and that closes idle connections unasked."""

    chance: random.Random = field(default_factory=lambda: random.Random(4))
    told: dict[str, list[str]] = field(default_factory=dict)
    """By request: what became of each attempt, in order."""
    open: int = 0
    most_open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        ways = ("429", "500", "503", "529", "hangs up", "cuts")
        told = self.chance.choice(ways) if self.chance.random() < 0.3 else "whole"
        self.told.setdefault(fields[b"x-number"].decode(), []).append(told)
        if told == "hangs up":
            return False
        if told.isdecimal():
            writer.write(b"HTTP/1.1 %b No\r\ncontent-length: 2\r\n\r\n{}" % told.encode())
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for event in EVENTS[: 1 if told == "cuts" else 2]:
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            if told == "whole":
                writer.write(b"0\r\n\r\n")
        await writer.drain()
        return told != "cuts" and self.chance.random() < 0.8  # else it closes, and has not said so


async def asked_of(client: httpx.AsyncClient, url: str, number: int) -> str:
    """What the client saw of one request."""
    status, body = 0, b""
    headers = {**AUTHORIZATION, "x-number": str(number)}
    try:
        async with client.stream("POST", url, content=CHAT, headers=headers) as answer:
            status = answer.status_code
            async for piece in answer.aiter_bytes():
                body += piece
    except Exception:
        return "cut" if status == 200 and b"".join(EVENTS).startswith(body) else "broke"
    return "whole" if status == 200 and body == b"".join(EVENTS) else str(status)


async def in_turns(count: int, at_once: int, one: Callable[[int], Any]) -> list[Any]:
    """`one` for each number, so many at a time."""
    free = asyncio.Semaphore(at_once)

    async def in_its_turn(number: int) -> Any:
        async with free:
            return await one(number)

    return await asyncio.gather(*(in_its_turn(number) for number in range(count)))


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
async def test_no_request_fails_that_another_attempt_could_save(transport: str) -> None:
    """None is sent again once its answer began, and there are never more connections open than requests at a time."""
    unreliable, store = Unreliable(), WatchedStore()
    server = await asyncio.start_server(unreliable.serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = gateway_settings(url, upstream_transport=transport, request_stream_usage=False)
        app = create_app(settings, store=store, layers=timed(Time(), max_retries=20))
        async with app.lifespan(), client_of(app) as client:
            rig = Rig(app, Upstream(), store, "http://gateway.test")
            target = rig.url("openai", "/v1/chat/completions")
            seen = await in_turns(REQUESTS, AT_ONCE, lambda number: asked_of(client, target, number))
            await rig.ended(REQUESTS)
    assert len(unreliable.told) == REQUESTS
    for number, saw in enumerate(seen):
        *before, last = unreliable.told[str(number)]
        assert saw == {"whole": "whole", "cuts": "cut"}[last], number
        assert not {"whole", "cuts"} & set(before), number
    assert {"whole", "cut"} == set(seen)
    assert {"429", "500", "503", "529", "hangs up", "cuts"} < {
        each for told in unreliable.told.values() for each in told
    }
    assert unreliable.most_open <= AT_ONCE  # idle ones included: a failed attempt leaves none behind
    assert len(store.ends) == len(store.starts) == REQUESTS
