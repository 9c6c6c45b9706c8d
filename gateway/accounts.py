"""Users and their API keys, kept in the gateway's database.

A token is `<key ID>-<secret>`. It is shown once, when it is made; kept is the SHA-256 of its secret, which is enough
because the secret is random and long. Deleting a user or revoking a key keeps the row, because records name it; a
key can also be deleted, row and all.

Every mistake a person can make here is an `AccountError` whose text can be shown to them:

    AccountError
    ├── UnknownUser, UnknownKey
    ├── BadName, BadRole, BadLifetime
    ├── DuplicateName
    └── UserNotActive

Trouble with the database is a `StoreError`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

import uuid_utils

from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity, Role
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.database import (
    Database,
    Row,
    Statement,
    Value,
    read_time,
    read_time_or_none,
    time_value,
)

Status: TypeAlias = Literal["active", "suspended", "deleted"]

ID_LENGTH: Final = 10
SECRET_LENGTH: Final = 24
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_ALPHABET: Final = string.ascii_letters + string.digits
_TOKEN: Final = re.compile(r"([A-Za-z0-9]{10})-([A-Za-z0-9]{22,128})")
_KEY_ID: Final = re.compile(r"[A-Za-z0-9]{10}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class AccountError(Exception):
    """Something is wrong with what was asked; the text says what."""


class UnknownUser(AccountError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user {name!r}.")


class UnknownKey(AccountError):
    def __init__(self, key_id: str) -> None:
        # A whole token pasted by mistake must not end up in a terminal's or a server's log.
        shown = (
            repr(key_id) if _KEY_ID.fullmatch(key_id) else "with this ID (an ID has 10 letters and digits)"
        )
        super().__init__(f"There is no key {shown}.")


class DuplicateName(AccountError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a user {name!r}.")


class BadName(AccountError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name[:64]!r} can't be the name of a user: up to 64 letters, digits and . _ @ + -, "
            "beginning with a letter or a digit."
        )


class BadRole(AccountError):
    def __init__(self, role: str) -> None:
        super().__init__(f"{role[:64]!r} is no role: it is one of {', '.join(ROLES)}.")


class BadLifetime(AccountError):
    def __init__(self) -> None:
        super().__init__("The lifetime of a key must be longer than nothing and end before the year 10000.")


class UserNotActive(AccountError):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The user {name!r} can't have keys: it is {why}.")


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    role: Role
    status: Status
    is_system: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be known of a key; neither its secret nor the hash."""

    id: str
    user_id: str
    username: str
    user_status: Status
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_alive(self, now: datetime) -> bool:
        """Neither revoked nor expired; its user may still be suspended."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, and the only sight of its token."""

    token: Secret
    key: ApiKey


_USER_COLUMNS: Final = "id, name, role, status, is_system, created_at"
_KEY_QUERY: Final = """
    SELECT api_keys.id, api_keys.user_id, users.name AS username, users.status AS user_status,
           api_keys.created_at, api_keys.expires_at, api_keys.revoked_at
    FROM api_keys JOIN users ON users.id = api_keys.user_id
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Accounts:
    """Users and keys in `database`. Users are named by name, in any case; deleted ones aren't found by it."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def create_user(self, name: str, role: str = "member", *, is_system: bool = False) -> User:
        """Raises `BadName`, `BadRole`, `DuplicateName`. A system user is a name for records; it can't call."""
        if not _NAME.fullmatch(name):
            raise BadName(name)
        if role not in ROLES:
            raise BadRole(role)
        now = time_value(self._clock())
        created = await self._database.execute(
            "INSERT INTO users (id, name, role, status, is_system, created_at, updated_at) "
            "VALUES (?, ?, ?, 'active', ?, ?, ?) ON CONFLICT DO NOTHING",
            *(str(uuid_utils.uuid7()), name, role, is_system, now, now),
        )
        if not created:
            raise DuplicateName(name)
        return await self.get_user(name)

    async def get_user(self, name: str) -> User:
        """Raises `UnknownUser`."""
        rows = await self._database.fetch(
            f"SELECT {_USER_COLUMNS} FROM users WHERE lower(name) = lower(?) AND status <> 'deleted'",  # noqa: S608
            _text(name),
        )
        if not rows:
            raise UnknownUser(name)
        return _user(rows[0])

    async def list_users(self) -> list[User]:
        """All that aren't deleted, by name."""
        rows = await self._database.fetch(
            f"SELECT {_USER_COLUMNS} FROM users WHERE status <> 'deleted' ORDER BY lower(name)"  # noqa: S608
        )
        return [_user(row) for row in rows]

    async def suspend_user(self, name: str) -> User:
        """Refuse the user's keys until `activate_user`. Raises `UnknownUser`."""
        return await self._set_status(name, "suspended")

    async def activate_user(self, name: str) -> User:
        """Raises `UnknownUser`; a deleted user stays deleted."""
        return await self._set_status(name, "active")

    async def delete_user(self, name: str) -> User:
        """Refuse the user's keys for ever, free the name, forget their own keys for providers. Raises `UnknownUser`."""
        return await self._set_status(name, "deleted", "DELETE FROM user_ai_provider_keys WHERE user_id = ?")

    async def create_key(self, user: str, lifetime: timedelta | None = None) -> NewKey:
        """A key for the user of that name, for ever or for `lifetime`.

        Raises `UnknownUser`, `UserNotActive`, `BadLifetime`.
        """
        owner = await self.get_user(user)
        if owner.is_system or owner.status != "active":
            raise UserNotActive(owner.name, "a system user" if owner.is_system else owner.status)
        now = self._clock()
        key_id, secret = _random_text(ID_LENGTH), _random_text(SECRET_LENGTH)
        key = ApiKey(key_id, owner.id, owner.name, owner.status, now, _expiry(now, lifetime), None)
        await self._database.execute(
            "INSERT INTO api_keys (id, user_id, hashed_secret, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            *(key.id, key.user_id, _hash(secret), time_value(now), _time_or_none(key.expires_at)),
        )
        return NewKey(Secret(f"{key_id}-{secret}"), key)

    async def get_key(self, key_id: str) -> ApiKey:
        """Raises `UnknownKey`."""
        rows = await self._database.fetch(f"{_KEY_QUERY} WHERE api_keys.id = ?", _text(key_id))
        if not rows:
            raise UnknownKey(key_id)
        return _key(rows[0])

    async def list_keys(self, user: str | None = None) -> list[ApiKey]:
        """All keys, oldest first, or those of the user of that name. Raises `UnknownUser`."""
        condition, parameters = "", tuple[Value, ...]()
        if user is not None:
            condition, parameters = "WHERE api_keys.user_id = ?", ((await self.get_user(user)).id,)
        rows = await self._database.fetch(
            f"{_KEY_QUERY} {condition} ORDER BY api_keys.created_at, api_keys.id", *parameters
        )
        return [_key(row) for row in rows]

    async def revoke_key(self, key_id: str) -> ApiKey:
        """End a key, for good; one that is revoked already keeps its time. Raises `UnknownKey`."""
        await self._database.execute(
            "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
            *(time_value(self._clock()), _text(key_id)),
        )
        return await self.get_key(key_id)

    async def delete_key(self, key_id: str) -> ApiKey:
        """Forget a key; returns what it was. Raises `UnknownKey`.

        Interceptions still say its ID; chats and their messages stay and have no key any more. Revoking is what ends
        a key and keeps what is known of it.
        """
        key = await self.get_key(key_id)
        await self._database.execute("DELETE FROM api_keys WHERE id = ?", key.id)
        return key

    async def _set_status(self, name: str, status: Status, *also: str) -> User:
        """What is done `also` takes the user's ID, and is done with it or not at all."""
        user = await self.get_user(name)
        change = Statement(
            "UPDATE users SET status = ?, updated_at = ? WHERE id = ? AND status <> 'deleted'",
            (status, time_value(self._clock()), user.id),
        )
        await self._database.transaction([change, *(Statement(sql, (user.id,)) for sql in also)])
        rows = await self._database.fetch(f"SELECT {_USER_COLUMNS} FROM users WHERE id = ?", user.id)  # noqa: S608
        return _user(rows[0])


