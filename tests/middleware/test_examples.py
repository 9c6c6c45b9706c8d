"""Each example does what it says, in a plain Starlette application."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from recorders.records import InterceptionEnd
from tests.asgi import call, http_scope
from tests.middleware.exchanges import CHAT_BODY
from tests.middleware.standing import LAYERS
from tests.spans import Spans

FOLDER = Path(__file__).parent / "examples"
BEARER = ("authorization", "Bearer example-token")


def example(layer: str) -> ModuleType:
    return importlib.import_module(f"tests.middleware.examples.{layer}")


def examples() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def test_every_layer_has_an_example() -> None:
    """The upstream, which is the end of the pipeline and no layer, has one too."""
    assert examples() == sorted(["upstream", *(kind.__module__.rpartition(".")[2] for kind in LAYERS)])


@pytest.mark.parametrize("layer", examples())
def test_an_example_is_short_enough_to_quote(layer: str) -> None:
    """15 lines besides imports and blank ones."""
    lines = (FOLDER / f"{layer}.py").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith(("import ", "from "))]) <= 15


async def test_errors() -> None:
    """The message and the time to wait reach the client."""
    client = await call(example("errors").app, http_scope("GET", "/report"))
    assert (client.status, client.header("retry-after")) == (503, b"30")
    assert json.loads(client.body) == {"message": "the report is being written"}


async def test_telemetry(caplog: pytest.LogCaptureFixture) -> None:
    """The ID of the answer is the one in the log."""
    caplog.set_level(logging.INFO, "ai_gateway.access")
    client = await call(example("telemetry").app, http_scope("GET", "/"))
    (record,) = [each for each in caplog.records if each.name == "ai_gateway.access"]
    assert client.body == b"hello"
    assert client.header("x-ai-gateway-request-id") == vars(record)["request_id"].encode()


async def test_tracing() -> None:
    """The span has method, path and status."""
    app, spans = example("tracing").app, Spans()
    app.tracer = spans
    await call(app, http_scope("GET", "/"))
    assert (spans.root.ended, spans.root.name) == (1, "GET")
    assert spans.root.attributes["http.response.status_code"] == 200


async def test_attempt_tracing() -> None:
    """The provider is told of the attempt's span, and not of the request's."""
    app, spans = example("attempt_tracing").app, Spans()
    app.tracer = spans
    client = await call(app, http_scope("GET", "/corp/v1/models"))
    (attempt,) = spans.root.children
    assert client.body == attempt.traceparent != spans.root.traceparent


async def test_auth() -> None:
    """No token, a wrong one, the right one."""
    app = example("auth").app
    wrong = ("authorization", "Bearer wrong-token")
    answers = [
        await call(app, http_scope("GET", "/whoami", headers=headers)) for headers in ([], [wrong], [BEARER])
    ]
    assert [answer.status for answer in answers] == [400, 403, 200]
    assert answers[-1].body == b"alice"


async def test_governance() -> None:
    """A bearer alone was for the gateway; beside the governance header it is the user's own."""
    app = example("governance").app
    own = [BEARER, ("x-coder-ai-governance-token", "example-gateway-token")]
    answers = [
        json.loads((await call(app, http_scope("GET", "/", headers=headers))).body)
        for headers in ([BEARER], own)
    ]
    assert answers == [
        {"kind": "centralized", "authorization": None},
        {"kind": "byok", "authorization": "Bearer example-token"},
    ]


async def test_header_strip() -> None:
    """Both ways."""
    headers = [("cookie", "a=b"), ("x-forwarded-for", "::1"), ("x-actor-id", "me"), ("accept", "*/*")]
    client = await call(example("header_strip").app, http_scope("GET", "/", headers=headers))
    assert (json.loads(client.body), client.header("set-cookie")) == (["accept"], None)


