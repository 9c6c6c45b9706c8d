"""The dispatch layer: where the request goes, with whose credential, and what of the answer is kept back."""

from __future__ import annotations

import dataclasses

import pytest
from starlette.types import Scope

from middleware.dispatch import ProviderDispatch
from middleware.errors import BadRequest
from middleware.exchange import Exchange, Identity
from providers.anthropic.provider import ANTHROPIC
from providers.base import Provider
from providers.openai.provider import OPENAI
from recorders.records import CredentialKind
from tests.asgi import RawHeaders, call, drive, http_scope
from tests.middleware.exchanges import (
    ANTHROPIC_INSTANCE,
    CENTRAL_KEY,
    COPILOT_INSTANCE,
    OPENAI_INSTANCE,
    USER_KEY,
    Inward,
    known_scope,
)

ACTOR = (b"x-actor-id", b"x-actor-name")


async def outward(scope: Scope, actor_headers: tuple[bytes, bytes] | None = None) -> Scope:
    """The scope that reaches the upstream side."""
    inward = Inward()
    await call(ProviderDispatch(inward, actor_headers=actor_headers), scope)
    return inward.scope


@pytest.mark.parametrize(
    ("base_url", "path", "where", "target"),
    [
        ("https://openai.test/v1/", "/v1/chat/completions", ("https", "openai.test", 443), "/v1/chat/completions"),
        ("https://openai.test/v1", "/v1/responses", ("https", "openai.test", 443), "/v1/responses"),
        ("http://proxy.test:8080", "/v1/models", ("http", "proxy.test", 8080), "/models"),
        ("http://proxy.test/", "/v1/models", ("http", "proxy.test", 80), "/models"),
        (
            "https://chatgpt.com/backend-api/codex",
            "/v1/responses",
            ("https", "chatgpt.com", 443),
            "/backend-api/codex/responses",
        ),
        ("https://proxy.test/a%20b/v1", "/v1/models/gpt", ("https", "proxy.test", 443), "/a%20b/v1/models/gpt"),
        ("http://[::1]:4010/v1", "/v1/models", ("http", "::1", 4010), "/v1/models"),
    ],
)  # fmt: skip
async def test_the_target_is_the_base_url_and_the_route(
    base_url: str, path: str, where: tuple[str, str, int], target: str
) -> None:
    """The base URL brings scheme, host, port and its own path, whatever that is."""
    provider = dataclasses.replace(OPENAI_INSTANCE, base_url=base_url)
    method = "GET" if "models" in path else "POST"
    scope = await outward(known_scope(path, method=method, provider=provider))
    assert (scope["scheme"], *scope["server"]) == where
    assert (scope["raw_path"], scope["query_string"]) == (target.encode(), b"")
    assert scope["root_path"] == ""


async def test_an_anthropic_path_keeps_its_version() -> None:
    """There the `/v1` belongs to the route, whatever path the base URL has."""
    provider = Provider(ANTHROPIC, "corp", "https://proxy.test/anthropic")
    body = b'{"model": "m", "messages": []}'
    scope = await outward(known_scope("/v1/messages", provider=provider, body=body))
    assert scope["raw_path"] == b"/anthropic/v1/messages"


@pytest.mark.parametrize("query", ["beta=true&x=%2f", "a=+&&b", ""])
async def test_the_query_goes_on_unchanged(query: str) -> None:
    """It is the client's own; a base URL brings none."""
    scope = await outward(known_scope(query=query))
    assert scope["query_string"] == query.encode()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/models/a b", b"/v1/models/a%20b"),
        ("/v1/models/é", b"/v1/models/%C3%A9"),
        ("/v1/models/a?b#c", b"/v1/models/a%3Fb%23c"),
        ("/v1/models/ft:gpt@x(1)", b"/v1/models/ft:gpt@x(1)"),
    ],
)
async def test_the_path_is_written_anew(path: str, target: bytes) -> None:
    """From the path that was authorized, so that no encoding of a client reaches another route."""
    scope = known_scope("/v1/models/x", method="GET")
    Exchange.of(scope).route = OPENAI_INSTANCE.match("GET", path)
    assert (await outward(scope))["raw_path"] == target


