"""The typed per-request state that layers share, one object on the ASGI scope.

A layer names the fields that it needs and sets (`requires`, `provides`), and `gateway.stack` refuses an order in
which a field is needed before it is set. Context variables carry log context only; facts travel here.

No field holds a credential in the clear, and `repr` shows none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import uuid_utils

from providers.base import Credential, Headers, Provider, RequestFacts, Route
from providers.secret import Secret
from recorders.records import CredentialKind, Outcome

if TYPE_CHECKING:
    from starlette.types import Scope

    from recorders.spans import Span

SCOPE_KEY: Final = "ai_gateway.exchange"
DELEGATION_KEY: Final = "ai_gateway.delegation"

CHUNKS: Final = "ai_gateway.chunks"
"""An ASGI extension for servers that write several chunks at once. Where it is among a scope's extensions, a body
message may have a member of this name: the pieces of `body`, in order, each to leave in a chunk of its own. Whoever
changes `body` changes it too, or takes it out."""

GOVERNANCE_HEADER: Final = b"x-coder-ai-governance-token"
DELEGATED_MARKER: Final = "delegated"

Role: TypeAlias = Literal["member", "auditor", "admin"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling, and with which key. All IDs are opaque text."""

    user_id: str
    username: str
    api_key_id: str
    role: Role = "member"


@dataclass(frozen=True, slots=True)
class Delegation:
    """A caller in this process acts for the owner of `api_key_id`. Only code can put one on a scope."""

    api_key_id: str
    source: str


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far. Each field is set by one layer, named beside it."""

    request_id: str = ""  # telemetry
    errors: bool = False  # errors
    measured: bool = False  # metrics
    span: Span | None = field(default=None, repr=False)  # tracing; None where nothing is traced
    caller: Identity | None = None  # auth
    token: Secret | None = None  # auth; governance removes every trace of it from the request
    credential_kind: CredentialKind | None = None  # governance
    identity_headers: Headers = field(default_factory=list, repr=False)  # header_strip
    provider: Provider | None = None  # route
    route: Route | None = None  # route
    admitted: bool = False  # limits
    body: bytes | None = field(default=None, repr=False)  # body; upstream lets go of it
    facts: RequestFacts | None = field(default=None, repr=False)  # body
    interception_id: str | None = None  # interception
    credential: Credential | None = None  # dispatch: what went upstream; its repr is masked
    client: str = ""  # interception: the program that asks, of those that are known
    outcome: Outcome | None = None  # interception, when it ends
    attempt: int = 0  # failover: 1 for the first; it sets `credential` anew for each
    troubles: tuple[str, ...] = ()  # failover: of each attempt that failed, what failed it
    attempt_span: Span | None = field(default=None, repr=False)  # attempt_tracing; of the last attempt
    circuit: str = ""  # circuit_breaker: the name of the one that the attempt passes
    bonds: list[str] = field(default_factory=list)  # interception; failover takes them
    client_left: bool = False  # whoever saw it first

    @staticmethod
    def of(scope: Scope) -> Exchange:
        """The exchange of this request; the first layer that asks makes it."""
        exchange: Exchange | None = scope.get(SCOPE_KEY)
        if exchange is None:
            exchange = scope[SCOPE_KEY] = Exchange()
        return exchange


def new_id() -> str:
    """An ID of a request, or of something recorded: UUIDs of version 7 sort by the time they were made."""
    return str(uuid_utils.uuid7())


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, trimmed; None when it is absent."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1").strip()
            return text
    return None


def takes_chunks(scope: Scope) -> bool:
    """Whether `CHUNKS` is among the extensions of this scope."""
    return CHUNKS in (scope.get("extensions") or ())


def with_headers(scope: Scope, headers: Headers) -> dict[str, Any]:
    """A copy of the scope that carries `headers`; the exchange stays the same object."""
    return {**scope, "headers": headers}
