"""`ai-gateway demo`: a gateway that can be tried at once.

It runs on the configured database (SQLite by default), makes a user and a key that lasts a day, and prints lines to
paste for curl, Claude Code, Codex and a chat in the terminal. Providers are the configured ones; else those whose
vendor variables (`OPENAI_API_KEY`, `ANTHROPIC_API_KEY`) are set; else the provider in the box, on a port of its own.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from gateway import server
from gateway.accounts import Accounts, UnknownUser
from gateway.app import create_app
from gateway.demo_provider import MODEL, create_demo_provider
from gateway.settings import GatewayOptions, Settings, vendor_providers
from providers.options import ProviderOptions
from providers.registry import PREFIXES
from recorders.stores.urls import database_for

USER: Final = "demo"
KEY_LIFETIME: Final = timedelta(days=1)
VENDOR_MODELS: Final = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}

_END: Final = ["", "Ctrl-C ends it. What was asked is in the database.", ""]

log = logging.getLogger("ai_gateway.demo")


async def run(settings: Settings) -> None:
    """Serve until a signal comes. Raises `ListenError`, `SettingsError`, `StoreError`."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(server.listen(settings.host, settings.port))
        boxed = ""
        providers = settings.gateway.providers or vendor_providers()
        if not providers:
            boxed = await stack.enter_async_context(_ProviderInTheBox())
            providers = _boxed_providers(boxed)
        gateway = msgspec.structs.replace(settings.gateway, providers=tuple(providers))
        settings = msgspec.structs.replace(settings, gateway=gateway)
        token = await _make_key(settings)
        host, port = listener.getsockname()[:2]
        guide = _guide(f"http://{host}:{port}", token, tuple(providers), boxed=bool(boxed))
        print("\n".join([*guide, *_chat_lines(settings.gateway, boxed), *_END]), flush=True)  # noqa: T201
        await server.serve(create_app(settings), settings, listener)


class _ProviderInTheBox:
    """Serves the provider on a free loopback port while it is entered; gives its URL."""

    async def __aenter__(self) -> str:
        self._stop = asyncio.Event()
        self._listener = server.listen("127.0.0.1", 0)
        port = self._listener.getsockname()[1]
        serving = server.serve_until(create_demo_provider(), self._listener, self._stop, grace_s=1.0)
        self._task = asyncio.create_task(serving, name="demo provider")
        return f"http://127.0.0.1:{port}"

    async def __aexit__(self, *exc_info: object) -> None:
        self._stop.set()
        await self._task
        self._listener.close()


def _boxed_providers(url: str) -> tuple[ProviderOptions, ...]:
    return (
        ProviderOptions(type="openai", name="openai", base_url=f"{url}/openai"),
        ProviderOptions(type="anthropic", name="anthropic", base_url=f"{url}/anthropic"),
    )


async def _make_key(settings: Settings) -> str:
    database = database_for(settings.gateway.database_url.reveal_secret_value())
    await database.open()
    try:
        accounts = Accounts(database)
        try:
            await accounts.get_user(USER)
        except UnknownUser:
            await accounts.create_user(USER, "admin")
        return (await accounts.create_key(USER, KEY_LIFETIME)).token.reveal_secret_value()
    finally:
        await database.close()


def _guide(base: str, token: str, providers: tuple[ProviderOptions, ...], *, boxed: bool) -> list[str]:
    by_type = {provider.type: provider for provider in reversed(providers)}
    lines = [
        "",
        "The gateway is yours to try: a user, a key for a day, "
        + ("and a provider in the box." if boxed else "and your own providers."),
        "",
        f"  export GATEWAY_TOKEN={token}",
    ]
    if "openai" in by_type:
        lines += _openai_lines(
            f"{base}{PREFIXES[0]}/{by_type['openai'].name}/v1", _model("openai", boxed=boxed)
        )
    if "anthropic" in by_type:
        url = f"{base}{PREFIXES[0]}/{by_type['anthropic'].name}"
        lines += _anthropic_lines(url, _model("anthropic", boxed=boxed))
    return lines


def _model(kind: str, *, boxed: bool) -> str:
    return MODEL if boxed else VENDOR_MODELS[kind]


def _openai_lines(url: str, model: str) -> list[str]:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return [
        "",
        "  # curl",
        f'  curl {url}/chat/completions -H "Authorization: Bearer $GATEWAY_TOKEN" \\',
        f"    -H 'Content-Type: application/json' -d '{body}'",
        "",
        "  # Codex",
        f"  codex exec --skip-git-repo-check -m {model} -c model_provider=gateway \\",
        f'    -c \'model_providers.gateway={{name="gateway", base_url="{url}", '
        'env_key="GATEWAY_TOKEN", wire_api="responses"}\' "Hello"',
    ]


def _anthropic_lines(url: str, model: str) -> list[str]:
    return [
        "",
        "  # Claude Code",
        f"  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=$GATEWAY_TOKEN \\",
        f'    ANTHROPIC_MODEL={model} CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 claude -p "Hello"',
    ]


def _chat_lines(options: GatewayOptions, boxed: str) -> list[str]:
    """`ai-gateway chat` makes a gateway of its own from the settings, which don't know the provider in the box."""
    command = f"{shlex.quote(_program())} chat --model"
    if boxed:
        url = f"AI_GATEWAY_PROVIDER_0_TYPE=openai AI_GATEWAY_PROVIDER_0_BASE_URL={boxed}/openai"
        lines = [f"  {url} \\", f"    {command} openai/{MODEL}"]
    elif options.chat_model:
        lines = [f"  {command} {options.chat_model}"]
    else:
        return []
    return ["", "  # a chat in the terminal, from this folder", *lines]


def _program() -> str:
    """As this process was called, so that it is found in the same way."""
    program = sys.argv[0]
    return program if Path(program).stem == "ai-gateway" else "ai-gateway"
