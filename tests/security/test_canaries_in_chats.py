"""Turns of chats with a secret wherever they hold one, and a provider that quotes what it was sent in its refusal.

Through the gateway and direct, with the user's own key and the organisation's. What is searched is everything that a
turn leaves: events, answers of the routes, messages, the database's files, the journal, dumps, and each log line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest
from cryptography.fernet import Fernet

from gateway.accounts import Accounts
from gateway.app import Gateway, create_app
from gateway.asgi_transport import AsgiTransport
from gateway.chat.api.answers import chat_answer, view_answer
from gateway.chat.api.stream import framed
from gateway.chat.deployment import chat_service_of
from gateway.chat.events import ChatEvent, MessageAdded, StatusChanged
from gateway.chat.service import ChatService
from gateway.chat.tools import Tool
from gateway.settings import GatewayOptions, Settings
from middleware.exchange import Identity
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers.turn import ToolUse, Turn
from tests.gateway.chat.deployment import worded
from tests.gateway.rig import AppTransport
from tests.security.canaries import Canaries
from tests.security.observation import KEY_ID, Observation, every_log_line
from tests.upstream import Received, Reply, Upstream

KINDS = ("openai", "anthropic")
TURNS = ("refuse me", "refuse me at length", "break off", "use your tool", "hello")
CASES = list(itertools.product((False, True), (False, True), KINDS))
NAMES = [f"{'direct' if d else 'gateway'}-{'own key' if own else 'central'}-{kind}" for d, own, kind in CASES]


async def _fails(turn: Any, arguments: dict[str, Any]) -> str:
    raise RuntimeError(f"the tool broke for {turn!r}")


BROKEN_TOOL = Tool("look", "Look.", {"type": "object", "properties": {}}, _fails)


def _credential(request: Received) -> str:
    sent = {name.lower(): value for name, value in request.headers}
    value = sent.get(b"x-api-key") or sent.get(b"authorization", b"none")
    return value.decode().removeprefix("Bearer ")


def _answer(request: Received) -> Reply:
    """What the last message asks for."""
    secret, asked = _credential(request), str(request.json["messages"][-1]["content"])
    error = {
        "type": "authentication_error",
        "code": "bad",
        "message": f"Incorrect API key provided: {secret}.",
    }
    if "at length" in asked:  # so that it is cut in the middle of the key
        error["message"] = f"{'x' * 475}: {secret}"
    if "refuse" in asked:
        headers = [(b"content-type", b"application/json"), (b"x-echo", f"Bearer {secret}".encode())]
        body = json.dumps({"type": "error", "error": error}).encode()
        return Reply(401, headers, [body])
    if "break off" in asked:
        event = json.dumps({"type": "error", "error": error}).encode()
        return Reply(
            200, [(b"content-type", b"text/event-stream")], [b"event: error\ndata: " + event + b"\n\n"]
        )
    if "use your tool" in asked and b"the tool failed" not in request.body:
        return worded(request, Turn(tool=ToolUse("look", "{}", call_id="call_1")))
    return worded(request, Turn(text="Hello"))


@pytest.mark.parametrize(("direct", "own", "kind"), CASES, ids=NAMES)
async def test_a_turn_leaves_no_secret_anywhere(tmp_path: Path, direct: bool, own: bool, kind: str) -> None:
    """Neither the user's key nor the organisation's, nor the gateway token, nor the key that encrypts."""
    canaries, seen = Canaries(random.Random(7)), Observation()
    sealing = Fernet.generate_key().decode()
    settings = _settings(tmp_path, kind, canaries, sealing=sealing, direct=direct)
    upstream = Upstream(_answer)
    async with every_log_line(seen):
        app = create_app(settings, transport=AppTransport(upstream))
        straight = cast("httpx2.AsyncBaseTransport", AsgiTransport(upstream))
        service = chat_service_of(app, tools=[BROKEN_TOOL], direct=straight)
        async with app.lifespan(), service.running():
            caller = await _caller(app, canaries.make("token"))
            assert app.provider_keys is not None
            if own:
                await app.provider_keys.set(caller.user_id, "instance", Secret(canaries.make("own")))
            said = "".join([await _turn(service, caller, text, seen) for text in TURNS])
            _search_files(tmp_path, seen, sealing)
            assert app.drain is not None
            await app.drain.flush(10.0)
        seen.search("objects", f"{app!r} {service!r} {vars(service)!r} {app.options!r}")
    _search_files(tmp_path, seen, sealing)
    assert seen.leaks == set()
    assert sealing not in said
    assert said.count("<redacted>") >= 3
    sent = {_credential(one) for one in upstream.requests}
    assert len(sent) == 1
    assert ("own" if own else "central") in sent.pop()
    assert seen.log_lines > 10


def _settings(folder: Path, kind: str, canaries: Canaries, *, sealing: str, direct: bool) -> Settings:
    provider = ProviderOptions(
        type=kind,  # type: ignore[arg-type]
        name="instance",
        base_url="https://models.example/v1",
        keys=(Secret(canaries.make("central")),),
    )
    options = GatewayOptions(
        database_url=Secret(f"sqlite:///{folder}/gateway.db"),
        journal_dir=f"{folder}/journal",
        dump_dir=f"{folder}/dumps",
        structured_logging=True,
        max_retries=0,
        chat_routing_enabled=not direct,
        chat_model="instance/scripted-model",
        user_key_encryption_keys=(Secret(sealing),),
        providers=(provider,),
    )
    return Settings(gateway=options)


async def _caller(app: Gateway, secret: str) -> Identity:
    assert app.database is not None
    user = await Accounts(app.database).create_user("ada")
    await app.database.execute(
        "INSERT INTO api_keys (id, user_id, hashed_secret, created_at) VALUES (?, ?, ?, ?)",
        *(KEY_ID, user.id, hashlib.sha256(secret.encode()).hexdigest(), "2026-01-01T00:00:00.000000Z"),
    )
    return await app.authenticator.authenticate(Secret(f"{KEY_ID}-{secret}"))


async def _turn(service: ChatService, caller: Identity, text: str, seen: Observation) -> str:
    """All that a client reads of it, which is searched."""
    chat = await service.create(caller)
    heard: list[ChatEvent] = []
    async with aclosing(service.events(caller, chat.id)) as events:
        await anext(events)
        sent = await service.send(caller, chat.id, text)
        assert sent.message is not None
        begun = False
        async for event in events:
            heard.append(event)
            begun = begun or (isinstance(event, MessageAdded) and event.id == sent.message.id)
            if begun and isinstance(event, StatusChanged) and event.status != "running":
                break
    stream = b"".join(framed(event) for event in heard).decode()
    view = await service.view(caller, chat.id)
    answers = msgspec.json.encode(view_answer(view)) + msgspec.json.encode(
        [chat_answer(one) for one in await service.chats(caller)]
    )
    seen.search("events", stream)
    seen.search("answers", answers)
    seen.search("objects", f"{heard!r} {view!r}")
    return stream


def _search_files(folder: Path, seen: Observation, sealing: str) -> None:
    """Bodies of dumps are what dumps are for: there the provider's quotation stands as it came."""
    for path in (*folder.glob("gateway.db*"), *folder.glob("journal/**/*")):
        if path.is_file():
            data = path.read_bytes()
            seen.search(path.name.partition("-")[0], data)
            assert sealing.encode() not in data
    for path in folder.glob("dumps/*/*/*"):
        seen.search("dump", str(path).encode() + path.read_bytes().partition(b"\r\n\r\n")[0])
