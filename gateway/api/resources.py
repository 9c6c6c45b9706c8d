"""A table of operations as an ASGI application: what every API of ours does, whatever it is about.

Place: innermost, behind errors, telemetry and auth, as the data plane's pipeline is: it reads `caller` of the
exchange, speaks to the client by raising, and adds no layer of its own.

Prompts and tokens are in the answers, so nothing may cache them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from gateway.api.openapi import describe
from gateway.api.operations import Api, Operation
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

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def serve(api: Api, desk: Callable[[Identity], Any], *, max_body_bytes: int) -> ASGIApp:
    """The application. It wants a `caller` on the exchange, and `desk` makes of it what the handlers work with."""
    paths = dict.fromkeys(operation.path for operation in api.operations)
    routes = [Route(api.document, _Document(api))]
    routes += [Route(path, _Resource(_of(api, path), desk, max_body_bytes)) for path in paths]
    router = Router(routes, redirect_slashes=False, default=_unknown)

    async def below(scope: Scope, receive: Receive, send: Send) -> None:
        prefix = scope["path"].removesuffix(below_prefix(scope))
        await router({**scope, "root_path": prefix}, receive, send)

    return below


def _of(api: Api, path: str) -> dict[str, Operation]:
    return {operation.method: operation for operation in api.operations if operation.path == path}


class _Resource:
    """What can be done at one path."""

    def __init__(
        self, operations: dict[str, Operation], desk: Callable[[Identity], Any], max_body_bytes: int
    ) -> None:
        self._operations = operations
        self._desk = desk
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["method"])
        if operation is None:
            await _not_allowed(scope, self._operations)(scope, receive, send)
            return
        caller = Exchange.of(scope).caller
        if caller is None:
            raise RuntimeError("an API needs the auth layer outside it")
        if not operation.allows(caller.role):
            raise Forbidden(f"this needs the role {operation.role}")
        given = await self._given(operation, Request(scope, receive))
        try:
            answer = await operation.handler(self._desk(caller), given, **scope["path_params"])
            respond = _json(answer, operation.status) if isinstance(answer, msgspec.Struct) else answer
            await respond(scope, receive, send)
        except StoreError as error:
            raise Unavailable("could not reach the database", retry_after_s=5) from error

    async def _given(self, operation: Operation, request: Request) -> msgspec.Struct:
        query = request.scope["query_string"]
        if not operation.has_body:
            return read_query(query, operation.takes)
        read_query(query, NoParameters)
        return read_body(await _body(request, self._max_body_bytes), operation.takes)


class _Document:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await _not_allowed(scope, ("GET",))(scope, receive, send)
            return
        read_query(scope["query_string"], NoParameters)
        await _json(describe(self._api, server=scope["root_path"] or "/"))(scope, receive, send)


async def _body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise BodyTooLarge(max_bytes)
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
