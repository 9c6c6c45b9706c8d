"""Whatever a client sends: the gateway answers it, and never with a failure of its own.

Generated requests, from almost valid to noise, as a lenient server might hand them in. An answer of 500 would be an
exception that nobody thought of; an exception that comes out is a connection that breaks without a word.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from gateway.app import Gateway, create_app
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.memory import MemoryStore
from tests.asgi import call, http_scope
from tests.security.provider import TalkativeProvider

TOKEN: Final = "fakegateid-fakegatewaytokenfakegatewaytoken"
OURS_TO_SAY: Final = frozenset({200, 400, 403, 404, 413, 415, 501})

# -- what a client could send -------------------------------------------------------------------------------------

PATHS: Final = (
    *("/openai/v1/chat/completions", "/openai/v1/responses", "/openai/v1/models/x", "/anthropic/v1/messages"),
    *("/anthropic/v1/messages/count_tokens", "/copilot/v1/messages", "/copilot/agents/a", "/openai", "/", ""),
)
NAMES: Final = (
    *(b"content-encoding", b"content-length", b"content-type", b"connection", b"user-agent", b"session-id"),
    *(
        b"x-coder-chat-id",
        b"x-api-key",
        b"cookie",
        b"x-claude-code-session-id",
        b"transfer-encoding",
        b"accept-encoding",
    ),
)
VALUES: Final = (
    *(
        b"",
        b"gzip",
        b"deflate",
        b"br",
        b"identity",
        b"GZIP , gzip",
        b"-1",
        b"9" * 30,
        b"authorization",
        b"claude-cli/1",
    ),
    *(b"Bearer", b"Basic !!!", b"Basic YTpi", b"\xff\xfe", "kéy".encode()),
)
GOVERNANCE: Final = b"x-coder-ai-governance-token"
AUTH: Final = (
    [(b"x-api-key", TOKEN.encode())],
    [(b"authorization", b"Bearer " + TOKEN.encode())],
    [(GOVERNANCE, TOKEN.encode()), (b"authorization", b"Bearer own")],
    [(GOVERNANCE, TOKEN.encode()), (b"x-api-key", b"\xe9")],
)
KEYS: Final = (
    *(
        "model",
        "messages",
        "input",
        "stream",
        "stream_options",
        "metadata",
        "background",
        "role",
        "content",
        "type",
    ),
    *("text", "user_id", "include_usage", "tool_use_id", "call_id", "tool_call_id"),
)

scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just("\ud800")),
    *(
        st.just("_session_"),
        st.just('{"session_id":"s"}'),
        st.sampled_from(["user", "tool", "tool_result", "input_text"]),
    ),
)
documents = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        max_leaves=12,
    ),
    max_size=8,
).map(lambda document: json.dumps(document).encode())
bodies = st.one_of(
    *(st.binary(max_size=60), documents, documents.map(lambda body: body[: len(body) // 2])),
    *(
        documents.map(gzip.compress),
        documents.map(zlib.compress),
        documents.map(lambda b: gzip.compress(b)[:-9]),
    ),
    *(
        st.just(b"[" * 5000),
        st.just(b'{"a":' * 5000),
        st.just(b"\xef\xbb\xbf{}"),
        st.just(b'{"model":1e999}'),
    ),
)
paths = (
    st.sampled_from(PATHS)
    | st.builds(str.__add__, st.sampled_from(PATHS), st.text(max_size=6))
    | st.text(max_size=12)
)
headers = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.from_regex(rb"[a-z!#-]{1,8}", fullmatch=True),
        st.sampled_from(VALUES) | st.binary(max_size=12),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, Gateway]]:
    """A gateway that is open for all examples, in a loop of its own."""
    options = GatewayOptions(
        auth="static",
        journal_dir="",
        static_token=Secret(TOKEN),
        max_body_bytes=40_000,
        providers=tuple(
            ProviderOptions(type=name, name=name, keys=(Secret("fake-central-key-01"),))
            for name in ("openai", "anthropic", "copilot")
        ),
    )
    app = create_app(Settings(gateway=options), store=MemoryStore(), transport=_Provider())
    with asyncio.Runner() as runner:
        lifespan = app.lifespan()
        runner.run(lifespan.__aenter__())
        yield runner, app
        runner.run(lifespan.__aexit__(None, None, None))


class _Provider(TalkativeProvider):
    """Takes only what a real transport would send, so that the gateway has to have refused the rest."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if any(
            byte < 32 or byte == 127 for _, value in request.headers.raw for byte in value.replace(b"\t", b"")
        ):
            raise httpx.LocalProtocolError("a header that can't be sent", request=request)
        return await super().handle_async_request(request)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Scope, bytes]:
    """A scope and a body; most paths are served, and `raw_path` agrees with them or is noise."""
    served, plain = draw(st.integers(0, 9)) > 1, draw(st.integers(0, 9)) > 1
    method = "POST" if served else draw(st.sampled_from(["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"]))
    scope = http_scope(method, "/", headers=[*draw(st.sampled_from(AUTH)), *draw(headers)])
    scope["path"] = draw(st.sampled_from(PATHS)) if served else draw(paths)
    scope["raw_path"] = None if plain else draw(st.binary(max_size=12))
    scope["query_string"] = (
        b"beta=true" if plain else draw(st.binary(max_size=20) | st.sampled_from([b"#", b"?", b"%"]))
    )
    return scope, draw(bodies)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(request=requests())
def test_any_request_gets_an_answer(
    running: tuple[asyncio.Runner, Gateway], request: tuple[Scope, bytes]
) -> None:
    """What the provider says, or a refusal; complete, and in JSON where it is ours."""
    runner, app = running
    answer = runner.run(call(app, *request))
    assert answer.status in OURS_TO_SAY, answer.body
    assert answer.complete
    if answer.status != 200:
        assert json.loads(answer.body)
