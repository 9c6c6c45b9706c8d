"""The OpenAPI document: valid, complete, and true under generated requests.

Schemathesis makes the requests from the document, what fits it and what doesn't, the same ones in each run; they are
answered in process. It says whether each answer is one that the document allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok

from gateway.api.openapi import describe
from gateway.api.operations import DOCUMENT, MANAGEMENT, OPERATIONS
from gateway.api.parameters import FILTERS
from gateway.history import answers
from tests.asgi import Drive, call, http_scope
from tests.gateway.api.house import House, house_at
from tests.recorders import samples

DESCRIBED = describe(MANAGEMENT, server="/api/v2/ai-gateway")
SCHEMA = openapi.from_dict(DESCRIBED)
CALLS: list[Any] = [result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)]
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
ASKINGS = [
    pytest.param(operation, mode, id=f"{operation.label}, {mode.value}")
    for operation in CALLS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.query or operation.path_parameters or operation.body
]
CHECKED: Any = CHECKS.get_by_names(NAMES)
EXAMPLES = 20


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def lived_in(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Where there is something of everything to answer with."""
    folder = tmp_path_factory.mktemp("openapi")
    stack = AsyncExitStack()

    async def move_in() -> House:
        house = await stack.enter_async_context(house_at(f"sqlite:///{folder}/gateway.db", folder))
        await house.record([house.started("i1"), *samples.whole("i1")[1:], house.started("i2", 1)])
        return house

    yield runner.run(move_in())
    runner.run(stack.aclose())


@pytest.mark.parametrize(("operation", "mode"), ASKINGS)
def test_every_answer_is_one_that_the_document_allows(
    runner: asyncio.Runner, lived_in: House, operation: Any, mode: GenerationMode
) -> None:
    """Of an admin, who gets furthest; no request makes a failure of our own."""

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
        response = runner.run(send(lived_in, case))
        case.validate_response(response, checks=CHECKED)

    ask()


async def send(house: House, case: Case[Any]) -> httpx.Response:
    """The case as requests would send it, answered in process."""
    prepared = requests.Request(**_known(case.as_transport_kwargs(base_url="http://gateway.test"))).prepare()
    assert prepared.url is not None
    headers = [(name, value) for name, value in prepared.headers.items() if name.lower() != "authorization"]
    headers.append(("authorization", f"Bearer {house.people['adam'].token}"))
    target = prepared.url.removeprefix("http://gateway.test").encode()
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    answer = await call(house.app, http_scope(str(prepared.method), target, headers=_raw(headers)), body)
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


def test_the_document_is_valid() -> None:
    """Each of its schemas is one, and each reference leads somewhere."""
    for name, schema in DESCRIBED["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({**schema, "components": DESCRIBED["components"]})
        assert schema["type"] == "object", name
    assert DESCRIBED["openapi"] == "3.1.0"
    assert len(CALLS) == len(OPERATIONS) + 1


def test_every_route_is_described() -> None:
    """With its method, its success and the errors that every route has."""
    described = {
        (method.upper(), path): operation
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
    }

    assert set(described) == {
        ("GET", DOCUMENT),
        *((one.method, one.path.replace(":path", "")) for one in OPERATIONS),
    }
    for operation in OPERATIONS:
        responses = described[operation.method, operation.path.replace(":path", "")]["responses"]
        assert {str(operation.status), "400", "403", "503"} <= set(responses)
    names = [parameter["name"] for parameter in described["GET", "/sessions"]["parameters"]]
    assert names == ["q", *FILTERS, "limit", "offset", "after_session_id", "after_initiator"]


def test_a_bound_is_told(lived_in: House) -> None:
    """The one that is enforced, because both come from one place."""
    [limit] = [
        parameter
        for parameter in DESCRIBED["paths"]["/sessions"]["get"]["parameters"]
        if parameter["name"] == "limit"
    ]

    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}


def test_the_document_says_where_it_was_asked_for(runner: asyncio.Runner, lived_in: House) -> None:
    """Under whatever path the gateway is mounted at."""

    async def servers(prefix: str, **scope: Any) -> Any:
        answer = await lived_in.ask(DOCUMENT, token=lived_in.people["mia"].token, prefix=prefix, **scope)
        return msgspec.json.decode(answer.body)["servers"]

    assert runner.run(servers("/api/v2/aibridge")) == [{"url": "/api/v2/aibridge"}]
    assert runner.run(servers("")) == [{"url": "/"}]
    assert runner.run(servers("/host", root_path="/host")) == [{"url": "/host"}]


def test_answers_are_described_by_name() -> None:
    """For clients that are generated from it."""
    assert {answers.SessionPage.__name__, answers.Thread.__name__, "Error"} <= set(
        DESCRIBED["components"]["schemas"]
    )