async def test_the_host_header_is_the_providers() -> None:
    """With its port, without a user; none of the client's."""
    provider = dataclasses.replace(OPENAI_INSTANCE, base_url="https://user:pass@proxy.test:8443/v1")
    scope = await outward(known_scope(provider=provider))
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"proxy.test:8443"]


async def credential_headers(
    provider: Provider, kind: CredentialKind, headers: list[tuple[str, str]]
) -> tuple[RawHeaders, str | None]:
    """What stands in the credential headers upstream, and the hint on the exchange."""
    path = "/v1/messages" if provider.type is ANTHROPIC else "/chat/completions"
    path = "/v1" + path if provider.type is OPENAI else path
    body = b'{"model": "m", "messages": []}'
    scope = await outward(known_scope(path, provider=provider, kind=kind, headers=headers, body=body))
    credential = Exchange.of(scope).credential
    found = [(n, v) for n, v in scope["headers"] if n in (b"authorization", b"x-api-key")]
    return found, credential.secret.reveal_secret_value() if credential else None


BEARER_OF_USER = ("authorization", f"Bearer {USER_KEY}")
KEY_OF_USER = ("x-api-key", f"{USER_KEY}2")
AS_BEARER = (b"authorization", f"Bearer {USER_KEY}".encode())
AS_KEY = (b"x-api-key", f"{USER_KEY}2".encode())


@pytest.mark.parametrize(
    ("provider", "kind", "given", "sent"),
    [
        (OPENAI_INSTANCE, "centralized", [], (b"authorization", f"Bearer {CENTRAL_KEY}".encode())),
        (ANTHROPIC_INSTANCE, "centralized", [], (b"x-api-key", CENTRAL_KEY.encode())),
        (OPENAI_INSTANCE, "byok", [BEARER_OF_USER], AS_BEARER),
        (OPENAI_INSTANCE, "byok", [KEY_OF_USER], AS_KEY),
        (OPENAI_INSTANCE, "byok", [KEY_OF_USER, BEARER_OF_USER], AS_BEARER),
        (ANTHROPIC_INSTANCE, "byok", [BEARER_OF_USER], AS_BEARER),
        (ANTHROPIC_INSTANCE, "byok", [KEY_OF_USER], AS_KEY),
        (ANTHROPIC_INSTANCE, "byok", [BEARER_OF_USER, KEY_OF_USER], AS_KEY),
        (ANTHROPIC_INSTANCE, "byok", [("x-api-key", " "), BEARER_OF_USER], AS_BEARER),
        (ANTHROPIC_INSTANCE, "byok", [("authorization", "Basic x"), BEARER_OF_USER], AS_BEARER),
        (COPILOT_INSTANCE, "byok", [BEARER_OF_USER], AS_BEARER),
        (COPILOT_INSTANCE, "byok", [KEY_OF_USER, BEARER_OF_USER], AS_BEARER),
    ],
)
async def test_one_credential_goes_upstream(
    provider: Provider, kind: CredentialKind, given: list[tuple[str, str]], sent: tuple[bytes, bytes]
) -> None:
    """The central key in the type's first slot, or the user's own in the slot that the type prefers."""
    headers, secret = await credential_headers(provider, kind, given)
    assert headers == [sent]
    assert secret is not None
    assert sent[1].decode().endswith(secret)


@pytest.mark.parametrize("given", [[], [BEARER_OF_USER, KEY_OF_USER]])
async def test_an_instance_without_a_key_sends_none(given: list[tuple[str, str]]) -> None:
    """A provider that wants none gets none, and no caller's either."""
    keyless = dataclasses.replace(OPENAI_INSTANCE, keys=())
    assert await credential_headers(keyless, "centralized", given) == ([], None)


