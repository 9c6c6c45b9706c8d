"""The seams of this floor: what a provider is, what an API of a provider is, what its readers say.

- `Api`: one recorded wire format (Messages, Chat completions, Responses): reads a request, makes a reader for the
  answer, words our own errors as the provider would.
- `Reader`: reads an answer as it passes, without I/O: `feed(bytes)` and `close()` return the facts found. It is
  bounded and never raises on what a provider sent; what it could not read it names in `flaws`.
- `ProviderType`: what all instances of a type share, as data. `Provider`: one named, configured instance.
- `Credential`: a secret and the header in which it travels.

Nothing here knows a socket, a clock or an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from providers.secret import Secret

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = list[Header]


# -- what readers say ---------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one provider response. `input_tokens` is without cached ones; `extra` holds every further count."""

    msg_id: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    extra: dict[str, int] = {}


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model made. `input` is the text as the model wrote it."""

    msg_id: str
    tool_call_id: str
    tool: str
    input: str
    server_url: str | None = None
    invocation_error: str | None = None
    metadata: dict[str, str] = {}


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """Reasoning the model showed; `source` is `thinking`, `reasoning_summary` or `commentary`."""

    content: str
    source: str


class ProviderFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The provider reported an error, in an error body or as an event in mid-stream."""

    type: str
    message: str


class AccountBound(msgspec.Struct, frozen=True, kw_only=True):
    """The answer holds something that only the account that made it can read again; `bond` names it."""

    bond: str


Fact: TypeAlias = Usage | ToolCall | Thought | ProviderFailure | AccountBound


class Reader(Protocol):
    """Reads one answer as it passes. `msg_id` is the provider's response ID, empty until it is known.

    `complete` turns true with the event that ends a stream: some clients wait for nothing behind it. It stays false
    for an answer whose end only its length tells.
    """

    msg_id: str
    complete: bool
    flaws: list[str]

    def feed(self, data: bytes) -> Sequence[Fact]:
        """Take the next bytes, in whatever pieces they come; return the facts that are now complete."""
        ...

    def close(self) -> Sequence[Fact]:
        """The answer is over or was cut; return what was known and not yet told."""
        ...


class StreamFilter(Protocol):
    """Takes out of a stream what only we asked for; every other byte passes as it came."""

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes: ...


# -- what a request says ------------------------------------------------------------------------------------------


class Edit(msgspec.Struct, frozen=True):
    """Replace `body[start:end]` by `replacement`; nothing outside the span changes."""

    start: int
    end: int
    replacement: bytes


