"""The API as a part of the gateway: which requests are its, and what happens when the database is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.api.app import is_management
from gateway.app import create_app
from gateway.settings import GatewayOptions, Settings
from providers.secret import Secret
from recorders.stores.base import StoreError
from tests.asgi import call, drive, http_scope
from tests.gateway.api.house import House
from tests.gateway.rig import TOKEN, gateway_settings, in_process
from tests.upstream import Upstream


@pytest.mark.parametrize(
    ("path", "root_path", "ours"),
    [
        ("/sessions", "", True),
        ("/api/v2/ai-gateway/sessions/x", "", True),
        ("/api/v2/aibridge/openapi.json", "", True),
        ("/host/keys", "/host", True),
        ("/host/keys", "", False),
        ("/openai/v1/models", "", False),
        ("/sessionsx", "", False),
        ("//sessions", "", False),
        ("/", "", False),
        ("", "", False),
        ("sessions", "", False),
        ("*", "", False),
    ],
)
def test_the_first_segment_decides(path: str, root_path: str, ours: bool) -> None:
    """By a look-up, because every request of the data plane pays for it."""
    assert is_management({"path": path, "root_path": root_path}) is ours


async def test_a_database_that_is_away_is_503(small_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time to come back, and not a word of where it is."""
    database = small_house.app.database
    assert database is not None
    fetch = type(database).fetch

    async def failing(self: Any, sql: str, *parameters: Any) -> Any:
        if "aibridge_" in sql or "ORDER BY lower(name)" in sql:
            raise StoreError("db.internal: connection refused")
        return await fetch(self, sql, *parameters)

    monkeypatch.setattr(type(database), "fetch", failing)

    for target in ("/sessions", "/sessions/s", "/interceptions", "/models", "/users"):
        answer = await small_house.ask(target, token=small_house.people["adam"].token)
        assert answer.status == 503
        assert answer.header("retry-after") == b"5"
        assert msgspec.json.decode(answer.body) == {"message": "could not reach the database"}


async def test_a_gateway_that_is_stopping_answers_no_question(small_house: House) -> None:
    """As it takes no other request."""
    small_house.app.refuse_new_requests()

    assert await small_house.refused("/sessions", status=503) == "AI Gateway is shutting down"


async def test_a_gateway_that_is_switched_off_has_no_api(tmp_path: Path) -> None:
    """`enabled: false` is for all of it."""
    options = GatewayOptions(
        enabled=False, database_url=Secret(f"sqlite:///{tmp_path}/x.db"), journal_dir=f"{tmp_path}/journal"
    )
    app = create_app(Settings(gateway=options))
    async with app.lifespan():
        assert (await call(app, http_scope("GET", "/sessions"))).status == 404


async def test_without_a_database_of_ours_there_is_no_api() -> None:
    """A host that brings its own store keeps its own records."""
    async with in_process(Upstream()) as rig:
        scope = http_scope("GET", "/sessions", headers=[("authorization", f"Bearer {TOKEN}")])
        answer = await call(rig.app, scope)

    assert answer.status == 404
    assert b"route not supported: GET /sessions" in answer.body


async def test_without_a_layer_that_knows_the_caller_there_is_no_api(tmp_path: Path) -> None:
    """Rather none than one that is open to everybody."""
    settings = gateway_settings(
        database_url=Secret(f"sqlite:///{tmp_path}/x.db"), journal_dir=f"{tmp_path}/journal"
    )
    app = create_app(settings, layers=())
    assert app.database is not None
    assert app._management is None


async def test_a_client_that_leaves_in_the_middle_of_a_body_ends_the_request(small_house: House) -> None:
    """Nothing is created of half a request."""
    token = small_house.people["adam"].token
    scope = http_scope("POST", "/users", headers=[("authorization", f"Bearer {token}")])
    async with drive(small_house.app, scope, body=None) as client:
        client.feed(b'{"name": "half"')
        client.disconnect()
        await client.completed()

    assert client.messages == []
    assert "half" not in [user.name for user in await small_house.accounts.list_users()]
