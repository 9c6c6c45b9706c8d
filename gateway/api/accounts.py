"""The routes of users and keys, for admins. A key's token is in the answer that makes it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec

from gateway import accounts
from gateway.api.desk import Desk
from gateway.api.errors import Conflict, NotFound
from gateway.api.parameters import KeysParameters, NewKeyRequest, NewUser, NoParameters
from gateway.durations import parse_duration
from middleware.errors import BadRequest


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A user: `role` is member, auditor or admin, `status` is active, suspended or deleted."""

    id: str
    name: str
    role: str
    status: str
    is_system: bool
    created_at: datetime


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a key; neither its secret nor its hash."""

    id: str
    user_id: str
    username: str
    user_status: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made. `token` is not shown again."""

    token: str
    key: KeyAnswer


class UsersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All users but deleted ones, by name."""

    users: list[UserAnswer]


class KeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, oldest first."""

    keys: list[KeyAnswer]


async def list_users(desk: Desk, given: NoParameters) -> UsersAnswer:
    return UsersAnswer(users=[_user(user) for user in await desk.accounts.list_users()])


async def create_user(desk: Desk, given: NewUser) -> UserAnswer:
    with _mistakes():
        return _user(await desk.accounts.create_user(given.name, given.role))


async def delete_user(desk: Desk, given: NoParameters, name: str) -> UserAnswer:
    with _mistakes():
        return _user(await desk.accounts.delete_user(name))


async def suspend_user(desk: Desk, given: NoParameters, name: str) -> UserAnswer:
    with _mistakes():
        return _user(await desk.accounts.suspend_user(name))


async def activate_user(desk: Desk, given: NoParameters, name: str) -> UserAnswer:
    with _mistakes():
        return _user(await desk.accounts.activate_user(name))


async def list_keys(desk: Desk, given: KeysParameters) -> KeysAnswer:
    with _mistakes():
        return KeysAnswer(keys=[_key(key) for key in await desk.accounts.list_keys(given.user)])


async def create_key(desk: Desk, given: NewKeyRequest) -> NewKeyAnswer:
    lifetime = None if given.lifetime is None else _lifetime(given.lifetime)
    with _mistakes():
        new = await desk.accounts.create_key(given.user, lifetime)
    return NewKeyAnswer(token=new.token.reveal_secret_value(), key=_key(new.key))


async def revoke_key(desk: Desk, given: NoParameters, key_id: str) -> KeyAnswer:
    with _mistakes():
        return _key(await desk.accounts.revoke_key(key_id))


@contextmanager
def _mistakes() -> Iterator[None]:
    """A mistake of the caller as an answer; the texts of `accounts` are meant to be shown."""
    try:
        yield
    except (accounts.UnknownUser, accounts.UnknownKey) as error:
        raise NotFound(str(error)) from error
    except (accounts.DuplicateName, accounts.UserNotActive) as error:
        raise Conflict(str(error)) from error
    except accounts.AccountError as error:
        raise BadRequest(str(error)) from error


def _lifetime(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        raise BadRequest("lifetime: write it as 90d, 12h or 1d12h") from None


def _user(user: accounts.User) -> UserAnswer:
    return UserAnswer(
        id=user.id,
        name=user.name,
        role=user.role,
        status=user.status,
        is_system=user.is_system,
        created_at=user.created_at,
    )


def _key(key: accounts.ApiKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        user_id=key.user_id,
        username=key.username,
        user_status=key.user_status,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
