"""THE entry point: every model call, whatever it is for, is routed here, by the mode of the deployment.

Gateway mode is on unless the gateway is disabled or `chat_routing_enabled` is off. Each call reads the provider's row
anew, so a provider that was just disabled takes no more calls, and asks for the user's own key only where BYOK is
allowed: with BYOK off the store of keys isn't even asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from gateway.ai_providers import AiProvider
from gateway.chat.content import ModelError
from gateway.chat.routing.build import Ends, Model, build_model
from gateway.chat.routing.credentials import Delegated, redacted
from gateway.chat.routing.errors import (
    ActiveKeyMissing,
    ProviderDisabled,
    ProviderUnknown,
    ProviderUnnamed,
)
from gateway.chat.routing.requests import ModelOptions, ModelRequest
from gateway.chat.routing.routes import (
    AiProviders,
    CentralKeys,
    DirectRoute,
    GatewayRoute,
    ModelRoute,
    UserKeys,
)
from providers.secret import Secret

Mode: TypeAlias = Literal["gateway", "direct"]


def mode_of(*, gateway_enabled: bool, chat_routing_enabled: bool) -> Mode:
    return "gateway" if gateway_enabled and chat_routing_enabled else "direct"


class ModelRouting:
    """`mode` and `allow_byok` are asked for at each call, because a reload may change them."""

    def __init__(
        self,
        *,
        mode: Callable[[], Mode],
        providers: AiProviders,
        ends: Ends,
        allow_byok: Callable[[], bool] = lambda: True,
        user_keys: UserKeys | None = None,
        central_keys: CentralKeys = lambda provider_name: (),
    ) -> None:
        self._mode = mode
        self._providers = providers
        self._ends = ends
        self._allow_byok = allow_byok
        self._user_keys = user_keys
        self._central_keys = central_keys

    @property
    def mode(self) -> Mode:
        return self._mode()

    @asynccontextmanager
    async def model(self, request: ModelRequest, options: ModelOptions) -> AsyncIterator[Model]:
        """The model, for the block. Raises `RoutingError`, and `StoreError` while rows or keys can't be read.

        A `ModelError` of the block leaves it without the credentials that its provider may have quoted.
        """
        route = await self.route(request, options)
        secrets = self._secrets(route)
        model = build_model(request, route, options, ends=self._ends)
        try:
            yield model
        except ModelError as error:
            text = redacted(str(error), secrets)
            if text == str(error):
                raise
            raise ModelError(text, status=error.status) from None
        finally:
            await model.aclose()

    async def route(self, request: ModelRequest, options: ModelOptions) -> ModelRoute:
        """Where the call goes now. Raises as `model` does."""
        mode = self._mode()
        if mode == "gateway" and not options.active_api_key_id:
            raise ActiveKeyMissing
        provider = await self._provider(request.model.provider)
        user_key = await self._user_key(request.chat.owner_id, provider)
        if mode == "gateway":
            return GatewayRoute(provider, user_key)
        # Bedrock's central credentials are the environment's own, which the SDK finds for itself.
        central = () if provider.type == "bedrock" else self._central_keys(provider.name)
        key = user_key or next(iter(central), None)
        return DirectRoute(
            provider, key and Delegated(key.reveal_secret_value()), key_is_users=user_key is not None
        )

    def _secrets(self, route: ModelRoute) -> list[Secret]:
        """What may authenticate a call on this route. Of central keys the gateway takes any."""
        own = route.user_key if isinstance(route, GatewayRoute) else route.key
        return [*self._central_keys(route.provider.name), *([own] if own else [])]

    async def _provider(self, name: str) -> AiProvider:
        if not name:
            raise ProviderUnnamed
        provider = await self._providers.find(name)
        if provider is None:
            raise ProviderUnknown(name)
        if not provider.enabled:
            raise ProviderDisabled(name)
        return provider

    async def _user_key(self, user_id: str, provider: AiProvider) -> Secret | None:
        if self._user_keys is None or not self._allow_byok():
            return None
        key = await self._user_keys.key_of(user_id, provider)
        return key and Delegated(key.reveal_secret_value())