async def test_route() -> None:
    """A listed route gets through, another is a 404, a probe is answered without the application."""
    app = example("route").app
    calls = [("POST", "/corp/v1/responses"), ("POST", "/corp/v1/files"), ("HEAD", "/corp/v1")]
    answers = [await call(app, http_scope(method, path)) for method, path in calls]
    assert [answer.status for answer in answers] == [200, 404, 200]
    assert answers[0].body == b"would go to /responses"
    assert answers[2].body == b""


async def test_limits() -> None:
    """Two at once are what a second brings, and the third has to wait for the next."""
    app = example("limits").app
    answers = [await call(app, http_scope("GET", "/", headers=[BEARER])) for _ in range(20)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    refused = next(answer for answer in answers if answer.status != 200)
    assert (refused.status, refused.header("retry-after")) == (429, b"1")


async def test_body() -> None:
    """The limit is exact."""
    app = example("body").app
    answers = [await call(app, http_scope("POST", "/"), bytes(size)) for size in (1000, 1001)]
    assert [answer.status for answer in answers] == [200, 413]
    assert answers[0].body == b"1000"


async def test_interception() -> None:
    """Who asked what, and what it cost."""
    module = example("interception")
    scope = http_scope("POST", "/model/v1/chat/completions", headers=[BEARER])
    client = await call(module.app, scope, CHAT_BODY)
    assert json.loads(client.body)["id"] == "answer-1"
    (start,), (prompt,), (tokens,) = (
        module.records.starts,
        module.records.prompts,
        module.records.token_usages,
    )
    assert (start.metadata["username"], start.model, prompt.prompt) == ("alice", "gpt-x", "hello")
    assert (tokens.input_tokens, tokens.output_tokens) == (2, 1)
    assert isinstance(module.records.records[-1], InterceptionEnd)


async def test_dispatch() -> None:
    """Path, host and key are the provider's, and so is the query the client's."""
    client = await call(example("dispatch").app, http_scope("GET", "/corp/v1/models?limit=1"))
    assert json.loads(client.body) == {
        "url": "https://openai.example/base/models?limit=1",
        "key": "Bearer example-key",
    }


async def test_failover() -> None:
    """The client hears of the second key alone."""
    client = await call(example("failover").app, http_scope("GET", "/corp/v1/models"))
    assert (client.status, client.body) == (200, b"hello to example-key-2")


async def test_circuit_breaker() -> None:
    """The third request meets no provider, and says so in the provider's shape."""
    app = example("circuit_breaker").app
    answers = [await call(app, http_scope("GET", "/corp/v1/models")) for _ in range(3)]
    assert [answer.body for answer in answers[:2]] == [b"out of order"] * 2
    assert (answers[2].status, answers[2].header("retry-after")) == (503, b"30")
    assert b"circuit breaker is open" in answers[2].body


async def test_bedrock() -> None:
    """Another path, another body, a signature."""
    body = b'{"model":"claude-x","max_tokens":9}'
    client = await call(example("bedrock").app, http_scope("POST", "/aws/v1/messages"), body)
    assert json.loads(client.body) == {
        "path": "/model/big/invoke",
        "body": {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9},
        "signed": True,
    }


def texts_below(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(folder).rglob("*.txt"))]


async def test_dump() -> None:
    """A request and an answer file, and no token in them."""
    module = example("dump")
    try:
        client = await call(module.app, http_scope("POST", "/shout", headers=[BEARER]), b"hello")
        module.app.close()
        texts = texts_below(module.folder)
    finally:
        shutil.rmtree(module.folder)
    assert client.body == b"HELLO"
    assert [text.partition(b"\r\n\r\n")[2] for text in texts] == [b"hello", b"HELLO"]
    assert all(b"example-token" not in text for text in texts)


async def test_upstream() -> None:
    """Mounted where its host chose, it speaks to the provider."""
    client = await call(example("upstream").app, http_scope("GET", "/ai/corp/v1/models?limit=1"))
    assert client.body == b"here is https://openai.example/v1/models?limit=1"
    assert (await call(example("upstream").app, http_scope("GET", "/ai/corp/v1/files"))).status == 404
