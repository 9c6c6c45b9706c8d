"""Credentials that a model call carries beside the vendor's SDK, and never through it.

The SDK gets a placeholder, because it wants something. What really goes out is put in by the transport, on the message
itself: so no client, request, response or error object holds the user's key, and no debug log of an SDK can print it.
Everything here shows `<redacted>`, however it is asked. A key that a provider quotes in its error is taken out by
`redacted`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from providers.base import BEARER, X_API_KEY, Headers, Slot
from providers.secret import Secret

PLACEHOLDER: Final = "placeholder-the-gateway-decides"
"""Satisfies an SDK that insists on a key. The gateway strips it; no provider sees it."""

REDACTED: Final = "<redacted>"

MIN_BEGINNING: Final = 8
"""Characters of a secret that tell more of it than which vendor's it is."""

_AUTHENTICATING: Final = frozenset({BEARER.header, X_API_KEY.header})


class Delegated(Secret):
    """A user's own key in the hands of somebody who acts for them: not even a hint of it shows."""

    __slots__ = ()

    @property
    def hint(self) -> str:
        return REDACTED

    def __repr__(self) -> str:
        return REDACTED


class Carried:
    """The headers that authenticate a call: they replace whatever authenticates it already."""

    __slots__ = ("__headers", "__value")

    def __init__(self, slot: Slot, secret: Secret, *more: tuple[bytes, bytes]) -> None:
        self.__value = secret.reveal_secret_value().encode()
        self.__headers: Headers = [(slot.header, slot.value(secret)), *more]

    def put_on(self, headers: Headers) -> Headers:
        """`headers` (lower-case names) with these instead of any credential or of any header of the same name."""
        replaced = _AUTHENTICATING | {name for name, _ in self.__headers}
        return [pair for pair in headers if pair[0] not in replaced] + self.__headers

    def taken_out(self, headers: Headers) -> Headers:
        """`headers` of an answer without the credential, wherever it stands in them."""
        if not self.__value:
            return headers
        return [(name, value.replace(self.__value, REDACTED.encode())) for name, value in headers]

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (REDACTED,))

    def __copy__(self) -> Carried:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Carried:
        return self


def without_credentials(headers: Headers) -> Headers:
    """For a provider that gets none: the SDK's placeholder goes too."""
    return [pair for pair in headers if pair[0] not in _AUTHENTICATING]


def slot_of(provider_type: str) -> Slot:
    """Where a user's own key stands: in `X-Api-Key` for Anthropic's format, else it is a bearer."""
    return X_API_KEY if provider_type in ("anthropic", "bedrock") else BEARER


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """`text` without any of `secrets`, also where it was cut in the middle of one."""
    for secret in secrets:
        value = secret.reveal_secret_value()
        if value:
            text = text.replace(value, REDACTED)
            text = _without_beginning(text, value)
    return text


def _without_beginning(text: str, value: str) -> str:
    """Of `value`, when the text ends with enough of it to be of use to somebody."""
    bare = text.removesuffix("\u2026")
    for length in range(len(value) - 1, MIN_BEGINNING - 1, -1):
        if bare.endswith(value[:length]):
            return bare[:-length] + REDACTED + text[len(bare) :]
    return text
