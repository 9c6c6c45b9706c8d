"""Requests that mean one thing to one reader and another to the next, sent as bytes over real sockets.

Nothing of them reaches another host, another route or another body than the one that was authorised; the answer is a
clear 4xx, or the connection is closed.
"""

from __future__ import annotations

import pytest

from gateway.app import create_app
from gateway.caching_authenticator import CachingAuthenticator
from gateway.settings import GatewayOptions, Settings
from middleware.errors import Unauthorized
from middleware.exchange import Identity
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.memory import MemoryStore
from tests.asgi import call, http_scope
from tests.security.wire import KEYS, TOKEN, Wire, request, statuses, wired
from tests.servers import SERVERS, Server

CHAT = b"/openai/v1/chat/completions"
BODY = b'{"model":"m","messages":[]}'


async def _refused(wire: Wire, name: str, raw: bytes) -> str | None:
    """None when the gateway refuses the bytes and sends nothing on; else what it did."""
    before = len(wire.upstream.requests)
    answer = await wire.ask(raw)
    seen = statuses(answer)
    if len(wire.upstream.requests) != before:
        return f"{name}: {wire.arrived[-1]} went upstream"
    return (
        None
        if all(400 <= status < 500 or status == 501 for status in seen)
        else f"{name}: {seen} {answer[:200]!r}"
    )


async def _check_refused(server: Server, attacks: dict[str, bytes]) -> None:
    async with wired(server) as wire:
        trouble = [await _refused(wire, name, raw) for name, raw in attacks.items()]
        assert [each for each in trouble if each] == []
        assert wire.trap.requests == []
        assert statuses(await wire.ask(request())) == [200]  # and it still serves


@pytest.mark.parametrize("server", SERVERS)
async def test_an_ambiguous_path_reaches_no_route(server: Server) -> None:
    """Every way of writing a path in which two readers could see different routes."""
    targets = [
        b"/openai/v1/models/../../../anthropic/v1/models",
        b"/openai/v1/../v1/models",
        b"/openai/./v1/models",
        b"/openai/v1/models/..",
        b"/openai/v1/models/.",
        b"//openai/v1/models",
        b"/openai//v1/models",
        b"/openai/v1//models",
        b"/openai/v1/models//",
        b"/openai%2fv1%2fmodels",
        b"/openai/v1/models%2F..%2Ffiles",
        b"/openai/v1/models%5C..%5Cfiles",
        b"/openai/v1/models\\..\\files",
        b"/openai/v1/models/%2e%2e/files",
        b"/openai/v1/models/%2E%2e%2ffiles",
        b"/openai/v1/models/.%2e/files",
        b"/openai/v1/models/%252e%252e/files",
        b"/openai/v1/models/%25252e/files",
        b"/openai/v1/models;/../files",
        b"/openai;x=1/v1/models",
        b"/openai/v1/models%3bx",
        b"/openai/v1/models/%00",
        b"/openai/v1/models%0d%0aX-Injected:%20yes",
        b"/openai/v1/models%0a",
        b"/openai/v1/models/%7f",
        b"/openai/v1/models/\x01",
        b"/openai/v1/models/%zz/..",
        b"/openai/v1/modelsX",
        b"/OpenAI/v1/models",
        b"/openai/V1/models",
        b"/openai/v1/files",
        b"/anthropic/v1/chat/completions",
        b"/openai%20/v1/models",
        b"/openai/models",
        b"/openai.anthropic/v1/models",
        b"/api/v2/ai-gateway/../openai/v1/models",
        b"/api/v2/ai-gatewayX/openai/v1/models",
    ]
    await _check_refused(server, {repr(target): request(target) for target in targets})


@pytest.mark.parametrize("server", SERVERS)
async def test_a_target_that_is_no_path_reaches_no_route(server: Server) -> None:
    """Absolute form, authority form, asterisk, user information, no slash, bytes that are not ASCII."""
    targets = [
        b"http://127.0.0.1:1/openai/v1/models",
        b"https://evil.example/openai/v1/models",
        b"HTTP://gateway.test//openai/v1/models",
        b"//evil.example/openai/v1/models",
        b"/http://evil.example/v1/models",
        b"@evil.example/openai/v1/models",
        b"/@evil.example/v1/models",
        b"/openai@evil.example/v1/models",
        b"openai/v1/models",
        b"?/openai/v1/models",
        b"#/openai/v1/models",
        b"*",
        b"evil.example:443",
        b"/openai/v1/models#/../files",
        b"/openai\xc3\xa9/v1/models",
        b"/openai/v1/models\xff/..",
        b"/\xef\xbc\x8fopenai/v1/models",
    ]
    await _check_refused(server, {repr(target): request(target) for target in targets})


