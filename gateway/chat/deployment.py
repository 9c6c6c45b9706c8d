"""The chat service of a gateway, as its settings describe it.

A host that has its own users and settings puts the same parts together as it likes; this is the standard way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import httpx2

from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import Ends, Mode, ModelName, ModelRouting, mode_of
from gateway.chat.service import ChatService
from gateway.chat.store import ChatStore
from gateway.chat.tools import Tool
from gateway.settings_error import SettingsError

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.settings import GatewayOptions
    from providers.secret import Secret


def chat_service_of(
    gateway: Gateway,
    *,
    tools: Iterable[Tool] = (),
    direct: httpx2.AsyncBaseTransport | None = None,
    keys_elsewhere: bool = False,
) -> ChatService:
    """Raises `SettingsError` when the gateway has no database to keep chats in.

    Direct calls go over `direct`, which its owner closes. `keys_elsewhere` says that API keys are not in the database,
    whatever the settings say, because the host has an authenticator of its own.
    """
    if gateway.database is None or gateway.provider_rows is None:
        raise SettingsError(
            "chat_enabled needs a database of the gateway's own, and its host keeps the records"
        )
    routing = ModelRouting(
        mode=lambda: _mode(gateway.options),
        providers=gateway.provider_rows,
        ends=Ends(gateway=gateway, direct=direct),
        allow_byok=lambda: gateway.options.allow_byok,
        user_keys=gateway.provider_keys,
        central_keys=lambda provider_name: _central_keys(gateway.options, provider_name),
    )
    return ChatService(
        store=ChatStore(
            gateway.database, keys_elsewhere=keys_elsewhere or gateway.options.auth != "database"
        ),
        routing=routing,
        models=choices_of(gateway.options),
        tools=tools,
    )


def choices_of(options: GatewayOptions) -> ModelChoices:
    def chosen(text: str) -> ModelName | None:
        return ModelName.parse(text) if text else None

    return ModelChoices(
        chat=chosen(options.chat_model),
        advisor=chosen(options.chat_advisor_model),
        title=chosen(options.chat_title_model),
        quick=chosen(options.chat_quick_model),
        subagent=chosen(options.chat_subagent_model),
        computer_use=chosen(options.chat_computer_use_model),
    )


def _mode(options: GatewayOptions) -> Mode:
    return mode_of(gateway_enabled=options.enabled, chat_routing_enabled=options.chat_routing_enabled)


def _central_keys(options: GatewayOptions, provider_name: str) -> Sequence[Secret]:
    return next((one.keys for one in options.providers if one.name == provider_name), ())
