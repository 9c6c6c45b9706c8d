"""The management API as an ASGI application.

Place: innermost, behind errors, telemetry and auth, as the data plane's pipeline is: it reads `caller` of the
exchange, speaks to the client by raising, and adds no layer of its own. `is_management` tells by the path which of
the two a request is for, at the cost of a look-up.

Prompts and tokens are in the answers, so nothing may cache them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from gateway.accounts import Accounts
from gateway.api.desk import Desk
from gateway.api.openapi import describe
from gateway.api.operations import DOCUMENT, OPERATIONS, SEGMENTS, Operation
from gateway.api.parameters import NoParameters, read_body, read_query
from middleware.errors import (
    BodyTooLarge,
    ClientLeft,
    Forbidden,
    RouteNotSupported,
    Unavailable,
)
from middleware.exchange import Exchange, Identity
from providers.registry import below_prefix
from recorders.stores.base import StoreError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.provider_keys import ProviderKeys
    from recorders.stores.database import Database

MAX_BODY_BYTES: Final = 64 * 1024

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def is_management(scope: Mapping[str, Any]) -> bool:
    return below_prefix(scope)[1:].partition("/")[0] in SEGMENTS


def management_api(database: Database, *, provider_keys: ProviderKeys, allow_byok: bool) -> ASGIApp:
    """The application on an open database. It wants a `caller` on the exchange."""
    accounts = Accounts(database)

    def desk(caller: Identity) -> Desk:
        return Desk(caller, database, accounts, provider_keys, allow_byok)

    paths = dict.fromkeys(operation.path for operation in OPERATIONS)
    routes = [Route(DOCUMENT, _Document())]
    routes += [Route(path, _Resource(_of(path), desk)) for path in paths]
    router = Router(routes, redirect_slashes=False, default=_unknown)

    async def below(scope: Scope, receive: Receive, send: Send) -> None:
        prefix = scope["path"].removesuffix(below_prefix(scope))
        await router({**scope, "root_path": prefix}, receive, send)

    return below


def _of(path: str) -> dict[str, Operation]:
    return {operation.method: operation for operation in OPERATIONS if operation.path == path}


class _Resource:
    """What can be done at one path."""

    def __init__(self, operations: dict[str, Operation], desk: Callable[[Identity], Desk]) -> None:
        self._operations = operations
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["method"])
        if operation is None:
            await _not_allowed(scope, self._operations)(scope, receive, send)
            return
        caller = Exchange.of(scope).caller
        if caller is None:
            raise RuntimeError("the management API needs the auth layer outside it")
        if not operation.allows(caller.role):
            raise Forbidden(f"this needs the role {operation.role}")
        given = await _given(operation, Request(scope, receive))
        try:
            answer = await operation.handler(self._desk(caller), given, **scope["path_params"])
        except StoreError as error:
            raise Unavailable("could not reach the database", retry_after_s=5) from error
        await _json(answer, operation.status)(scope, receive, send)


class _Document:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await _not_allowed(scope, ("GET",))(scope, receive, send)
            return
        read_query(scope["query_string"], NoParameters)
        await _json(describe(server=scope["root_path"] or "/"))(scope, receive, send)


async def _given(operation: Operation, request: Request) -> msgspec.Struct:
    query = request.scope["query_string"]
    if not operation.has_body:
        return read_query(query, operation.takes)
    read_query(query, NoParameters)
    return read_body(await _body(request), operation.takes)


async def _body(request: Request) -> bytes:
    """A management request is small, or wrong."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLarge(MAX_BODY_BYTES)
    except ClientDisconnect:
        raise ClientLeft from None
    return bytes(body)


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    raise RouteNotSupported(scope["method"], scope["path"])


def _not_allowed(scope: Scope, methods: Iterable[str]) -> Response:
    message = RouteNotSupported(scope["method"], scope["path"]).message
    response = _json({"message": message}, 405)
    response.headers["allow"] = ", ".join(methods)
    return response


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, _HEADERS, "application/json")
