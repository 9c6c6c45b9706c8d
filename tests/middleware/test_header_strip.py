"""The header_strip layer: what concerns only this hop or only us goes, both ways, and nothing else."""

from __future__ import annotations

import pytest

from middleware.exchange import Exchange
from middleware.header_strip import HeaderStripMiddleware
from tests.asgi import RawHeaders, call, http_scope
from tests.middleware.exchanges import Inward

KEPT = [
    ("User-Agent", "claude-cli/2"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "a"),
    ("anthropic-beta", "b"),
    ("openai-organization", "org"),
    ("x-stainless-lang", "js"),
    ("originator", "codex_cli_rs"),
    ("session_id", "s"),
    ("x-claude-code-session-id", "s"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "application/json"),
    ("Content-Encoding", "gzip"),
    ("Authorization", "Bearer users-own"),
    ("traceparent", "00-0-0-00"),
]


def raw(headers: list[tuple[str, str]]) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in headers]


async def up(headers: list[tuple[str, str]], **options: tuple[bytes, ...]) -> RawHeaders:
    """What of the request's headers reaches the inside."""
    inward = Inward()
    await call(HeaderStripMiddleware(inward, **options), http_scope("POST", "/x", headers=headers))
    return inward.request_headers


async def down(*headers: tuple[bytes, bytes]) -> RawHeaders:
    """What of the answer's headers reaches the client."""
    layer = HeaderStripMiddleware(Inward(headers=headers))
    return (await call(layer, http_scope("POST", "/x"))).headers


async def test_what_is_not_ours_goes_up_unchanged_and_in_order() -> None:
    """Duplicates included; the content's own headers too."""
    assert await up(KEPT) == raw(KEPT)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Host",
        "Expect",
        "Cookie",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "x-forwarded-anything",
        "X-Coder-AI-Governance-Token",
        "X-Coder-Chat-Id",
        "x-coder-",
        "Coder-Session-Token",
    ],
)
async def test_what_is_ours_or_the_hops_does_not_go_up(name: str) -> None:
    """Wherever it stands and however often it comes."""
    assert await up([(name, "1"), *KEPT, (name, "2")]) == raw(KEPT)


@pytest.mark.parametrize(
    "connection", [["close, X-Mine"], ["x-mine"], ["keep-alive", " X-MINE ,"], [",,x-mine"]]
)
async def test_what_connection_nominates_does_not_go_up(connection: list[str]) -> None:
    """RFC 9110 section 7.6.1: such a header is for this hop alone."""
    nominating = [("Connection", value) for value in connection]
    assert await up([*nominating, ("X-Mine", "1"), *KEPT, ("x-mine", "2")]) == raw(KEPT)


async def test_only_the_gateway_sets_actor_headers() -> None:
    """A client's own are removed, under the configured names, in any case."""
    sent = [("X-AI-Bridge-Actor-ID", "forged"), ("x-other-actor", "kept"), ("a", "1")]
    kept = raw([("x-other-actor", "kept"), ("a", "1")])
    assert await up(sent, actor_headers=(b"X-AI-Bridge-Actor-ID", b"x-actor-name")) == kept


async def test_identity_headers_are_kept_for_recording() -> None:
    """They leave the request, and stay known on the exchange."""
    inward = Inward()
    headers = [("X-Coder-Chat-Id", "chat"), ("a", "1"), ("X-Coder-Owner-Id", "owner")]
    await call(HeaderStripMiddleware(inward), http_scope("POST", "/x", headers=headers))
    assert Exchange.of(inward.scope).identity_headers == raw([headers[0], headers[2]])


async def test_names_of_any_case_are_stripped_and_lowered() -> None:
    """A scope made by hand may not have lower-cased them."""
    inward = Inward()
    scope = http_scope("POST", "/x")
    scope["headers"] = [(b"COOKIE", b"c"), (b"X-Coder-X", b"1"), (b"Accept", b"*/*")]
    await call(HeaderStripMiddleware(inward), scope)
    assert inward.request_headers == [(b"accept", b"*/*")]


async def test_the_rest_of_the_scope_is_as_it_was() -> None:
    """Only the headers differ, and the caller's scope isn't changed in place."""
    inward = Inward()
    scope = http_scope("POST", "/a%20b?c=d", headers=[("host", "h"), ("a", "1")])
    before = list(scope["headers"])
    await call(HeaderStripMiddleware(inward), scope)
    assert {**inward.scope, "headers": before} == scope
    assert scope["headers"] == before


async def test_what_is_not_the_hops_goes_down_unchanged_and_in_order() -> None:
    """Request IDs, rate limits, `retry-after`, framing of the content, a redirect's target; duplicates included."""
    kept = [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"request-id", b"req_1"),
        (b"x-request-id", b"req_2"),
        (b"anthropic-ratelimit-requests-remaining", b"1"),
        (b"retry-after", b"7"),
        (b"www-authenticate", b"Bearer"),
        (b"location", b"https://elsewhere.test/"),
        (b"warning", b"a"),
        (b"warning", b"b"),
    ]
    assert await down(*kept) == kept


async def test_what_is_the_hops_does_not_come_down() -> None:
    """Nor does `Set-Cookie`, nor what the provider's `Connection` nominates."""
    assert await down(
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"x"),
        (b"Upgrade", b"h2c"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Set-Cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"X-Kept", b"1"),
    ) == [(b"x-kept", b"1")]
