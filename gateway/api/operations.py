"""THE table of routes: what can be asked, by whom, with which parameters, and what comes back.

The application and its OpenAPI document are both made of it. A new route is a handler and one line here; the first
segment of its path belongs in `gateway.instances.RESERVED_NAMES`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, TypeAlias

import msgspec

from gateway.api import accounts, provider_keys, records
from gateway.api.parameters import (
    InterceptionsParameters,
    KeysParameters,
    NewKeyRequest,
    NewProviderKey,
    NewUser,
    NoParameters,
    SessionParameters,
    SessionsParameters,
)
from gateway.history import answers
from middleware.exchange import Role

Handler: TypeAlias = Callable[..., Awaitable[Any]]
"""Takes the desk, the parameters or the body, and what the path names. Gives the struct to answer with, or an ASGI
application that answers by itself."""

StructOrUnion: TypeAlias = type[msgspec.Struct] | UnionType

RANK: Final[dict[Role, int]] = {"member": 0, "auditor": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    """As Starlette routes it."""
    handler: Handler
    takes: type[msgspec.Struct]
    """The body of a POST or PUT that has one, else the query."""
    returns: StructOrUnion
    role: Role
    """The least role that may call; members see only what is their own."""
    summary: str
    status: int = 200
    errors: tuple[int, ...] = ()
    """Beside those that every operation may answer."""
    is_stream: bool = False
    """It answers with server-sent events; what it `returns` is the data of each."""

    @property
    def has_body(self) -> bool:
        return self.method in ("POST", "PUT") and self.takes is not NoParameters

    def allows(self, role: Role) -> bool:
        return RANK[role] >= RANK[self.role]


@dataclass(frozen=True, slots=True)
class Api:
    """What an application and its OpenAPI document are made of."""

    title: str
    description: str
    operations: tuple[Operation, ...]
    document: str
    """Path of the OpenAPI document."""


MEMBER: Final[Role] = "member"
ADMIN: Final[Role] = "admin"

OPERATIONS: Final = (
    Operation(
        "GET", "/sessions", records.list_sessions, SessionsParameters, answers.SessionPage, MEMBER,
        "Sessions, newest first",
    ),
    Operation(
        "GET", "/sessions/{session_id:path}", records.get_session, SessionParameters, answers.SessionThreads, MEMBER,
        "A session's threads, oldest first", errors=(404,),
    ),
    Operation(
        "GET", "/interceptions", records.list_interceptions, InterceptionsParameters, answers.InterceptionPage, MEMBER,
        "Recorded requests, newest first",
    ),
    Operation(
        "GET", "/models", records.list_models, NoParameters, answers.Models, MEMBER,
        "Models that were asked for",
    ),
    Operation(
        "GET", "/clients", records.list_clients, NoParameters, answers.Clients, MEMBER,
        "Programs that asked",
    ),
    Operation(
        "GET", "/providers", records.list_providers, NoParameters, answers.Providers, MEMBER,
        "Providers that were called",
    ),
    Operation(
        "GET", "/users", accounts.list_users, NoParameters, accounts.UsersAnswer, ADMIN,
        "Users, by name",
    ),
    Operation(
        "POST", "/users", accounts.create_user, NewUser, accounts.UserAnswer, ADMIN,
        "Add a user", 201, (409,),
    ),
    Operation(
        "DELETE", "/users/{name}", accounts.delete_user, NoParameters, accounts.UserAnswer, ADMIN,
        "Refuse a user's keys for ever and free the name", errors=(404,),
    ),
    Operation(
        "POST", "/users/{name}/suspend", accounts.suspend_user, NoParameters, accounts.UserAnswer, ADMIN,
        "Refuse a user's keys until activated", errors=(404,),
    ),
    Operation(
        "POST", "/users/{name}/activate", accounts.activate_user, NoParameters, accounts.UserAnswer, ADMIN,
        "Accept a user's keys again", errors=(404,),
    ),
    Operation(
        "GET", "/keys", accounts.list_keys, KeysParameters, accounts.KeysAnswer, ADMIN,
        "Keys, oldest first", errors=(404,),
    ),
    Operation(
        "POST", "/keys", accounts.create_key, NewKeyRequest, accounts.NewKeyAnswer, ADMIN,
        "Make a key; its token is shown this once", 201, (404, 409),
    ),
    Operation(
        "DELETE", "/keys/{key_id}", accounts.revoke_key, NoParameters, accounts.KeyAnswer, ADMIN,
        "End a key, for good", errors=(404,),
    ),
    Operation(
        "GET", "/provider-keys", provider_keys.list_provider_keys, NoParameters, provider_keys.ProviderKeysAnswer,
        MEMBER, "Your own keys for AI providers, masked",
    ),
    Operation(
        "PUT", "/provider-keys/{provider}", provider_keys.set_provider_key, NewProviderKey,
        provider_keys.ProviderKeyAnswer, MEMBER, "Store your own key for an AI provider", errors=(404, 409),
    ),
    Operation(
        "DELETE", "/provider-keys/{provider}", provider_keys.delete_provider_key, NoParameters,
        provider_keys.ProviderKeyAnswer, MEMBER, "Delete your own key for an AI provider", errors=(404,),
    ),
)  # fmt: skip

DOCUMENT: Final = "/openapi.json"

MANAGEMENT: Final = Api(
    "AI gateway: management",
    "What was recorded, users and keys. Members see what is their own, auditors and admins everything; users and keys "
    "are for admins, and one's own provider keys for everybody.",
    OPERATIONS,
    DOCUMENT,
)

SEGMENTS: Final = frozenset(operation.path.split("/")[1] for operation in OPERATIONS) | {DOCUMENT[1:]}
"""The first segments of the paths that are the management API's."""
