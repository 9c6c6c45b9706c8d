"""Query strings and bodies as structs. All that is wrong is said at once, by name.

The structs are also what the OpenAPI document is made of, so a bound stands in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from gateway.api.search import BadSearch, parse_search
from gateway.provider_keys import MAX_KEY_LENGTH
from middleware.errors import BadRequest

_T = TypeVar("_T", bound=msgspec.Struct)

MAX_OFFSET: Final = 10_000

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Time = Annotated[datetime, Meta(tz=True)]


class NoParameters(msgspec.Struct, frozen=True, kw_only=True):
    """For routes that take none."""


class FilterParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What both lists can be narrowed to."""

    q: Annotated[
        str, Meta(max_length=4096, description='The filters below in one line: `key:value key:"a value"`.')
    ] = ""
    initiator: Annotated[_Text, Meta(description="Name or ID of a user, or `me`.")] | None = None
    provider: Annotated[_Text, Meta(description="Type of the provider.")] | None = None
    provider_name: Annotated[_Text, Meta(description="Name of the provider instance.")] | None = None
    model: Annotated[_Text, Meta(description="Model, as the client named it.")] | None = None
    client: Annotated[_Text, Meta(description="The program that asked, such as `Claude Code`.")] | None = None
    session_id: Annotated[_Text, Meta(description="ID of a session.")] | None = None
    started_after: Annotated[_Time, Meta(description="Started at this time or later; RFC 3339.")] | None = (
        None
    )
    started_before: Annotated[_Time, Meta(description="Started earlier than this; RFC 3339.")] | None = None


class SessionsParameters(FilterParameters, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many on a page.")] = 100
    offset: Annotated[
        int, Meta(ge=0, le=MAX_OFFSET, description="How many to leave out; to go far, use the cursor.")
    ] = 0
    after_session_id: (
        Annotated[_Text, Meta(description="The page after this session; as `next` has it.")] | None
    ) = None
    after_initiator: (
        Annotated[
            _Text, Meta(description="ID of that session's user, where several users have one of this ID.")
        ]
        | None
    ) = None

    def mistakes(self) -> Iterator[str]:
        if self.offset and self.after_session_id:
            yield "offset: can't be combined with after_session_id"
        if self.after_initiator and not self.after_session_id:
            yield "after_initiator: needs after_session_id"


class InterceptionsParameters(FilterParameters, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many on a page.")] = 100
    after_id: (
        Annotated[_Text, Meta(description="The page after this interception; as `next` has it.")] | None
    ) = None


class SessionParameters(msgspec.Struct, frozen=True, kw_only=True):
    initiator: (
        Annotated[
            _Text, Meta(description="Name or ID of a user, where several users have a session of this ID.")
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=200, description="How many threads.")] = 50
    after_thread_id: (
        Annotated[_Text, Meta(description="The page after this thread; as `next` has it.")] | None
    ) = None


class KeysParameters(msgspec.Struct, frozen=True, kw_only=True):
    user: Annotated[_Text, Meta(description="Only the keys of the user of this name.")] | None = None


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to add. Names differ in more than case."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
    role: Annotated[str, Meta(pattern="^(member|auditor|admin)$")] = "member"


class NewKeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A key to make for a user."""

    user: Annotated[_Text, Meta(description="Name of the user.")]
    lifetime: (
        Annotated[_Text, Meta(description="Such as `90d`, `12h` or `1d12h`; for ever by default.")] | None
    ) = None


class NewProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of your own for a provider, instead of the one that is stored."""

    key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH, pattern="^[!-~]+$")]

    def __repr__(self) -> str:
        return "NewProviderKey()"


FILTERS: Final = tuple(name for name in FilterParameters.__struct_fields__ if name != "q")


@dataclass(slots=True)
class _Reading:
    """Values that fit, and what is wrong with the others, in the order of the struct's fields."""

    kind: type[msgspec.Struct]
    numbers_as_text: bool
    values: dict[str, Any] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def read(self, given: Mapping[str, Any]) -> None:
        known = {one.name: one for one in msgspec.structs.fields(self.kind)}
        self.mistakes += [f"{shown(name)}: unknown" for name in given if name not in known]
        for name, one in known.items():
            if name in given:
                # The strict way of everything but numbers: the lax one takes `null` for nothing and 7 for a time.
                lax = self.numbers_as_text and isinstance(one.default, int)
                self._convert(name, given[name], one.type, strict=not lax)
            elif one.required:
                self.mistakes.append(f"{name}: missing")

    def _convert(self, name: str, value: Any, kind: Any, *, strict: bool) -> None:
        try:
            self.values[name] = msgspec.convert(value, kind, strict=strict)
        except msgspec.ValidationError as error:
            self.mistakes.append(f"{name}: {error}")
            return
        if isinstance(value, str) and not is_text(value):
            self.mistakes.append(f"{name}: holds a character that no text has")

    def done(self) -> msgspec.Struct:
        if not self.mistakes:
            made = self.kind(**self.values)
            self.mistakes += getattr(made, "mistakes", tuple)()
            if not self.mistakes:
                return made
        raise BadRequest("; ".join(self.mistakes))


def read_query(query: bytes, kind: type[_T]) -> _T:
    """Raises `BadRequest` naming every parameter that is wrong, unknown or given twice."""
    reading = _Reading(kind, numbers_as_text=True)
    given: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if name in given:
            reading.mistakes.append(f"{shown(name)}: given twice")
        given[name] = value
    if issubclass(kind, FilterParameters):
        given = _with_search(given, reading.mistakes)
    reading.read(given)
    return reading.done()  # type: ignore[return-value]


def read_body(body: bytes, kind: type[_T]) -> _T:
    """Raises `BadRequest` naming every member that is wrong, unknown or missing."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadRequest("the body must be a JSON object")
    reading = _Reading(kind, numbers_as_text=False)
    reading.read(given)
    return reading.done()  # type: ignore[return-value]


def is_text(value: str) -> bool:
    """Whether every database takes it."""
    if "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str) -> str:
    """A name of the caller's own making, short and on one line."""
    return repr(name[:64])


def _with_search(given: dict[str, str], mistakes: list[str]) -> dict[str, str]:
    """What `q` says, beside what is said outside of it."""
    try:
        searched = parse_search(given.get("q", ""), FILTERS)
    except BadSearch as error:
        mistakes.append(f"q: {error}")
        return given
    mistakes += [f"{name}: given in q too" for name in searched if name in given]
    return searched | given