def apply_edits(body: bytes, edits: Iterable[Edit]) -> bytes:
    """The body after the edits, whose spans refer to the body as it was and do not overlap."""
    pieces: list[bytes] = []
    position = 0
    for edit in sorted(edits, key=lambda e: e.start):
        pieces += (body[position : edit.start], edit.replacement)
        position = edit.end
    pieces.append(body[position:])
    return b"".join(pieces)


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway needs to know of a request body; odd shapes leave a fact empty and are no error."""

    model: str = ""
    stream: bool = False
    prompt: str | None = None
    correlating_tool_call_id: str | None = None
    session_id: str | None = None
    """A session that only the body names (Claude Code's `metadata.user_id`)."""
    bound_to: str | None = None
    """Names what only the account that made it can read: an earlier response, encrypted reasoning."""
    usage_edit: Edit | None = None
    """The edit that asks the provider for usage the client did not ask for; its extra chunk is ours to hide."""


class RequestRefused(Exception):
    """The body can't be taken: `status` and a message for the client, safe to show."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Api(Protocol):
    """One recorded wire format."""

    name: str

    def read_request(self, body: bytes) -> RequestFacts:
        """The facts of a request body. Raises `RequestRefused` when it is not JSON or asks for what we don't do."""
        ...

    def reader(self, *, streamed: bool) -> Reader:
        """A reader for one answer: server-sent events, or one JSON document."""
        ...

    def usage_filter(self) -> StreamFilter:
        """Hides the chunk that `RequestFacts.usage_edit` asked for."""
        ...


ErrorBody: TypeAlias = Callable[[int, str, str], bytes]
"""(status, message, code) -> a JSON error body in the provider's own shape; `code` may be empty."""


# -- providers ----------------------------------------------------------------------------------------------------


GET: Final = frozenset({"GET"})
POST: Final = frozenset({"POST"})
ANY: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Not TRACE: a server that serves it sends the request back, and with it the central key. Not CONNECT either."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route that a provider type serves. `path` ends in `/*` when anything below it belongs to it."""

    methods: frozenset[str]
    path: str
    api: Api | None = None
    """The recorded format; None when the route only passes through."""

    def serves(self, method: str, path: str) -> bool:
        if method not in self.methods:
            return False
        if self.path.endswith("/*"):
            return path.startswith(self.path[:-1]) and len(path) >= len(self.path)
        return path == self.path


@dataclass(frozen=True, slots=True)
class Slot:
    """A header that can hold a provider credential, and what stands before the secret in it."""

    header: bytes
    scheme: str = ""

    def value(self, secret: Secret) -> bytes:
        return (self.scheme + secret.reveal_secret_value()).encode("latin-1")

    def read(self, value: bytes) -> Secret | None:
        """The secret in a header value, or None when it has another scheme or is empty."""
        secret = value.decode("latin-1").strip()
        if self.scheme:
            scheme, _, secret = secret.partition(" ")
            if scheme.lower() != self.scheme.strip().lower():
                return None
        return Secret(secret.strip()) if secret.strip() else None


BEARER = Slot(b"authorization", "Bearer ")
X_API_KEY = Slot(b"x-api-key")


@dataclass(frozen=True, slots=True)
class Credential:
    """Whose secret goes upstream, and in which header."""

    slot: Slot
    secret: Secret

    @property
    def hint(self) -> str:
        return self.secret.hint


@dataclass(frozen=True, slots=True)
class ProviderType:
    """What every instance of a type shares. A new type is one of these, and one line in the registry."""

    name: str
    default_base_url: str
    endpoints: tuple[Endpoint, ...]
    slots: tuple[Slot, ...]
    """Where credentials stand, the preferred first; the central key uses the first."""
    error_body: Callable[[str, int, str, str], bytes]
    """(path, status, message, code) -> an error in the shape that clients of that path expect."""
    client_prefix: str = ""
    """The part of a client's base URL that the upstream base URL brings itself (`/v1` for openai)."""
    byok_only: bool = False
    failing_statuses: frozenset[int] = frozenset({503, 504})
    """Answers which say that the provider itself is in trouble, for a circuit breaker to count."""


@dataclass(frozen=True, slots=True)
class Route:
    """A request matched to an endpoint: `upstream_path` is appended to the instance's base URL."""

    endpoint: Endpoint
    upstream_path: str

    @property
    def api(self) -> Api | None:
        return self.endpoint.api


@dataclass(frozen=True, slots=True)
class Provider:
    """A named, configured instance of a provider type."""

    type: ProviderType
    name: str
    base_url: str
    keys: tuple[Secret, ...] = ()
    enabled: bool = True
    extra_endpoints: tuple[Endpoint, ...] = ()
    url: SplitResult = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", urlsplit(self.base_url))

    def match(self, method: str, path: str) -> Route | None:
        """The route of `path` (what follows the instance's name), or None when this provider doesn't serve it."""
        prefix = self.type.client_prefix
        if not path.startswith(prefix + "/"):
            return None
        rest = path[len(prefix) :]
        for endpoint in (*self.type.endpoints, *self.extra_endpoints):
            if endpoint.serves(method, rest):
                return Route(endpoint, rest)
        return None

    def central_credential(self) -> Credential | None:
        """The organisation's own key, or None when this instance has none."""
        return Credential(self.type.slots[0], self.keys[0]) if self.keys else None

    def user_credential(self, headers: Sequence[Header]) -> Credential | None:
        """The user's own credential among `headers`; of several, the one in the type's preferred slot wins."""
        for slot in self.type.slots:
            for name, value in headers:
                secret = slot.read(value) if name == slot.header else None
                if secret is not None:
                    return Credential(slot, secret)
        return None

    def error_body(self, path: str, status: int, message: str, code: str = "") -> bytes:
        return self.type.error_body(path, status, message, code)
