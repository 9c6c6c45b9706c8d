"""The governance layer: whose credential goes upstream, and no trace of the gateway token."""

from __future__ import annotations

import base64

import pytest
from starlette.types import Scope

from middleware.errors import ByokDisabled
from middleware.exchange import Exchange
from middleware.governance import GovernanceMiddleware
from providers.secret import Secret
from recorders.records import CredentialKind
from tests.asgi import RawHeaders, call, drive, http_scope
from tests.middleware.exchanges import TOKEN, USER_KEY, Inward

GOVERNANCE = ("X-Coder-AI-Governance-Token", TOKEN)
SLOTS = [
    "Authorization",
    "X-Api-Key",
    "Api-Key",
    "X-Goog-Api-Key",
    "X-Auth-Token",
    "Proxy-Authorization",
    "Cookie",
]


def request(headers: list[tuple[str, str]], *, query: str = "", token: str | None = TOKEN) -> Scope:
    scope = http_scope("POST", f"/x?{query}" if query else "/x", headers=headers)
    Exchange.of(scope).token = Secret(token) if token else None
    return scope


async def through(scope: Scope) -> tuple[RawHeaders, CredentialKind | None]:
    """The headers that reach the inside, and the decision."""
    inward = Inward()
    await call(GovernanceMiddleware(inward), scope)
    return inward.request_headers, Exchange.of(inward.scope).credential_kind


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("value", [TOKEN, f"Bearer {TOKEN}", "another-credential"])
async def test_centralized_empties_every_slot(slot: str, value: str) -> None:
    """Without the governance header whatever stands in a credential slot goes, the token or not."""
    headers, kind = await through(request([("a", "1"), (slot, value), (slot, value), ("b", "2")]))
    assert (headers, kind) == ([(b"a", b"1"), (b"b", b"2")], "centralized")


@pytest.mark.parametrize(
    ("slot", "value"), [("Authorization", f"Bearer {USER_KEY}"), ("X-Api-Key", USER_KEY)]
)
async def test_byok_keeps_the_users_own_credential(slot: str, value: str) -> None:
    """The governance header is removed; the user's slots stay, and only those."""
    others = [(name, "another-credential") for name in SLOTS[2:]]
    headers, kind = await through(request([GOVERNANCE, ("a", "1"), *others, (slot, value)]))
    assert kind == "byok"
    assert headers == [(b"a", b"1"), (slot.lower().encode(), value.encode())]


async def test_byok_keeps_both_credentials_of_the_user() -> None:
    """Which of them wins is the provider's matter."""
    own = [("authorization", f"Bearer {USER_KEY}"), ("x-api-key", USER_KEY)]
    headers, kind = await through(request([GOVERNANCE, *own]))
    assert (len(headers), kind) == (2, "byok")


@pytest.mark.parametrize("value", ["", "   "])
async def test_an_empty_governance_header_is_none(value: str) -> None:
    """Presence means a value."""
    headers, kind = await through(request([(GOVERNANCE[0], value), ("Authorization", f"Bearer {TOKEN}")]))
    assert (headers, kind) == ([], "centralized")


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [("Authorization", "")],
        [("X-Api-Key", " ")],
        [("Authorization", f"Bearer {TOKEN}")],
        [("X-Api-Key", TOKEN)],
        [("Authorization", "Bearer")],
        [("Authorization", "Basic dTpw")],
    ],
)
async def test_byok_without_a_credential_of_the_user_is_centralized(rest: list[tuple[str, str]]) -> None:
    """The organisation's key is used, and the record says so."""
    _, kind = await through(request([GOVERNANCE, *rest]))
    assert kind == "centralized"


async def test_byok_can_be_turned_off() -> None:
    """The message names the mode; nothing reaches the inside."""
    inward = Inward()
    layer = GovernanceMiddleware(inward, allow_byok=False)
    async with drive(layer, request([GOVERNANCE, ("X-Api-Key", USER_KEY)])) as client:
        assert isinstance(await client.failed(), ByokDisabled)
    assert not inward.scopes
    await call(layer, request([("X-Api-Key", TOKEN)]))
    assert Exchange.of(inward.scope).credential_kind == "centralized"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {TOKEN}"),
        ("authorization", f"bearer  {TOKEN} "),
        ("Authorization", TOKEN),
        ("X-Api-Key", TOKEN),
        ("X-Anything", TOKEN),
        ("X-Anything", f"a={TOKEN}; b"),
        ("Referer", f"https://example.test/?t={TOKEN}"),
        ("Authorization", basic(f"user:{TOKEN}")),
        ("Authorization", basic(f"{TOKEN}:")),
        ("Authorization", basic(f"user:{TOKEN}").rstrip("=")),
        ("X-Anything", basic(f"us:{TOKEN}").replace("Basic", "bAsIc")),
    ],
)
async def test_no_header_carries_the_gateway_token_under_byok(header: tuple[str, str]) -> None:
    """Whatever the slot, the case or the scheme; the user's own credential beside it stays."""
    headers, kind = await through(request([GOVERNANCE, header, ("x-api-key", USER_KEY), header]))
    assert headers == [(b"x-api-key", USER_KEY.encode())]
    assert kind == "byok"


async def test_names_of_any_case_are_slots() -> None:
    """A scope made by hand may not have lower-cased them."""
    scope = request([])
    scope["headers"] = [(b"AUTHORIZATION", b"x"), (b"Cookie", b"y"), (b"Accept", b"z")]
    headers, _ = await through(scope)
    assert headers == [(b"Accept", b"z")]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        (f"key={TOKEN}", b""),
        (f"a=1&key={TOKEN}&b=2", b"a=1&b=2"),
        (f"a=1&{TOKEN}", b"a=1"),
        (f"k={TOKEN[:3]}%{ord(TOKEN[3]):02x}{TOKEN[4:]}", b""),
        ("a=%7e&&b=+&=", b"a=%7e&&b=+&="),
        ("beta=true", b"beta=true"),
    ],
)
async def test_no_query_parameter_carries_the_gateway_token(query: str, kept: bytes) -> None:
    """Encoded or not; every other query stays as it was, to the byte."""
    inward = Inward()
    await call(GovernanceMiddleware(inward), request([GOVERNANCE], query=query))
    assert inward.scope["query_string"] == kept


async def test_a_delegated_request_without_the_marker_is_centralized() -> None:
    """There is no token to look for; the slots are emptied all the same."""
    headers, kind = await through(request([("Authorization", f"Bearer {USER_KEY}")], token=None))
    assert (headers, kind) == ([], "centralized")


async def test_a_delegated_request_with_the_marker_is_byok() -> None:
    """Its provider auth headers survive, the marker is stripped."""
    own = ("authorization", f"Bearer {USER_KEY}")
    headers, kind = await through(request([(GOVERNANCE[0], "delegated"), own], token=None))
    assert (headers, kind) == ([(b"authorization", own[1].encode())], "byok")


async def test_everything_else_passes_in_order() -> None:
    """Duplicates included; a Basic credential that is not ours and not base64 is no trouble."""
    rest = [("b", "1"), ("a", "2"), ("b", "3"), ("x-odd", "Basic *"), ("x-odd", "Basic YWJjZ")]
    headers, _ = await through(request([*rest, ("Authorization", f"Bearer {TOKEN}")]))
    assert headers == [(name.encode(), value.encode()) for name, value in rest]