@pytest.mark.parametrize("server", SERVERS)
async def test_only_known_methods_go_upstream(server: Server) -> None:
    """TRACE would send a central key back in the answer's body, and CONNECT opens a tunnel."""
    methods = (b"TRACE", b"CONNECT", b"TRACK", b"DEBUG", b"X-ANY", b"PROPFIND")
    target = b"/openai/v1/responses/r1"
    await _check_refused(server, {repr(method): request(target, method=method) for method in methods})


@pytest.mark.parametrize("server", SERVERS)
async def test_no_header_query_or_body_chooses_the_host(server: Server) -> None:
    """The request goes where the instance is configured to be, with nothing that would tell a proxy otherwise."""
    async with wired(server) as wire:
        trap = b"127.0.0.1:%d" % wire.trap_port
        names = (
            *(b"X-Forwarded-Host", b"X-Forwarded-Server", b"X-Forwarded-For", b"X-Forwarded-Proto"),
            *(b"X-Forwarded-Prefix", b"X-Forwarded-Path", b"Forwarded"),
        )
        steering = [(name, trap) for name in names]
        passing = [(b"X-Base-Url", b"http://" + trap), (b"Origin", b"http://" + trap)]
        body = b'{"model":"http://%s/","base_url":"http://%s/v1","api_base":"%s","messages":[]}' % (
            trap,
            trap,
            trap,
        )
        query = b"?base_url=http://%s/&host=%s" % (trap, trap)
        for host in (trap, b"evil.example", b"gateway.test:80@" + trap, b"a/../b", b"[::1]:1", b""):
            answer = await wire.ask(
                request(CHAT + query, method=b"POST", host=host, headers=steering + passing, body=body)
            )
            assert statuses(answer) in ([200], [400], []), host
        assert wire.trap.requests == []
        assert set(wire.arrived) == {("POST", "/oa/v1/chat/completions")}
        for received in wire.upstream.requests:
            assert received.header("authorization") == f"Bearer {KEYS['openai']}"
            assert (received.header("host") or "").startswith("127.0.0.1:")
            assert trap.decode() not in (received.header("host") or "")
            assert [name for name in names if received.values(name.decode())] == []
            assert received.query == query[1:]
            assert received.body == body


@pytest.mark.parametrize("server", SERVERS)
async def test_a_request_whose_end_is_unclear_is_one_request_or_none(server: Server) -> None:
    """Two lengths, a length beside chunks, odd codings, folded and spaced names: no second request is smuggled."""
    smuggled = request(b"/anthropic/v1/models")
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n" % (CHAT, TOKEN.encode())
    length = b"Content-Length: %d\r\n" % len(BODY)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    attacks = {
        "two lengths": head + length + b"Content-Length: 5\r\n\r\n" + BODY + smuggled,
        "a list of lengths": head + b"Content-Length: 5, %d\r\n\r\n" % len(BODY) + BODY + smuggled,
        "a signed length": head + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY + smuggled,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + smuggled,
        "a length in hexadecimal": head + b"Content-Length: 0x1b\r\n\r\n" + BODY + smuggled,
        "an unknown coding": head + b"Transfer-Encoding: xchunked\r\n\r\n" + chunked + smuggled,
        "two codings": head + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked + smuggled,
        "a spaced name": head + b"Content-Length : 5\r\n\r\n" + BODY + smuggled,
        "a bad chunk size": head
        + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        + BODY
        + b"\r\n0\r\n\r\n"
        + smuggled,
        "a bare line feed in a name": head + b"X-A\nContent-Length: 5\r\n\r\n" + smuggled,
        "a NUL in a value": head + b"X-A: a\0b\r\n" + length + b"\r\n" + BODY,
        "a name that is no token": head + b"X(A): b\r\n" + length + b"\r\n" + BODY,
    }
    await _check_refused(server, attacks)
    async with wired(server) as wire:
        both = head + length + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked
        assert statuses(await wire.ask(both)) in ([200], [400], [])
        assert all(received.body == BODY for received in wire.upstream.requests)
        assert all(received.header("transfer-encoding") is None for received in wire.upstream.requests)