@pytest.mark.parametrize("kind", ["centralized", "byok"])
@pytest.mark.parametrize("given", [[], [KEY_OF_USER], [("authorization", "Basic x")]])
async def test_copilot_needs_the_users_own_token(kind: CredentialKind, given: list[tuple[str, str]]) -> None:
    """400, and the message says where to put which token; nothing goes upstream."""
    inward = Inward()
    scope = known_scope("/chat/completions", provider=COPILOT_INSTANCE, kind=kind, headers=given)
    async with drive(ProviderDispatch(inward), scope) as client:
        failure = await client.failed()
    assert isinstance(failure, BadRequest)
    assert 'AI provider "copilot" needs your own token' in failure.message
    assert "X-Coder-AI-Governance-Token" in failure.message
    assert not inward.scopes


async def test_a_lost_credential_of_the_users_is_not_replaced_by_the_central_key() -> None:
    """`Connection: authorization` takes it off on the way; a request that counts as byok must not cost the centre."""
    inward = Inward()
    async with drive(ProviderDispatch(inward), known_scope(kind="byok")) as client:
        assert isinstance(await client.failed(), BadRequest)
    assert not inward.scopes


async def test_all_other_headers_go_on_in_order() -> None:
    """Duplicates included."""
    rest = [("b", "1"), ("user-agent", "codex"), ("a", "2"), ("b", "3")]
    scope = await outward(known_scope(headers=rest))
    assert scope["headers"][1:-1] == [(name.encode(), value.encode()) for name, value in rest]


async def test_the_provider_learns_who_asks_when_told_so() -> None:
    """ID and name, percent-encoded where a header can't hold them, on recorded routes."""
    caller = Identity("user-1", "Zoë\r\nX: y", "key-1")
    headers = (await outward(known_scope(caller=caller), ACTOR))["headers"]
    assert headers[-2:] == [(b"x-actor-id", b"user-1"), (b"x-actor-name", b"Zo%C3%AB%0D%0AX%3A y")]


async def test_the_provider_does_not_learn_it_otherwise() -> None:
    """Off by default, and never on routes that only pass through."""
    for scope in (
        await outward(known_scope()),
        await outward(known_scope("/v1/models", method="GET"), ACTOR),
    ):
        assert not [name for name, _ in scope["headers"] if name in ACTOR]


async def answer(*headers: tuple[bytes, bytes], scope: Scope | None = None) -> RawHeaders:
    """The headers of an answer as they come out of the layer."""
    layer = ProviderDispatch(Inward(headers=headers))
    return (await call(layer, scope or known_scope())).headers


async def test_a_header_that_echoes_the_credential_does_not_come_down() -> None:
    """Whatever its name and whatever stands around the secret."""
    kept = (b"x-request-id", b"req_1")
    found = await answer((b"x-debug", b"key=" + CENTRAL_KEY.encode()), kept, (b"X-Key", CENTRAL_KEY.encode()))
    assert found == [kept]


async def test_nothing_is_dropped_where_no_credential_went_up() -> None:
    """An empty secret is in every header; it must not count."""
    keyless = dataclasses.replace(OPENAI_INSTANCE, keys=())
    assert await answer((b"a", b"1"), scope=known_scope(provider=keyless)) == [(b"a", b"1")]


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"])
async def test_a_stream_tells_proxies_not_to_hold_it(content_type: bytes) -> None:
    """`cache-control` and `x-accel-buffering`, where the provider set nothing else."""
    typed = (b"content-type", content_type)
    assert await answer(typed) == [typed, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    own = [(b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"yes")]
    assert await answer(typed, *own) == [typed, *own]


async def test_any_other_answer_gets_no_header_of_ours() -> None:
    """A blocking answer is the provider's alone."""
    typed = (b"content-type", b"application/json")
    assert await answer(typed) == [typed]


async def test_it_says_what_is_missing_when_it_stands_alone() -> None:
    """Without a route there is nowhere to go."""
    async with drive(ProviderDispatch(Inward()), http_scope("POST", "/x")) as client:
        failure = await client.failed()
    assert isinstance(failure, RuntimeError)
    assert "RouteMiddleware" in str(failure)


async def test_the_length_that_the_client_declared_stays_here() -> None:
    """The body may have been edited; the upstream writes the length of what it sends."""
    inward = Inward()
    await call(ProviderDispatch(inward), known_scope(headers=[("content-length", "3")]), b"{}")
    assert [value for name, value in inward.scope["headers"] if name == b"content-length"] == []
