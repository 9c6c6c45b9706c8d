"""The seam to whoever signs for a Bedrock instance: what is asked, what comes back, and what can be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from providers.base import Headers
from providers.secret import Secret


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request to sign. `url` is percent-encoded and has no query; every header given is signed."""

    method: str
    url: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """The headers to add, and whose key made them."""

    headers: Headers
    access_key: Secret


class KeysUnavailable(Exception):
    """There are no keys to sign with; the message says why and is safe to show."""


class Signer(Protocol):
    """Signs for one instance. It may have to fetch its keys, and fetches them again before they expire."""

    async def open(self) -> None:
        """Make sure that there are keys. Raises `KeysUnavailable`."""
        ...

    async def close(self) -> None: ...

    async def sign(self, request: Unsigned, access_key: Secret | None) -> Signature:
        """With the pair of `access_key`, or with None whatever there is. Raises `KeysUnavailable`."""
        ...
