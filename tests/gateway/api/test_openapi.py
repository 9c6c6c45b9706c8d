"""The OpenAPI document: valid, complete, and true under generated requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from schemathesis import GenerationMode

from gateway.api.openapi import describe
from gateway.api.operations import DOCUMENT, MANAGEMENT, OPERATIONS
from gateway.api.parameters import FILTERS
from gateway.history import answers
from tests.gateway.api.conformance import ask_all, askings, calls_of, send
from tests.gateway.api.house import House, house_at
from tests.recorders import samples

DESCRIBED = describe(MANAGEMENT, server="/api/v2/ai-gateway")
CALLS = calls_of(DESCRIBED)


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


@pytest.mark.parametrize(("operation", "mode"), askings(CALLS))
def test_every_answer_is_one_that_the_document_allows(
    runner: asyncio.Runner, lived_in: House, operation: Any, mode: GenerationMode
) -> None:
    """Of an admin, who gets furthest; no request makes a failure of our own."""
    token = lived_in.people["adam"].token
    ask_all(operation, mode, lambda case: runner.run(send(lived_in.app, case, token)))


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
