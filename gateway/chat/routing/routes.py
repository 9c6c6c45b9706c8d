"""Where a model call goes: straight to the provider, or through the gateway. There is no third way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.ai_providers import AiProvider
from providers.secret import Secret


class AiProviders(Protocol):
    """The rows. Raises `StoreError` while they can't be read."""

    async def find(self, name: str) -> AiProvider | None: ...


class UserKeys(Protocol):
    """Users' own keys for providers. Raises `StoreError`, and `StoredKeyUnusable` for one that can't be decrypted."""

    async def key_of(self, user_id: str, provider: AiProvider) -> Secret | None: ...


class CentralKeys(Protocol):
    """The organisation's keys for a provider. A direct route takes the first; none of them goes into the other."""

    def __call__(self, provider_name: str) -> Sequence[Secret]: ...


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """Straight to the provider with `key`; None for one that needs none, and for AWS's own credentials."""

    provider: AiProvider
    key: Secret | None
    key_is_users: bool


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """Through the gateway, to its instance of the provider's name. It decides whose credential goes out, unless the
    user has a key of their own here."""

    provider: AiProvider
    user_key: Secret | None


ModelRoute: TypeAlias = DirectRoute | GatewayRoute
