"""Whether the gateway has a route that a document shows, with the query and the body that it shows there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import compile_path

from gateway.api.operations import MANAGEMENT, Operation
from gateway.api.parameters import read_query
from gateway.chat.api.operations import CHAT
from gateway.health import ALIVE, READY
from providers.registry import PREFIXES, PROVIDER_TYPES

OPERATIONS: Final = (*MANAGEMENT.operations, *CHAT.operations)
PLAIN: Final = frozenset({ALIVE, READY, "/metrics", MANAGEMENT.document, CHAT.document})
INSTANCES: Final = {name: name for name in PROVIDER_TYPES} | {"claude": "anthropic", "chatgpt": "openai"}
"""The type of each instance that the examples call."""

_OURS: Final = re.compile(r"(\$GATEWAY|http://(127\.0\.0\.1|localhost):4001)(?P<target>/.*)?")


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    target: str
    """Path below the prefix, and query."""
    body: str | None = None


def of_curl(words: list[str]) -> Call | None:
    """The request that a curl command makes of the gateway; None for another one's."""
    method, target, body, queries, as_query = "", None, None, list[str](), False
    following = iter(words[1:])
    for word in following:
        if word == "-X":
            method = next(following)
        elif word in ("-d", "--data"):
            body = next(following)
        elif word == "--data-urlencode":
            queries.append(next(following))
        elif word in ("-H", "-o", "-w", "--max-time"):
            next(following)
        elif word == "-G":
            as_query = True
        elif match := _OURS.fullmatch(word):
            target = match["target"] or "/"
    if target is None:
        return None
    if as_query:
        target = "?".join([target, "&".join(queries)])
    return Call(method or ("POST" if body else "GET"), target, body)


def check(call: Call) -> None:
    """`AssertionError`, or the error of the struct that the query or the body doesn't fit."""
    path, _, query = call.target.partition("?")
    for prefix in PREFIXES:
        path = path.removeprefix(prefix)
    if path in PLAIN:
        assert call.method in ("GET", "HEAD")
        return
    path = re.sub(r"\{[^}]*\}|\$\w+", "x", path)
    operation = _operation(call.method, path)
    if operation is None:
        assert _is_providers(call.method, path), f"no such route: {call.method} {path}"
        return
    if "..." in call.target or "N" in dict(parse_qsl(query)).values() or "ID" in query:
        assert set(dict(parse_qsl(query))) <= set(operation.takes.__struct_fields__), query
    elif not operation.has_body:
        read_query(query.encode(), operation.takes)
    if call.body is not None:
        msgspec.convert(json.loads(call.body), operation.takes)


def _operation(method: str, path: str) -> Operation | None:
    for operation in OPERATIONS:
        if operation.method == method and compile_path(operation.path)[0].match(path):
            return operation
    return None


def _is_providers(method: str, path: str) -> bool:
    name, _, rest = path.removeprefix("/").partition("/")
    if name not in INSTANCES:
        return False
    kind = PROVIDER_TYPES[INSTANCES[name]]
    rest = f"/{rest}".removeprefix(kind.client_prefix)
    return any(endpoint.serves(method, rest) for endpoint in kind.endpoints)


def shown_in(pieces: Iterable[str]) -> list[Call]:
    """Routes in inline code: `GET /sessions`, `PUT /provider-keys/{provider}`, with or without a body behind."""
    found = [re.fullmatch(r"(GET|POST|PUT|DELETE) (/\S*).*", piece) for piece in pieces]
    return [Call(match[1], match[2]) for match in found if match]