@pytest.mark.parametrize("server", SERVERS)
async def test_what_is_too_large_is_refused(server: Server) -> None:
    """Targets, headers, tokens and bodies, with a length that was announced and with one that was not."""
    big = b"a" * (100 * 1024)
    huge = b"a" * (1024 * 1024)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(big), big) for _ in range(3))
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nConnection: close\r\n" % (
        CHAT,
        TOKEN.encode(),
    )
    attacks = {
        "a long token": request(token=TOKEN.encode() + b"a" * 60_000),
        "a huge token": request(token=huge),
        "a huge header": request(headers=[(b"X-A", huge)]),
        "many headers": request(headers=[(b"X-%d" % n, b"a" * 100) for n in range(10_000)]),
        "a huge target": request(b"/openai/v1/models/" + huge),
        "a large body": request(CHAT, method=b"POST", body=big),
        "a body of unknown length": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
        "an announced body": head + b"Content-Length: 99999999999999999999\r\n\r\n" + 5 * huge,
    }
    await _check_refused(server, attacks)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_query_that_cannot_be_sent_on_is_a_bad_request(server: Server) -> None:
    """Longer than the transport takes, or with a character that ends a query: said clearly, and not as our failure."""
    attacks = {
        "a long query": request(b"/openai/v1/models?" + b"a" * 65_600),
        "a fragment": request(b"/openai/v1/models?a=1#frag"),
    }
    await _check_refused(server, attacks)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_hostile_credential_is_a_bad_one(server: Server) -> None:
    """NUL, other controls, other scripts, SQL and format characters in each slot: refused, and nothing breaks."""
    values = (
        *(
            b"' OR 1=1 --",
            b"fakegateid-' OR ''='",
            b"%s%n{0}${x}",
            b"../../etc/passwd",
            b"a\tb",
            b"a\x01b",
            b"a\x7fb",
        ),
        *("fakegateid-tökén".encode(), b"\xff\xfe", b"-", b"a-b-c", b"delegated", b"static", b"Bearer", b","),
    )
    slots = (b"Authorization: Bearer ", b"Authorization: ", b"X-Api-Key: ", b"X-Coder-AI-Governance-Token: ")
    attacks = {
        repr(slot + value): b"GET /openai/v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        + slot
        + value
        + b"\r\n\r\n"
        for slot in slots
        for value in values
    }
    await _check_refused(server, attacks)


@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"\x1b[31m"])
@pytest.mark.parametrize("server", SERVERS)
async def test_a_control_character_goes_no_further(server: Server, value: bytes) -> None:
    """In a header of a caller in good standing: refused as the caller's mistake, not as a failure of ours."""
    await _check_refused(server, {"a control character": request(headers=[(b"X-A", value)])})


async def test_a_path_of_bytes_that_are_no_text_is_an_unknown_route() -> None:
    """Whether a server decodes them to U+FFFD or to lone surrogates, the answer is the same plain 404."""
    app = create_app(Settings(gateway=_STATIC), store=MemoryStore())
    async with app.lifespan():
        for path in ("/openai/v1/models/\ufffd", "/openai/v1/models/\udcff", "/\udcff"):
            scope = http_scope("GET", "/", headers=[("x-api-key", TOKEN)])
            answer = await call(app, {**scope, "path": path})
            assert answer.status == 404
            assert b"route not supported" in answer.body


async def test_a_connection_header_does_not_turn_a_users_call_into_a_central_one() -> None:
    """It names headers of this hop; naming the credential must not make the organisation pay for a `byok` call."""
    async with wired("hypercorn") as wire:
        own = [(b"X-Coder-AI-Governance-Token", TOKEN.encode()), (b"Connection", b"authorization, x-api-key")]
        assert statuses(await wire.ask(request(headers=own, token=b"fake-key-of-the-user"))) == [400]
        assert wire.arrived == []


_STATIC = GatewayOptions(
    auth="static",
    journal_dir="",
    static_token=Secret(TOKEN),
    providers=(ProviderOptions(type="openai", name="openai", keys=(Secret(KEYS["openai"]),)),),
)


class _OneToken:
    """Knows one token, by the whole of it."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def authenticate(self, token: Secret) -> Identity:
        if token.reveal_secret_value() != self.token:
            raise Unauthorized("another token")
        return Identity("u", "u", "k")

    async def identify(self, api_key_id: str) -> Identity:
        raise Unauthorized("not here")


async def test_tokens_with_a_long_common_beginning_are_different_tokens() -> None:
    """Also right after the good one was remembered."""
    good = b"fakegateid-" + b"a" * 400 + b"b"
    authenticator = CachingAuthenticator(_OneToken(good.decode()), ttl_s=60, grace_s=60)
    async with wired("hypercorn", authenticator=authenticator) as wire:
        for token, status in (
            (good, 200),
            (good[:-1], 403),
            (good[:-1] + b"c", 403),
            (good + b"b", 403),
            (good, 200),
        ):
            assert statuses(await wire.ask(request(token=token))) == [status]
    await authenticator.close()
