"""The OpenAPI document, made of the table of operations and the structs that they take and return."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from gateway.api.operations import Api, Operation, StructOrUnion

Schema = dict[str, Any]

_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")

_ERRORS: Final[Mapping[int, str]] = {
    400: "No token, or parameters that are wrong; the message names them all",
    403: "A token that is not accepted, a role that is not enough, or what the operator has turned off",
    404: "There is no such thing, or none that the caller may see",
    405: "The path knows other methods",
    409: "What is there already stands in the way",
    413: "The body is too large",
    503: "The database, or the authority that knows tokens, can't be reached",
}
_ALWAYS: Final = (400, 403, 503)

_SECURITY: Final[Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A gateway token."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "A gateway token."},
    "governance": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Coder-AI-Governance-Token",
        "description": "A gateway token; it goes before the others.",
    },
}


class Error(msgspec.Struct, frozen=True):
    """What went wrong, in words that can be shown."""

    message: str


def describe(api: Api, *, server: str) -> Schema:
    """The document for the API below the URL path `server`."""
    return {**_document(api), "servers": [{"url": server}]}


@cache
def _document(api: Api) -> Schema:
    structs = [operation.returns for operation in api.operations]
    bodies = [operation.takes for operation in api.operations if operation.has_body]
    _, schemas = msgspec.json.schema_components([Error, *structs, *bodies], ref_template=_REF)
    paths: dict[str, Schema] = {api.document: {"get": _of_itself()}}
    for operation in api.operations:
        path = _PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": "1", "description": api.description},
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


def _operation(operation: Operation) -> Schema:
    statuses = sorted({*_ALWAYS, *operation.errors, *((413,) if operation.has_body else ())})
    described: Schema = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "description": f"Needs the role {operation.role}.",
        "parameters": [*_in_path(operation), *([] if operation.has_body else _in_query(operation.takes))],
        "responses": {
            str(operation.status): _response(operation.summary, operation.returns, _media_type(operation)),
            **{str(status): _response(_ERRORS[status], Error) for status in statuses},
        },
    }
    if operation.has_body:
        described["requestBody"] = {"required": True, "content": _content(operation.takes)}
    return described


def _of_itself() -> Schema:
    return {
        "operationId": "describe",
        "summary": "This document",
        "responses": {
            "200": {
                "description": "This document",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **{str(status): _response(_ERRORS[status], Error) for status in _ALWAYS},
        },
    }


def _media_type(operation: Operation) -> str:
    return "text/event-stream" if operation.is_stream else _JSON


def _response(description: str, kind: StructOrUnion, media_type: str = _JSON) -> Schema:
    return {"description": description, "content": _content(kind, media_type)}


def _content(kind: StructOrUnion, media_type: str = _JSON) -> Schema:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return {media_type: {"schema": schema}}


def _in_path(operation: Operation) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]


def _in_query(struct: type[msgspec.Struct]) -> list[Schema]:
    _, schemas = msgspec.json.schema_components([struct], ref_template=_REF)
    properties: dict[str, Schema] = schemas[struct.__name__].get("properties", {})
    return [_parameter(name, dict(schema)) for name, schema in properties.items()]


def _parameter(name: str, schema: Schema) -> Schema:
    """A parameter that may be left out can't be null."""
    if "anyOf" in schema:
        [schema] = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    description = schema.pop("description", "")
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
