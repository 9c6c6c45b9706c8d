"""A whole deployment with chats: the real gateway, a database, the vendors' SDKs, and one provider that plays all.

    async with deployed(tmp_path, upstream, kind="anthropic") as house:
        chat = await house.service.create(house.ada, text="What is here?")

Nothing uses a socket, also not where calls go straight to the provider: their transport ends at the scripted one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import httpx2
import msgspec
from cryptography.fernet import Fernet

from gateway.accounts import Accounts
from gateway.app import Gateway, create_app
from gateway.asgi_transport import AsgiTransport
from gateway.chat.deployment import chat_service_of
from gateway.chat.service import ChatService
from gateway.chat.store import Chat, ChatStore
from gateway.chat.tools import Tool
from gateway.settings import GatewayOptions, Settings
from middleware.exchange import Identity
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.database import Database, Row
from tests.answers import anthropic, bedrock, chat, responses
from tests.answers.turn import ToolUse, Turn
from tests.gateway.rig import AppTransport
from tests.middleware.bedrock import ACCESS_KEY, REGION, SECRETS
from tests.upstream import Received, Reply, Upstream
from tests.waiting import PATIENCE_S

Kind: TypeAlias = Literal["openai", "anthropic", "bedrock", "compatible"]
KINDS: tuple[Kind, ...] = ("openai", "anthropic", "bedrock", "compatible")

CENTRAL_KEY = "sk-fake-central-key-of-the-organisation"
USER_KEY = "sk-fake-key-that-ada-brought-herself"
AWS_SECRET = SECRETS[ACCESS_KEY]
BEDROCK_MODEL = "anthropic.scripted-v1:0"

PROVIDERS: dict[Kind, ProviderOptions] = {
    "openai": ProviderOptions(type="openai", name="openai", keys=(Secret(CENTRAL_KEY),)),
    "anthropic": ProviderOptions(type="anthropic", name="anthropic", keys=(Secret(CENTRAL_KEY),)),
    "bedrock": ProviderOptions(
        type="anthropic",
        name="bedrock",
        bedrock_region=REGION,
        bedrock_access_keys=(Secret(ACCESS_KEY),),
        bedrock_access_key_secrets=(Secret(AWS_SECRET),),
        bedrock_model=BEDROCK_MODEL,
        bedrock_small_fast_model=BEDROCK_MODEL,
    ),
    "compatible": ProviderOptions(
        type="openai",
        name="compatible",
        base_url="https://models.example/llm/v1",
        keys=(Secret(CENTRAL_KEY),),
    ),
}

LOOK_CALL = ToolUse("look", '{"at": "the mat"}', call_id="call_look_1")


async def _look(turn: Any, arguments: dict[str, Any]) -> str:
    return "a cat"


LOOK = Tool("look", "Look at something.", {"type": "object", "properties": {"at": {"type": "string"}}}, _look)


def plays(*turns: Turn) -> Upstream:
    """Answers each request in the format that it asks in, with the next turn; who asks for a title gets a title."""
    script = list(turns)

    def answer(request: Received) -> Reply:
        turn = Turn(text="A title") if asks_for_title(request) else script.pop(0)
        return worded(request, turn)

    return Upstream(answer)


def asks_for_title(request: Received) -> bool:
    return b"You name conversations" in request.body


def worded(request: Received, turn: Turn) -> Reply:
    if request.raw_path.endswith(b"/invoke-with-response-stream"):
        return bedrock.reply(turn, streamed=True)
    for path, words in (("/messages", anthropic), ("/responses", responses), ("/chat/completions", chat)):
        if request.path.endswith(path):
            reply: Reply = words.reply(turn, streamed=bool(request.json.get("stream")))
            return reply
    return Reply(404, chunks=[b"{}"])


@dataclass(slots=True)
class House:
    """`key_id` is the one Ada's messages come with."""

    app: Gateway
    upstream: Upstream
    service: ChatService
    store: ChatStore
    accounts: Accounts
    ada: Identity
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        assert self.app.database is not None
        return self.app.database

    @property
    def calls(self) -> list[Received]:
        """What the provider was asked, but for titles."""
        return [one for one in self.upstream.requests if not asks_for_title(one)]

    async def ended(self, chat_id: str) -> Chat:
        with self.service.feed(chat_id) as feed:
            while (found := await self.store.chat(chat_id)).status == "running":
                await feed.changed(PATIENCE_S)
                feed.take()
        return found

    async def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Of the database, with everything that was recorded until now."""
        assert await self.app.drain.flush(PATIENCE_S)
        return await self.database.fetch(sql, *parameters)

    async def new_key(self, name: str = "ada") -> Identity:
        """Another key of the same person."""
        new = await self.accounts.create_key(name)
        self.tokens[new.key.id] = new.token.reveal_secret_value()
        return Identity(new.key.user_id, name, new.key.id)


@asynccontextmanager
async def deployed(
    folder: Path,
    upstream: Upstream,
    *,
    kind: Kind = "anthropic",
    direct: bool = False,
    byok: bool = True,
    user_key: bool = False,
    tools: Sequence[Tool] = (LOOK,),
    database_url: str = "",
    **changes: Any,
) -> AsyncIterator[House]:
    """With one provider of `kind` and, at first, no other; `changes` are options of the gateway."""
    options = GatewayOptions(
        database_url=Secret(database_url or f"sqlite:///{folder}/house.db"),
        journal_dir="",
        max_retries=0,
        allow_byok=byok,
        chat_routing_enabled=not direct,
        chat_model=f"{PROVIDERS[kind].name}/scripted-model",
        user_key_encryption_keys=(Secret(Fernet.generate_key().decode()),),
        providers=(PROVIDERS[kind],),
    )
    settings = Settings(gateway=msgspec.structs.replace(options, **changes))
    app = create_app(settings, transport=AppTransport(upstream))
    straight = cast("httpx2.AsyncBaseTransport", AsgiTransport(upstream))
    async with app.lifespan():
        assert app.database is not None
        assert app.provider_keys is not None
        accounts = Accounts(app.database)
        user = await accounts.create_user("ada")
        house = House(
            app,
            upstream,
            chat_service_of(app, tools=tools, direct=straight),
            ChatStore(app.database),
            accounts,
            Identity(user.id, "ada", ""),
        )
        house.ada = await house.new_key()
        if user_key:
            await app.provider_keys.set(user.id, PROVIDERS[kind].name, Secret(USER_KEY))
        async with house.service.running():
            yield house


def everything(request: Received) -> bytes:
    """All that the provider could read of a request."""
    headers = b"\n".join(name + b": " + value for name, value in request.headers)
    return b"\n".join((request.raw_path, request.query, headers, request.body))


def json_of(request: Received) -> Any:
    return json.loads(request.body)
