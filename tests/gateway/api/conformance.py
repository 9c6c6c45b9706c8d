"""Holds an API to its OpenAPI document: Schemathesis makes the requests, what fits the document and what doesn't.

They are the same ones in each run, and are answered in process. It says whether each answer is one that the document
allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from starlette.types import ASGIApp

from tests.asgi import Drive, call, http_scope

NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
EXAMPLES = 20


def calls_of(document: Mapping[str, Any]) -> list[Any]:
    """The operations of a document."""
    schema = openapi.from_dict(dict(document))
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def askings(calls: Iterable[Any]) -> list[Any]:
    """Each operation with what fits it, and with what doesn't where it takes anything."""
    return [
        pytest.param(operation, mode, id=f"{operation.label}, {mode.value}")
        for operation in calls
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation.query or operation.path_parameters or operation.body
    ]


def ask_all(operation: Any, mode: GenerationMode, answer: Callable[[Case[Any]], httpx.Response]) -> None:
    """Raises what the document doesn't allow."""
    checks: Any = CHECKS.get_by_names(NAMES)  # which are known once a document was read

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def ask(case: Case[Any]) -> None:
        case.validate_response(answer(case), checks=checks)

    ask()


async def send(app: ASGIApp, case: Case[Any], token: str) -> httpx.Response:
    """The case as requests would send it, answered in process."""
    prepared = requests.Request(**_known(case.as_transport_kwargs(base_url="http://gateway.test"))).prepare()
    assert prepared.url is not None
    headers = [(name, value) for name, value in prepared.headers.items() if name.lower() != "authorization"]
    headers.append(("authorization", f"Bearer {token}"))
    target = prepared.url.removeprefix("http://gateway.test").encode()
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    answer = await call(app, http_scope(str(prepared.method), target, headers=_raw(headers)), body)
    return _response(answer, httpx.Request(str(prepared.method), prepared.url))


def _known(arguments: dict[str, Any]) -> dict[str, Any]:
    """What a request is made of; the rest is how it is sent."""
    names = ("method", "url", "headers", "files", "data", "params", "auth", "cookies", "hooks", "json")
    return {name: value for name, value in arguments.items() if name in names}


def _raw(headers: Iterable[tuple[Any, Any]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        yield str(name).encode(), value if isinstance(value, bytes) else str(value).encode()


def _response(answer: Drive, request: httpx.Request) -> httpx.Response:
    response = httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)
    response.elapsed = timedelta()
    return response
