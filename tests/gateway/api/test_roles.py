"""Who may do what: every route, each kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.api.operations import DOCUMENT, OPERATIONS, SEGMENTS
from gateway.instances import RESERVED_NAMES
from providers.secret import Secret
from tests.gateway.api.house import BAD_TOKEN, PREFIX, House, house_at

ROUTES = [("GET", DOCUMENT, "member", 200)] + [
    (operation.method, operation.path, operation.role, operation.status) for operation in OPERATIONS
]
BODIES = {
    "/users": b'{"name": "new", "role": "auditor"}',
    "/keys": b'{"user": "mia", "lifetime": "1d"}',
    "/provider-keys/{provider}": b'{"key": "sk-fake-new-key-of-the-users-own"}',
}


@pytest.fixture
async def lived_in(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(f"sqlite:///{tmp_path}/gateway.db", tmp_path) as house:
        for name in ("audrey", "adam", "mia"):
            await house.record([house.started(f"of-{name}", by=name, client_session_id=f"session-{name}")])
            assert house.app.provider_keys is not None
            await house.app.provider_keys.set(house.people[name].id, "openai", Secret("sk-fake-old-key"))
        yield house


def target(house: House, path: str, name: str) -> str:
    """The route, with something in its place that is there for this caller."""
    filled = path.replace("{session_id:path}", f"session-{name}").replace("{name}", "max")
    return filled.replace("{provider}", "openai").replace("{key_id}", house.people["max"].key_id)


@pytest.mark.parametrize(("method", "path", "role", "status"), ROUTES)
async def test_the_role_matrix(lived_in: House, method: str, path: str, role: str, status: int) -> None:
    """No token, a bad one, a member, an auditor and an admin, in this order, at each route."""
    body = BODIES.get(path, b"") if method in ("POST", "PUT") else b""
    forbidden = (403, f"this needs the role {role}")
    allowed = (status, None)
    expected = {
        "nobody": (400, "no authentication key provided"),
        "a stranger": (403, "unauthorized"),
        "mia": allowed if role == "member" else forbidden,
        "audrey": allowed if role == "member" else forbidden,
        "adam": allowed,
    }
    found = {}
    for name in expected:
        token = {"nobody": None, "a stranger": BAD_TOKEN}.get(name) or getattr(
            lived_in.people.get(name), "token", None
        )
        answer = await lived_in.ask(target(lived_in, path, name), token=token, method=method, body=body)
        document = msgspec.json.decode(answer.body)
        found[name] = (answer.status, document.get("message"))
        if answer.status >= 400:
            assert list(document) == ["message"]

    assert found == expected


@pytest.mark.parametrize(
    ("method", "path", "role", "status"), [route for route in ROUTES if route[2] == "admin"]
)
async def test_who_may_not_changes_nothing(
    lived_in: House, method: str, path: str, role: str, status: int
) -> None:
    """Refused before anything is looked at, the body too."""
    before = await lived_in.accounts.list_users(), await lived_in.accounts.list_keys()

    for name in ("mia", "audrey"):
        answer = await lived_in.ask(
            target(lived_in, path, name), token=lived_in.people[name].token, method=method, body=b"{nonsense"
        )
        assert answer.status == 403

    assert (await lived_in.accounts.list_users(), await lived_in.accounts.list_keys()) == before


@pytest.mark.parametrize("path", sorted({path for _, path, _, _ in ROUTES}))
async def test_other_methods_are_not_allowed(lived_in: House, path: str) -> None:
    """405 with the methods that are, in the shape of every error."""
    known = {method for method, other, _, _ in ROUTES if other == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} - known:
        answer = await lived_in.ask(
            target(lived_in, path, "adam"), token=lived_in.people["adam"].token, method=method
        )
        assert answer.status == 405
        assert set((answer.header("allow") or b"").decode().split(", ")) == known
        assert msgspec.json.decode(answer.body)["message"].startswith(
            f"route not supported: {method} {PREFIX}/"
        )


def test_no_provider_can_be_named_like_a_route() -> None:
    """Else its requests would come here."""
    assert {segment for segment in SEGMENTS if "." not in segment} <= RESERVED_NAMES


async def test_a_key_that_is_revoked_or_whose_user_is_suspended_is_a_stranger(lived_in: House) -> None:
    """As on the data plane."""
    await lived_in.accounts.suspend_user("mia")
    await lived_in.accounts.revoke_key(lived_in.people["max"].key_id)

    for name in ("mia", "max"):
        assert await lived_in.refused("/sessions", name, status=403) == "unauthorized"


async def test_an_answer_is_not_for_caches_and_carries_the_request_id(lived_in: House) -> None:
    """Prompts are in it; the access log has the same ID."""
    answer = await lived_in.ask("/sessions", token=lived_in.people["mia"].token)

    assert answer.header("cache-control") == b"no-store"
    assert answer.header("content-type") == b"application/json"
    assert answer.header("x-ai-gateway-request-id")
