"""The routes of a user's own provider keys: each caller sees and changes their own alone, whatever their role.

A key goes in and never comes out: answers have a masked hint of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from gateway import provider_keys
from gateway.api.desk import Desk
from gateway.api.errors import Conflict, NotFound
from gateway.api.parameters import NewProviderKey, NoParameters
from middleware.errors import BadRequest, Forbidden
from providers.secret import Secret


class ProviderKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a stored key. `hint` is the key, masked; null when the gateway can't decrypt it: then the
    provider is not called in your name until you set it again or delete it."""

    provider: str
    provider_enabled: bool
    hint: str | None
    usable: bool
    created_at: datetime
    updated_at: datetime


class ProviderKeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Your own keys, by provider."""

    provider_keys: list[ProviderKeyAnswer]


async def list_provider_keys(desk: Desk, given: NoParameters) -> ProviderKeysAnswer:
    return answer_of(await desk.provider_keys.list(desk.caller.user_id))


async def set_provider_key(desk: Desk, given: NewProviderKey, provider: str) -> ProviderKeyAnswer:
    if not desk.allow_byok:
        raise Forbidden("users' own provider keys are not allowed here (setting `allow_byok`)")
    with _mistakes():
        return _answer(await desk.provider_keys.set(desk.caller.user_id, provider, Secret(given.key)))


async def delete_provider_key(desk: Desk, given: NoParameters, provider: str) -> ProviderKeyAnswer:
    with _mistakes():
        return _answer(await desk.provider_keys.delete(desk.caller.user_id, provider))


def answer_of(stored: Iterable[provider_keys.StoredKey]) -> ProviderKeysAnswer:
    return ProviderKeysAnswer(provider_keys=[_answer(one) for one in stored])


@contextmanager
def _mistakes() -> Iterator[None]:
    """A mistake of the caller as an answer; the texts of `provider_keys` are meant to be shown."""
    try:
        yield
    except (provider_keys.UnknownProvider, provider_keys.NoStoredKey) as error:
        raise NotFound(str(error)) from error
    except provider_keys.BadProviderKey as error:
        raise BadRequest(f"key: {error}") from error
    except provider_keys.ProviderKeyError as error:
        raise Conflict(str(error)) from error


def _answer(stored: provider_keys.StoredKey) -> ProviderKeyAnswer:
    return ProviderKeyAnswer(
        provider=stored.provider,
        provider_enabled=stored.provider_enabled,
        hint=stored.hint,
        usable=stored.is_usable,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )
