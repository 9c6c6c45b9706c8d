"""The auth layer: which header holds the token, and who is refused how."""

from __future__ import annotations

import logging

import pytest

from middleware.auth import AuthMiddleware, find_token
from middleware.errors import AuthorityUnreachable, NoToken, Unauthorized
from middleware.exchange import DELEGATION_KEY, Delegation, Exchange, Identity
from providers.secret import Secret
from tests.asgi import call, drive, http_scope
from tests.middleware.exchanges import CALLER, TOKEN, Inward
from tests.middleware.standing import OneCaller

GOVERNANCE = "X-Coder-AI-Governance-Token"


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(GOVERNANCE, "gov"), ("Authorization", "Bearer bear"), ("X-Api-Key", "api")], "gov"),
        ([("X-Api-Key", "api"), ("Authorization", "Bearer bear"), (GOVERNANCE, "gov")], "gov"),
        ([("X-Api-Key", "api"), ("Authorization", "Bearer bear")], "bear"),
        ([("X-Api-Key", "api")], "api"),
        ([(GOVERNANCE, ""), ("Authorization", "Bearer bear")], "bear"),
        ([(GOVERNANCE, "  "), ("X-Api-Key", "api")], "api"),
        ([(GOVERNANCE, " gov\t")], "gov"),
        ([("X-Api-Key", "  api ")], "api"),
        ([("Authorization", "bearer t")], "t"),
        ([("Authorization", "BEARER t")], "t"),
        ([("Authorization", "  Bearer \t t  ")], "t"),
        ([("Authorization", "Bearer t"), ("Authorization", "Bearer u")], "t"),
        ([("X-Api-Key", "t"), ("X-Api-Key", "u")], "t"),
        ([("Authorization", "Bearer a b"), ("X-Api-Key", "api")], "api"),
        ([("Authorization", "Basic dTpw"), ("X-Api-Key", "api")], "api"),
        ([("Authorization", "Bearer"), ("X-Api-Key", "api")], "api"),
        ([("Authorization", "t")], None),
        ([("Authorization", "Bearer a b")], None),
        ([("Authorization", "Bearer ")], None),
        ([("Coder-Session-Token", "session")], None),
        ([("Cookie", "coder_session_token=session")], None),
        ([("Api-Key", "api")], None),
        ([], None),
    ],
)
def test_where_the_token_stands(headers: list[tuple[str, str]], token: str | None) -> None:
    """Governance header, bearer, `X-Api-Key`: the first that holds one; values trimmed, bearer of two fields."""
    assert find_token(http_scope(headers=headers)) == (Secret(token) if token else None)


async def test_a_caller_is_known_inside() -> None:
    """Identity and token travel on the exchange; no header changes here."""
    inward = Inward()
    headers = [("X-B", "1"), ("Authorization", f"Bearer {TOKEN}"), ("X-A", "2")]
    scope = http_scope("POST", "/x", headers=headers)
    await call(AuthMiddleware(inward, authenticator=OneCaller()), scope)
    exchange = Exchange.of(inward.scope)
    assert (exchange.caller, exchange.token) == (CALLER, Secret(TOKEN))
    assert inward.request_headers == scope["headers"]


async def test_no_token_is_refused() -> None:
    """400 and not 401: clients must not think that their provider key is wrong."""
    inward = Inward()
    async with drive(AuthMiddleware(inward, authenticator=OneCaller()), http_scope()) as client:
        failure = await client.failed()
    assert isinstance(failure, NoToken)
    assert not inward.scopes


@pytest.mark.parametrize("token", ["wrong-token", "delegated"])
async def test_a_bad_token_is_refused_and_its_reason_logged(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The public message is always the same; the log says why and not with what. `delegated` is just a word."""
    inward = Inward()
    caplog.set_level(logging.WARNING)
    scope = http_scope(headers=[(GOVERNANCE, token), ("Authorization", f"Bearer {TOKEN}")])
    async with drive(AuthMiddleware(inward, authenticator=OneCaller()), scope) as client:
        failure = await client.failed()
    assert isinstance(failure, Unauthorized)
    assert failure.message == "unauthorized"
    assert not inward.scopes
    (record,) = caplog.records
    assert vars(record)["reason"] == "not the one token"
    assert token not in str(vars(record))


class Unreachable(OneCaller):
    async def authenticate(self, token: Secret) -> Identity:
        raise AuthorityUnreachable


async def test_an_authority_that_cannot_be_asked_is_no_refusal() -> None:
    """503 with a time to wait; a valid user isn't told that the token is bad."""
    scope = http_scope(headers=[(GOVERNANCE, TOKEN)])
    async with drive(AuthMiddleware(Inward(), authenticator=Unreachable()), scope) as client:
        failure = await client.failed()
    assert isinstance(failure, AuthorityUnreachable)
    assert (failure.status, failure.retry_after_s) == (503, 5)


async def test_an_exempt_request_passes_without_an_identity() -> None:
    """A connectivity probe carries no credentials, and nobody is asked about it."""
    inward = Inward()
    layer = AuthMiddleware(
        inward, authenticator=Unreachable(), exempt=lambda scope: scope["path"] == "/probe"
    )
    await call(layer, http_scope("HEAD", "/probe"))
    assert (Exchange.of(inward.scope).caller, Exchange.of(inward.scope).token) == (None, None)


@pytest.mark.parametrize("headers", [[], [(GOVERNANCE, "delegated")]])
async def test_a_delegated_caller_is_known_by_its_key_id(headers: list[tuple[str, str]]) -> None:
    """A caller in this process names a key; its secret isn't needed, and there is no token to remove."""
    inward = Inward()
    scope = http_scope("POST", "/x", headers=[*headers, ("Authorization", "Bearer users-own")])
    scope[DELEGATION_KEY] = Delegation("key-1", "chat")
    await call(AuthMiddleware(inward, authenticator=OneCaller()), scope)
    exchange = Exchange.of(inward.scope)
    assert (exchange.caller, exchange.token) == (CALLER, None)


async def test_a_delegation_for_a_dead_key_is_refused() -> None:
    """The key must exist and be alive."""
    scope = {**http_scope(), DELEGATION_KEY: Delegation("key-gone", "chat")}
    async with drive(AuthMiddleware(Inward(), authenticator=OneCaller()), scope) as client:
        assert isinstance(await client.failed(), Unauthorized)


async def test_a_delegated_caller_with_another_token_is_refused() -> None:
    """Two identities on one request are one too many."""
    scope = http_scope(headers=[(GOVERNANCE, TOKEN)])
    scope[DELEGATION_KEY] = Delegation("key-1", "chat")
    async with drive(AuthMiddleware(Inward(), authenticator=OneCaller()), scope) as client:
        assert isinstance(await client.failed(), Unauthorized)


async def test_only_an_object_of_ours_delegates() -> None:
    """A scope key with anything else in it counts for nothing."""
    scope = {**http_scope(), DELEGATION_KEY: {"api_key_id": "key-1"}}
    async with drive(AuthMiddleware(Inward(), authenticator=OneCaller()), scope) as client:
        assert isinstance(await client.failed(), NoToken)
