"""Which provider types there are, which instances are configured, and which of them a path names.

A new provider type is one module and one line in `PROVIDER_TYPES`.

`<prefix>/<name>/...` is the data plane. The prefix is whatever a host application mounted the gateway under
(`root_path`), then the canonical one, the legacy one, or none. Only `scope["path"]` decides. A path in which two
readers could see different routes (dot segments, empty segments, encoded slashes, backslashes, `;`, control
characters, bytes that are no UTF-8) names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from providers.anthropic.provider import ANTHROPIC
from providers.base import Provider, ProviderType
from providers.copilot.provider import COPILOT
from providers.openai.provider import OPENAI
from providers.options import INSTANCE_NAME

PROVIDER_TYPES: Final[Mapping[str, ProviderType]] = {t.name: t for t in (OPENAI, ANTHROPIC, COPILOT)}

PREFIXES: Final = ("/api/v2/ai-gateway", "/api/v2/aibridge")

_AMBIGUOUS: Final = re.compile(
    r"//|\\|;|[\x00-\x1f\x7f\ud800-\udfff\ufffd]|%2f|%5c|%3b|%2e|%25|/\.{1,2}(/|$)", re.IGNORECASE
)


class Registry:
    """The configured instances. Raises `ValueError` on an invalid or doubled name.

    Whoever holds it sees others after `take_over`; a `Provider` that was located before stays what it is.
    """

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            if not INSTANCE_NAME.fullmatch(provider.name):
                raise ValueError(
                    f"provider name {provider.name!r} is not of the form {INSTANCE_NAME.pattern}"
                )
            if provider.name in self._providers:
                raise ValueError(f"provider name {provider.name!r} is given twice: rename one of them")
            self._providers[provider.name] = provider

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def __len__(self) -> int:
        return len(self._providers)

    def take_over(self, other: Registry) -> None:
        """Hold the instances of `other` from now on, all at once."""
        self._providers = other._providers

    def locate(self, scope: Mapping[str, Any]) -> tuple[Provider, str] | None:
        """The instance that the path names and what follows its name, or None."""
        if is_ambiguous(scope) or not scope["path"].startswith("/"):
            return None
        name, slash, rest = below_prefix(scope).removeprefix("/").partition("/")
        provider = self._providers.get(name)
        return None if provider is None else (provider, slash + rest)

    def is_probe(self, scope: Mapping[str, Any]) -> bool:
        """Whether a client only asks if its base URL answers."""
        if scope["method"] not in ("HEAD", "GET"):
            return False
        located = self.locate(scope)
        return located is not None and located[1].rstrip("/") in ("", located[0].type.client_prefix)

    def error_body(self, scope: Mapping[str, Any], status: int, message: str, code: str) -> bytes | None:
        """The error in the shape of the provider that the path names, or None when it names none."""
        located = self.locate(scope)
        return None if located is None else located[0].error_body(located[1], status, message, code)


def is_ambiguous(scope: Mapping[str, Any]) -> bool:
    raw: bytes = scope.get("raw_path") or b""
    encoded = raw.partition(b"?")[0].decode("latin-1")
    return bool(_AMBIGUOUS.search(scope["path"]) or _AMBIGUOUS.search(encoded))


def below_prefix(scope: Mapping[str, Any]) -> str:
    """What follows the prefix in the path: `/<provider name>/...`, or a route of the gateway's own."""
    return _without(_without(scope["path"], (scope.get("root_path", ""),)), PREFIXES)


def _without(path: str, prefixes: Iterable[str]) -> str:
    """`path` without the first of the prefixes that it has; one is enough, so that a route has one name under each."""
    for prefix in prefixes:
        if prefix and path.startswith(prefix + "/"):
            return path[len(prefix) :]
    return path