class DatabaseAuthenticator:
    """An `Authenticator` that knows the users and keys of `database`.

    Both methods raise `Unauthorized`, whose reason is for the log, and `AuthorityUnreachable` when the database
    doesn't answer.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def authenticate(self, token: Secret) -> Identity:
        """Who holds this token."""
        parts = _TOKEN.fullmatch(token.reveal_secret_value())
        if parts is None:
            raise Unauthorized("the token has not the form of one of ours")
        key_id, secret = parts.groups()
        row = await self._find(key_id)
        if not hmac.compare_digest(_hash(secret), row["hashed_secret"]):
            raise Unauthorized(f"the secret of key {key_id} is wrong")
        return self._admit(row)

    async def identify(self, api_key_id: str) -> Identity:
        """Whose key this is, for a caller in this process who acts for them and needs no secret."""
        if not _KEY_ID.fullmatch(api_key_id):
            raise Unauthorized("the key ID has not the form of one of ours")
        return self._admit(await self._find(api_key_id))

    async def _find(self, key_id: str) -> Row:
        try:
            rows = await self._database.fetch(
                """
                SELECT api_keys.id AS key_id, hashed_secret, expires_at, revoked_at,
                       users.id AS user_id, name, role, status, is_system
                FROM api_keys JOIN users ON users.id = api_keys.user_id
                WHERE api_keys.id = ?
                """,
                key_id,
            )
        except StoreError as error:
            raise AuthorityUnreachable from error
        if not rows:
            raise Unauthorized(f"there is no key {key_id}")
        return rows[0]

    def _admit(self, row: Row) -> Identity:
        expires_at = read_time_or_none(row["expires_at"])
        if row["revoked_at"] is not None:
            raise Unauthorized(f"key {row['key_id']} is revoked")
        if expires_at is not None and self._clock() >= expires_at:
            raise Unauthorized(f"key {row['key_id']} has expired")
        if row["status"] != "active":
            raise Unauthorized(f"the user of key {row['key_id']} is {row['status']}")
        if row["is_system"]:
            raise Unauthorized(f"the user of key {row['key_id']} is a system user")
        return Identity(row["user_id"], row["name"], row["key_id"], row["role"])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _expiry(now: datetime, lifetime: timedelta | None) -> datetime | None:
    if lifetime is None:
        return None
    if lifetime <= timedelta():
        raise BadLifetime
    try:
        return now + lifetime
    except OverflowError:
        raise BadLifetime from None


def _time_or_none(time: datetime | None) -> str | None:
    return None if time is None else time_value(time)


def _text(value: str) -> str:
    """No database looks for a NUL or half a character; nothing that we keep has one."""
    return value.encode("ascii", "replace").decode().replace("\x00", "?")


def _user(row: Row) -> User:
    created_at = read_time(row["created_at"])
    return User(row["id"], row["name"], row["role"], row["status"], bool(row["is_system"]), created_at)


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        user_id=row["user_id"],
        username=row["username"],
        user_status=row["user_status"],
        created_at=read_time(row["created_at"]),
        expires_at=read_time_or_none(row["expires_at"]),
        revoked_at=read_time_or_none(row["revoked_at"]),
    )
