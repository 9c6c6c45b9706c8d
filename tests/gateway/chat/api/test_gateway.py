"""The chat service's routes as a part of the gateway: where they are, when, and at a shutdown."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.app import Gateway, create_app
from gateway.chat.paths import is_chat
from gateway.settings import GatewayOptions, Settings
from middleware.auth import Authenticator
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers import chat as chat_answers
from tests.answers.turn import Turn
from tests.asgi import Drive, call, drive, http_scope
from tests.gateway.chat.api.client import Names
from tests.gateway.chat.stage import ADA
from tests.gateway.rig import AppTransport
from tests.upstream import Received, Reply, Upstream

AS_ADA = [("authorization", "Bearer ada")]


@asynccontextmanager
async def _gateway(
    folder: Path, *, authenticator: Authenticator | None = None, **changes: Any
) -> AsyncIterator[tuple[Gateway, Upstream]]:
    def answered(request: Received) -> Reply:
        return chat_answers.reply(Turn(text="Hello"), streamed=request.json.get("stream", False))

    provider = ProviderOptions(
        type="openai", name="local", base_url="http://provider.test/v1", keys=(Secret("sk-fake-central"),)
    )
    options = GatewayOptions(
        database_url=Secret(f"sqlite:///{folder}/gateway.db"),
        journal_dir=f"{folder}/journal",
        max_retries=0,
        providers=(provider,),
        **{"chat_enabled": True, "chat_model": "local/scripted", **changes},
    )
    upstream = Upstream(answered)
    app = create_app(
        Settings(gateway=options), authenticator=authenticator or Names(), transport=AppTransport(upstream)
    )
    async with app.lifespan():
        yield app, upstream


async def _ask(app: Gateway, method: str, target: str, body: bytes = b"") -> Drive:
    return await call(app, http_scope(method, target, headers=AS_ADA), body)


@pytest.mark.parametrize("prefix", ["", "/api/v2/ai-gateway", "/api/v2/aibridge"])
async def test_chats_are_under_every_prefix(prefix: str, tmp_path: Path) -> None:
    """As the rest of the gateway is."""
    async with _gateway(tmp_path) as (app, _):
        answer = await _ask(app, "POST", f"{prefix}/chats", b"{}")

        assert answer.status == 201
        assert answer.header("x-ai-gateway-request-id")


async def test_where_chats_are_off_their_path_is_unknown(tmp_path: Path) -> None:
    """Also to who would be allowed to chat."""
    async with _gateway(tmp_path, chat_enabled=False) as (app, _):
        answer = await _ask(app, "GET", "/chats")

        assert answer.status == 404
        assert b"route not supported: GET /chats" in answer.body


async def test_chats_stay_when_the_gateway_is_disabled(tmp_path: Path) -> None:
    """Their calls go straight to providers then."""
    async with _gateway(tmp_path, enabled=False) as (app, _):
        assert (await _ask(app, "GET", "/chats")).status == 200
        assert (await _ask(app, "GET", "/sessions")).status == 404


async def test_a_hosts_keys_are_those_that_turns_answer_for(tmp_path: Path) -> None:
    """Its authenticator knows them, and the gateway's database doesn't."""
    async with _gateway(tmp_path) as (app, upstream):
        begun = await _ask(app, "POST", "/chats", b'{"message": "Hi"}')
        chat_id = msgspec.json.decode(begun.body)["id"]

        await upstream.request(0)
        assert app.chat is not None
        assert await app.chat._means.store.active_key(chat_id) == ADA.api_key_id


async def test_a_stream_doesnt_hold_up_the_shutdown(tmp_path: Path) -> None:
    """It ends as soon as the gateway takes nothing new, which is long before its lifespan ends."""
    async with _gateway(tmp_path) as (app, _):
        chat_id = msgspec.json.decode((await _ask(app, "POST", "/chats", b"{}")).body)["id"]
        scope = http_scope("GET", f"/chats/{chat_id}/stream", headers=AS_ADA)
        assert is_chat(scope)
        async with drive(app, scope) as listener:
            await listener.message(1)
            app.refuse_new_requests()
            await listener.completed()

            assert listener.complete
        assert (await _ask(app, "GET", "/chats")).status == 503


async def test_a_gateway_that_runs_again_takes_messages_again(tmp_path: Path) -> None:
    """A host may enter the lifespan more than once; chats of before are still there."""
    async with _gateway(tmp_path) as (app, _):
        assert (await _ask(app, "POST", "/chats", b"{}")).status == 201
        app.refuse_new_requests()
    async with app.lifespan():
        chats = msgspec.json.decode((await _ask(app, "GET", "/chats")).body)["chats"]
        sent = await _ask(app, "POST", f"/chats/{chats[0]['id']}/messages", b'{"message": "Hi"}')

        assert sent.status == 202


async def test_no_debug_line_of_a_direct_call_holds_the_headers_of_its_answer(tmp_path: Path) -> None:
    """Providers have been seen to echo a credential there, below where it is taken out."""
    async with _gateway(tmp_path):
        assert not logging.getLogger("httpcore2.http11").isEnabledFor(logging.DEBUG)
