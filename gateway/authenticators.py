"""Authenticators that ask somebody else: a control plane over HTTP, or the configuration.

Both satisfy `middleware.auth.Authenticator`, raise `Unauthorized` for a caller who may not and `AuthorityUnreachable`
when nobody could say. The one that knows our own users is in `gateway.accounts`; `gateway.caching_authenticator` goes
around any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
from typing import Final

import httpx
import msgspec

from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity, Role
from providers.secret import Secret

log = logging.getLogger("ai_gateway.auth")

ME_PATH: Final = "/api/v2/users/me"
TOKEN_HEADER: Final = "Coder-Session-Token"  # noqa: S105
MAX_ANSWER_BYTES: Final = 256 * 1024

# Visible ASCII only, for it becomes a header; a dash, because without one the key ID would be the secret.
_TOKEN: Final = re.compile(r"([A-Za-z0-9_]{1,64})-[!-~]{1,512}")

_ROLES: Final[dict[str, Role]] = {"owner": "admin", "admin": "admin", "auditor": "auditor"}
_RANK: Final[tuple[Role, ...]] = ("member", "auditor", "admin")


class _Role(msgspec.Struct, frozen=True):
    name: str


class _User(msgspec.Struct, frozen=True):
    """What we read of a control plane's answer about a user."""

    id: str
    username: str
    status: str
    roles: tuple[_Role, ...] = ()


_decoder = msgspec.json.Decoder(_User)


class HttpAuthenticator:
    """Asks a control plane who a token belongs to: `GET <auth_url>/api/v2/users/me`.

    401 and 403 are its word that the token is bad. Anything else that isn't a user (another status, a redirect, a
    body that is too long or can't be read) counts as not reached, because it says nothing about the token. `timeout_s`
    bounds the whole exchange. The transport is called directly, so no cookie or redirect carries a token further.
    """

    def __init__(self, auth_url: str, *, transport: httpx.AsyncBaseTransport, timeout_s: float = 5.0) -> None:
        self._url = httpx.URL(auth_url.rstrip("/") + ME_PATH)
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise ValueError("auth_url must be an http or https URL")
        self._transport = transport
        self._timeout_s = timeout_s

    async def authenticate(self, token: Secret) -> Identity:
        """Who holds this token, in the control plane's words."""
        match = _TOKEN.fullmatch(token.reveal_secret_value())
        if match is None:
            raise Unauthorized("the token has not the form <id>-<secret>")
        user = await self._ask(token)
        if user.status != "active":
            raise Unauthorized(f"the user of key {match[1]} is {user.status!r}")
        return Identity(user.id, user.username, match[1], _role(user))

    async def identify(self, api_key_id: str) -> Identity:
        """Always `Unauthorized`: a control plane vouches for tokens, not for key IDs."""
        raise Unauthorized("this authority can't vouch for a key without its token")

    async def _ask(self, token: Secret) -> _User:
        request = httpx.Request(
            "GET",
            self._url,
            headers={
                TOKEN_HEADER: token.reveal_secret_value(),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)},
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                return _user(*await self._exchange(request))
        except (httpx.HTTPError, OSError, TimeoutError, _UselessAnswer) as error:
            log.warning("authority %s: %s", self._url.host, _kind(error))
            raise AuthorityUnreachable from error

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._transport.handle_async_request(request)
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise _UselessAnswer("its answer can't be read asynchronously")
        async with contextlib.aclosing(stream):
            body = bytearray()
            async for chunk in stream:
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise _UselessAnswer(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
            return response.status_code, bytes(body)


class StaticAuthenticator:
    """Knows one token and the one user it belongs to, both from the configuration."""

    KEY_ID: Final = "static"

    def __init__(self, token: Secret, user: str, *, role: Role = "admin") -> None:
        if not token:
            raise ValueError("static_token must not be empty")
        self._digest = _digest(token)
        self._identity = Identity(user, user, self.KEY_ID, role)

    async def authenticate(self, token: Secret) -> Identity:
        if not hmac.compare_digest(_digest(token), self._digest):
            raise Unauthorized("the token is not the configured one")
        return self._identity

    async def identify(self, api_key_id: str) -> Identity:
        if api_key_id != self.KEY_ID:
            raise Unauthorized(f"the only key is {self.KEY_ID!r}")
        return self._identity


class _UselessAnswer(Exception):
    """An answer that says nothing about the token."""


def _user(status: int, body: bytes) -> _User:
    if status in {401, 403}:
        raise Unauthorized(f"the authority answered {status}")
    if status != 200:
        raise _UselessAnswer(f"it answered {status}")
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _UselessAnswer("its answer is not a user") from error


def _role(user: _User) -> Role:
    """The most that any of the user's roles allows."""
    roles = (_ROLES.get(role.name, "member") for role in user.roles)
    return max(roles, key=_RANK.index, default="member")


def _kind(error: Exception) -> str:
    """Of our own words the text, of others' the kind: a library may quote what it was given."""
    return str(error) if isinstance(error, _UselessAnswer) else type(error).__name__


def _digest(token: Secret) -> bytes:
    """Of equal length for all tokens, so that comparing tells nothing about them."""
    return hashlib.sha256(token.reveal_secret_value().encode("utf-8", "surrogatepass")).digest()
