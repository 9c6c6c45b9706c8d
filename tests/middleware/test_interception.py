"""The interception layer: what is recorded, when, and that the bytes don't mind."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import (
    BadRequest,
    ClientLeft,
    RecordingFailed,
    UpstreamBroke,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import CHUNKS, Exchange
from middleware.interception import InterceptionMiddleware
from providers.base import BEARER, Credential, Endpoint, Fact, Provider, RequestFacts, Route, StreamFilter
from providers.pass_through import PassThrough
from providers.secret import Secret
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)
from recorders.sink import RecordingUnavailable
from recorders.stores.memory import MemoryStore
from tests.answers import anthropic, chat, responses
from tests.answers.turn import STREAM_HEADERS, ToolUse, Turn, streaming
from tests.asgi import Drive, call, drive
from tests.middleware.exchanges import (
    ANTHROPIC_INSTANCE,
    CENTRAL_KEY,
    CHAT_BODY,
    MESSAGES_BODY,
    OPENAI_INSTANCE,
    USER_KEY,
    Inward,
    chunk,
    known_scope,
    raising,
    read_body,
    start,
)
from tests.upstream import CUT, Reply, Upstream

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TURN = Turn(
    text="It is sunny.",
    thought="Let me see.",
    tool=ToolUse("weather", '{"city": "Zürich"}', "call-1"),
    response_id="resp-1",
    cached_tokens=7,
)
STREAMED_CHAT = b'{"model":"gpt-x","stream":true,"messages":[{"role":"user","content":"hello"}]}'
RESPONSES_BODY = b'{"model": "gpt-x", "input": "hello"}'


def layer(app: ASGIApp, sink: Any, **options: Any) -> InterceptionMiddleware:
    ids = count(1)
    return InterceptionMiddleware(
        app, sink=sink, new_id=lambda: f"id-{next(ids)}", now=lambda: NOW, **options
    )


def messages_scope(**options: Any) -> Scope:
    return known_scope("/v1/messages", provider=ANTHROPIC_INSTANCE, body=MESSAGES_BODY, **options)


async def recorded(
    app: ASGIApp, scope: Scope | None = None, body: bytes = CHAT_BODY, **options: Any
) -> tuple[MemoryStore, Drive]:
    """What an exchange left, and what the client got; an exception of the exchange is taken as seen."""
    store = MemoryStore()
    async with drive(layer(app, store, **options), scope or known_scope(), body=body) as client:
        await client.ended()
        if client.exception is not None:
            await client.failed()
    return store, client


# -- the start ----------------------------------------------------------------------------------------------------


async def test_the_start_is_recorded_before_anything_goes_upstream() -> None:
    """Whoever is inside finds it recorded, and no end yet."""
    store = MemoryStore()
    seen: list[tuple[list[Record], str | None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((store.records, Exchange.of(scope).interception_id))
        await send(start())
        await send(chunk(b"{}", more=False))

    await call(layer(app, store), known_scope(headers=[("user-agent", "codex/1")]), CHAT_BODY)
    ((records, interception_id),) = seen
    assert interception_id == "id-1"
    assert records == [
        InterceptionStart(
            interception_id="id-1",
            initiator_id="user-1",
            api_key_id="key-1",
            provider="openai",
            provider_name="openai",
            model="gpt-x",
            client="Codex",
            client_session_id=None,
            started_at=NOW,
            metadata={
                "username": "alice",
                "request_user_agent": "codex/1",
                "api": "chat_completions",
                "request_id": "request-1",
            },
            credential_kind="centralized",
            credential_hint="fake...6789",
        )
    ]


@pytest.mark.parametrize(
    ("headers", "identity", "client", "session"),
    [
        ([("user-agent", "codex/1"), ("session_id", "s")], [], "Codex", "s"),
        ([("user-agent", "coder-agents/1")], [(b"x-coder-chat-id", b"chat")], "Coder Agents", "chat"),
        ([("user-agent", "claude-cli/2"), ("x-claude-code-session-id", "s")], [], "Claude Code", "s"),
        ([("user-agent", "curl/8"), ("session_id", "s")], [], "Unknown", None),
        ([("user-agent", "codex/1"), ("user-agent", "zed/1")], [], "Codex", None),
        ([], [], "Unknown", None),
    ],
)
async def test_client_and_session_are_named(
    headers: list[tuple[str, str]], identity: list[tuple[bytes, bytes]], client: str, session: str | None
) -> None:
    """From headers, those that header_strip has taken off included."""
    scope = known_scope(headers=headers)
    Exchange.of(scope).identity_headers = identity
    store, _ = await recorded(Inward(), scope)
    assert (store.starts[0].client, store.starts[0].client_session_id) == (client, session)


async def test_a_session_in_the_body_is_named() -> None:
    """Where Claude Code puts it."""
    session = "0b0e0000-0000-4000-8000-000000000001"
    document = {"model": "m", "messages": [], "metadata": {"user_id": json.dumps({"session_id": session})}}
    body = json.dumps(document).encode()
    headers = [("user-agent", "claude-cli/2")]
    scope = known_scope("/v1/messages", provider=ANTHROPIC_INSTANCE, body=body, headers=headers)
    store, _ = await recorded(Inward(), scope, body)
    assert store.starts[0].client_session_id == session


async def test_the_answered_tool_call_is_named() -> None:
    """Lineage begins here; a turn that only returns a result has no prompt."""
    body = b'{"model":"m","messages":[{"role":"tool","tool_call_id":"call-0","content":"ok"}]}'
    store, _ = await recorded(Inward(), known_scope(body=body), body)
    assert store.starts[0].correlating_tool_call_id == "call-0"
    assert not store.prompts


async def test_a_users_own_key_is_hinted_at() -> None:
    """The kind and four characters of each end, and never more."""
    scope = known_scope(kind="byok", headers=[("authorization", f"Bearer {USER_KEY}")])
    store, _ = await recorded(Inward(), scope)
    assert (store.starts[0].credential_kind, store.starts[0].credential_hint) == ("byok", "fake...ghij")
    assert USER_KEY not in str(store.records)


async def test_the_end_hints_at_what_went_upstream() -> None:
    """That is for dispatch to say, and a failover may have changed it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Exchange.of(scope).credential = Credential(BEARER, Secret("another-fake-key-0123"))
        await Inward()(scope, receive, send)

    store, _ = await recorded(app)
    assert store.starts[0].credential_hint == "fake...6789"
    assert store.ends[0].credential_hint == "anot...0123"


async def test_ids_and_times_are_real_without_being_told() -> None:
    """UUIDs of version 7 and aware times in UTC."""
    store = MemoryStore()
    await call(
        InterceptionMiddleware(Upstream(chat.reply(TURN, streamed=False)), sink=store),
        known_scope(),
        CHAT_BODY,
    )
    (begun,), (prompt,) = store.starts, store.prompts
    assert begun.interception_id[14] == prompt.id[14] == "7"
    assert begun.started_at.tzinfo is UTC


class Refusing:
    """A sink that takes no start."""

    def emit(self, record: Record) -> None:
        raise RecordingUnavailable("full")

    async def settle(self) -> None:
        """Nothing was taken."""


async def test_without_a_start_nothing_goes_upstream() -> None:
    """503 `failed to record interception`; the client may come back."""
    inward = Inward()
    async with drive(layer(inward, Refusing()), known_scope(), body=CHAT_BODY) as client:
        failure = await client.failed()
    assert isinstance(failure, RecordingFailed)
    assert (failure.status, failure.message) == (503, "failed to record interception")
    assert not inward.scopes


class Settling(MemoryStore):
    """A sink that notes what it holds whenever somebody waits for it, and fails on the settles of that number."""

    def __init__(self, *failing: int) -> None:
        super().__init__()
        self.failing = failing
        self.settled: list[list[str]] = []

    async def settle(self) -> None:
        self.settled.append([type(record).__name__ for record in self.records])
        if len(self.settled) in self.failing:
            raise RecordingUnavailable("the disk")


async def test_the_sink_settles_before_anything_goes_upstream_and_before_the_last_byte() -> None:
    """With a journal that syncs always, what the client has seen to its end is on the disk."""
    sink = Settling()
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(len(sink.settled))
        await send(start())
        for body in (b'{"id": ', b'"x"}'):
            await send(chunk(body))
            seen.append(len(sink.settled))
        await send(chunk(b"", more=False))
        seen.append(len(sink.settled))

    await call(layer(app, sink), known_scope(), CHAT_BODY)
    assert seen == [1, 1, 1, 2]
    assert sink.settled[0] == ["InterceptionStart"]
    assert sink.settled[1][-1] == "InterceptionEnd"
    assert len(sink.settled) == 2


async def test_a_start_that_does_not_settle_refuses_the_request_and_has_its_end() -> None:
    """Nothing goes upstream; the start may be on the disk after all, so that an end follows it."""
    sink, inward = Settling(1), Inward()
    async with drive(layer(inward, sink), known_scope(), body=CHAT_BODY) as client:
        assert isinstance(await client.failed(), RecordingFailed)
    assert not inward.scopes
    assert [(end.outcome, end.status) for end in sink.ends] == [("refused", 503)]


async def test_an_end_that_does_not_settle_costs_the_answer_nothing() -> None:
    """It is over; what the client gets doesn't depend on a disk any more."""
    sink = Settling(2)
    answer = await call(layer(Upstream(chat.reply(TURN, streamed=False)), sink), known_scope(), CHAT_BODY)
    assert answer.status == 200
    assert answer.body
    assert len(sink.ends) == 1


async def test_a_request_that_is_cancelled_while_its_start_settles_has_its_end() -> None:
    """A slow disk and an impatient client leave no interception without one."""

    class Slow(Settling):
        async def settle(self) -> None:
            await super().settle()
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()

    sink, inward = Slow(), Inward()
    with pytest.raises(asyncio.CancelledError):
        await layer(inward, sink)(known_scope(), never_asked, never_asked)
    assert [end.outcome for end in sink.ends] == ["client_left"]
    assert not inward.scopes


async def never_asked(message: Any = None) -> Any:
    raise AssertionError("nobody should get here")


async def test_a_route_that_only_passes_through_leaves_no_record() -> None:
    """And nothing about it changes: the very scope goes on."""
    inward = Inward()
    scope = known_scope("/v1/models", method="GET", headers=[("accept-encoding", "gzip")])
    store, _ = await recorded(inward, scope, b"")
    assert inward.scope is scope
    assert not store.records


# -- the facts ----------------------------------------------------------------------------------------------------

SPEAKERS: dict[str, tuple[Any, Provider, str, bytes]] = {
    "messages": (anthropic, ANTHROPIC_INSTANCE, "/v1/messages", MESSAGES_BODY),
    "chat": (chat, OPENAI_INSTANCE, "/v1/chat/completions", CHAT_BODY),
    "responses": (responses, OPENAI_INSTANCE, "/v1/responses", RESPONSES_BODY),
}
each_api = pytest.mark.parametrize("speaker", SPEAKERS.values(), ids=list(SPEAKERS))


@each_api
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_facts_of_an_answer_are_recorded(
    speaker: tuple[Any, Provider, str, bytes], streamed: bool
) -> None:
    """Prompt, tokens, tool call and thought, with IDs and times, under the provider's response ID."""
    answers, provider, path, body = speaker
    reply = answers.reply(TURN, streamed=streamed)
    store, client = await recorded(Upstream(reply), known_scope(path, provider=provider, body=body), body)
    assert client.body == b"".join(reply.chunks)
    (prompt,), (tokens,), (tool,), (end,) = store.prompts, store.token_usages, store.tool_usages, store.ends
    assert (prompt.prompt, prompt.msg_id, prompt.created_at) == ("hello", "resp-1", NOW)
    assert (tokens.input_tokens, tokens.output_tokens, tokens.cache_read_input_tokens) == (100, 10, 7)
    assert tokens.msg_id == "resp-1"
    assert (tool.tool, tool.tool_call_id, tool.msg_id) == ("weather", "call-1", "resp-1")
    assert (json.loads(tool.input), tool.injected) == ({"city": "Zürich"}, False)
    assert (end.outcome, end.status, end.error_type, end.ended_at) == ("completed", 200, None, NOW)
    assert {record.interception_id for record in store.records} == {"id-1"}
    if answers is not chat:
        (thought,) = store.thoughts
        source = "thinking" if answers is anthropic else "reasoning_summary"
        assert (thought.content, thought.metadata["source"]) == ("Let me see.", source)
    ids = [prompt.id, tokens.id, tool.id, *(each.id for each in store.thoughts)]
    assert len({"id-1", *ids}) == 1 + len(ids)


async def test_further_counts_are_kept() -> None:
    """Whatever else the provider counted is in the metadata."""
    store, _ = await recorded(Upstream(chat.reply(TURN, streamed=False)))
    assert store.token_usages[0].metadata["total_tokens"] == 117


async def test_a_prompt_is_recorded_even_if_no_answer_names_itself() -> None:
    """At the end, without a response ID; what the user asked isn't lost to a failing provider."""
    store, _ = await recorded(Upstream(chat.error(500, "server_error", "oops")))
    assert [(prompt.prompt, prompt.msg_id) for prompt in store.prompts] == [("hello", "")]


class Noting(MemoryStore):
    """Remembers how many messages the client had been sent when a record came."""

    client: Drive

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[type[Record], int] = {}

    def emit(self, record: Record) -> None:
        self.sent[type(record)] = len(self.client.messages)
        super().emit(record)


async def test_a_fact_is_recorded_before_the_chunk_that_completed_it_leaves() -> None:
    """A client that acts on a tool call finds it recorded; nothing waits for the end of the stream."""
    store = Noting()
    app = layer(Upstream(anthropic.reply(TURN, streamed=True)), store)
    async with drive(app, messages_scope(), body=MESSAGES_BODY) as store.client:
        await store.client.completed()
    bodies = [message.get("body", b"") for message in store.client.messages]

    def place(*parts: bytes) -> int:
        return next(at for at, body in enumerate(bodies) if all(part in body for part in parts))

    stops = [at for at, body in enumerate(bodies) if b"content_block_stop" in body]
    assert store.sent[InterceptionStart] == 0
    assert store.sent[PromptUsage] == place(b"message_start")
    assert store.sent[ModelThought] == stops[0]
    assert store.sent[ToolUsage] == stops[-1]
    assert store.sent[TokenUsage] >= place(b"message_delta")
    assert store.sent[InterceptionEnd] == place(b"message_stop")


@pytest.mark.parametrize("closing", [True, False])
async def test_the_end_is_recorded_before_the_last_byte_of_a_known_length(closing: bool) -> None:
    """The client has the whole answer with that byte, whether or not the server knows yet that it is over."""
    body = json.dumps(chat.completion(TURN)).encode()
    store = MemoryStore()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"Content-Length", str(len(body)).encode())))
        await send(chunk(body[:50]))
        await send(chunk(body[50:], more=not closing))
        if not closing:
            await send(chunk(b"", more=False))

    async with drive(layer(app, store), known_scope(), body=CHAT_BODY, held=True) as client:
        await client.message(0)
        client.step()
        await client.message(1)
        assert not store.ends
        client.step()
        await client.message(2)
        assert (store.ends[0].outcome, len(store.token_usages)) == ("completed", 1)
        client.release()
        await client.completed()
    assert len(store.ends) == 1


async def test_the_end_of_a_stream_is_recorded_before_its_last_event_leaves() -> None:
    """And not before that. Some clients hang up with that event, and wait for nothing behind it."""
    store = MemoryStore()
    events = anthropic.events(TURN)
    app = layer(Upstream(streaming(events)), store)
    async with drive(app, messages_scope(), body=MESSAGES_BODY, held=True) as client:
        for number in range(len(events)):
            await client.message(number)
            assert not store.ends
            client.step()
        assert (await client.message(len(events)))["body"] == events[-1]
        assert store.ends[0].outcome == "completed"
        client.release()
        await client.completed()
    assert len(store.ends) == 1


async def test_the_end_of_an_answer_of_unknown_length_is_recorded_before_its_last_message_leaves() -> None:
    """Only the end itself tells that there is no more."""
    store = MemoryStore()
    body = json.dumps(chat.completion(TURN)).encode()
    app = layer(Upstream(Reply(chunks=[body[:50], body[50:]])), store)
    async with drive(app, known_scope(), body=CHAT_BODY, held=True) as client:
        for number in range(3):
            await client.message(number)
            assert not store.ends
            client.step()
        assert not (await client.message(3))["more_body"]
        assert store.ends[0].outcome == "completed"
        client.release()
        await client.completed()


# -- exactly one end ----------------------------------------------------------------------------------------------


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without a word."""


async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns in mid-answer."""
    await send(start())
    await send(chunk(b"{"))


async def left_unsaid(scope: Scope, receive: Receive, send: Send) -> None:
    """Drains the provider after the client has left, and returns."""
    Exchange.of(scope).client_left = True
    await Inward()(scope, receive, send)


STREAM_ERROR = Reply(200, STREAM_HEADERS, [*chat.events(TURN)[:2], chat.error_event("server_error", "busy")])
TWO_ERRORS = Reply(
    200,
    STREAM_HEADERS,
    [chat.error_event("server_error", "the first"), chat.error_event("other", "the second")],
)
TYPED_WRONG = Reply(429, STREAM_HEADERS, chat.error(429, "rate_limit_error", "slow down").chunks)
LIMITED = chat.error(429, "rate_limit_error", "slow down")
GATEWAY_PAGE = Reply(502, ((b"content-type", b"text/html"),), [b"<h1>bad"])
ENDINGS: dict[str, tuple[Callable[[], ASGIApp], tuple[str, int | None, str | None, str | None]]] = {
    "normal": (lambda: Upstream(chat.reply(TURN, streamed=True)), ("completed", 200, None, None)),
    "an error status": (
        lambda: Upstream(LIMITED),
        ("upstream_failed", 429, "rate_limit_error", "slow down"),
    ),
    "a page that is no error body": (
        lambda: Upstream(GATEWAY_PAGE),
        ("upstream_failed", 502, "http_error", None),
    ),
    "an error event": (lambda: Upstream(STREAM_ERROR), ("upstream_failed", 200, "server_error", "busy")),
    "two error events": (
        lambda: Upstream(TWO_ERRORS),
        ("upstream_failed", 200, "server_error", "the first"),
    ),
    "an error status on what calls itself a stream": (
        lambda: Upstream(TYPED_WRONG),
        ("upstream_failed", 429, "rate_limit_error", "slow down"),
    ),
    "a cut": (
        lambda: Upstream(Reply(200, STREAM_HEADERS, [chat.events(TURN)[0], CUT])),
        ("upstream_failed", 200, "ConnectionCut", "the answer broke off"),
    ),
    "a cut, said by the upstream": (
        lambda: raising(UpstreamBroke("broke off")),
        ("upstream_failed", 502, "UpstreamBroke", "broke off"),
    ),
    "unreachable": (
        lambda: raising(UpstreamUnreachable("could not reach")),
        ("upstream_failed", 502, "UpstreamUnreachable", "could not reach"),
    ),
    "timed out": (
        lambda: raising(UpstreamTimeout("connect", 1)),
        (
            "upstream_failed",
            504,
            "UpstreamTimeout",
            "upstream timed out: connect took longer than 1 s",
        ),
    ),
    "refused": (lambda: raising(BadRequest("no token")), ("refused", 400, "BadRequest", "no token")),
    "the client left": (lambda: raising(ClientLeft()), ("client_left", 499, None, None)),
    "the client left unsaid": (lambda: left_unsaid, ("client_left", 200, None, None)),
    "an error of the program": (
        lambda: raising(ValueError("inner detail")),
        ("upstream_failed", None, "ValueError", "the answer broke off"),
    ),
    "silence": (
        lambda: silent,
        ("upstream_failed", None, "incomplete", "the answer ended before it was complete"),
    ),
    "no end": (
        lambda: unfinished,
        ("upstream_failed", 200, "incomplete", "the answer ended before it was complete"),
    ),
}


@pytest.mark.parametrize(("app", "ending"), ENDINGS.values(), ids=list(ENDINGS))
async def test_one_end_follows_the_start(
    app: Callable[[], ASGIApp], ending: tuple[str, int | None, str | None, str | None]
) -> None:
    """Whatever happened: outcome, status, and what kind of trouble it was."""
    store, _ = await recorded(app(), known_scope(body=STREAMED_CHAT), STREAMED_CHAT)
    (end,) = store.ends
    assert (end.outcome, end.status, end.error_type, end.error_message) == ending
    assert isinstance(store.records[-1], InterceptionEnd)
    assert len(store.starts) == 1


async def test_a_cancelled_request_has_its_end() -> None:
    """What was known by then is recorded too: nothing of it waits."""
    store = MemoryStore()
    app = layer(Upstream(Reply(200, STREAM_HEADERS, [*anthropic.events(TURN)[:3], asyncio.Event()])), store)
    async with drive(app, messages_scope(), body=MESSAGES_BODY) as client:
        await client.message(3)
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)
    assert [end.outcome for end in store.ends] == ["client_left"]
    assert len(store.prompts) == len(store.token_usages) == 1


async def test_a_cut_stream_records_what_was_known() -> None:
    """The tokens that the provider had counted are on the bill."""
    store, client = await recorded(
        Upstream(anthropic.reply(TURN, streamed=True, cut_after=2)), messages_scope(), MESSAGES_BODY
    )
    assert not client.complete
    assert [usage.input_tokens for usage in store.token_usages] == [100]


async def test_a_server_that_says_the_client_left_is_believed() -> None:
    """ASGI 2.4 servers raise `OSError` from `send` after a disconnect; that is nobody's failure."""
    store = MemoryStore()
    app = layer(Inward(), store)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": CHAT_BODY, "more_body": False}

    async def send(message: Any) -> None:
        raise OSError("the client has gone")

    scope = known_scope()
    with pytest.raises(OSError, match="gone"):
        await app(scope, receive, send)
    assert store.ends[0].outcome == "client_left"
    assert Exchange.of(scope).client_left


async def test_a_providers_words_do_not_carry_the_credential() -> None:
    """Some quote it in their errors; and however long they are, the record is short."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Exchange.of(scope).credential = Credential(BEARER, Secret(CENTRAL_KEY))
        text = f"Incorrect API key provided: {CENTRAL_KEY}. " + "x" * 5000
        await Upstream(chat.error(401, "invalid_request_error", text))(scope, receive, send)

    store, client = await recorded(app)
    message = store.ends[0].error_message or ""
    assert message.startswith("Incorrect API key provided: fake...6789. x")
    assert len(message) == 1000
    assert CENTRAL_KEY not in str(store.records)
    assert CENTRAL_KEY.encode() in client.body


# -- what can't be read -------------------------------------------------------------------------------------------


class Failing:
    """A reader that breaks in `feed`, in `close`, or in both; and the API that makes it."""

    name = "failing"

    def __init__(self, *, feeds: bool, closes: bool) -> None:
        self.feeds, self.closes = feeds, closes
        self.msg_id, self.complete, self.flaws = "msg-1", False, list[str]()

    def feed(self, data: bytes) -> Sequence[Fact]:
        if not self.feeds:
            raise RuntimeError("a bug in feed")
        return ()

    def close(self) -> Sequence[Fact]:
        if not self.closes:
            raise RuntimeError("a bug in close")
        return ()

    def read_request(self, body: bytes) -> RequestFacts:
        return RequestFacts()

    def reader(self, *, streamed: bool) -> Failing:
        return self

    def usage_filter(self) -> StreamFilter:
        return PassThrough()


@pytest.mark.parametrize(("feeds", "closes"), [(False, True), (True, False), (False, False)])
async def test_a_reader_that_fails_costs_a_flag_and_not_the_answer(
    feeds: bool, closes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The bytes pass, the log has one line, the record says that nothing was read."""
    caplog.set_level(logging.ERROR)
    scope = known_scope()
    api = Failing(feeds=feeds, closes=closes)
    Exchange.of(scope).route = Route(Endpoint(frozenset({"POST"}), "/x", api), "/x")
    store, client = await recorded(Upstream(Reply(chunks=[b"one", b"two"])), scope)
    assert client.chunks == [b"one", b"two"]
    (end,) = store.ends
    assert (end.outcome, end.error_type, end.error_message) == (
        "completed",
        "unreadable",
        "the reader failed",
    )
    assert [record.message for record in caplog.records] == ["a reader failed; the answer passes unread"]
    assert store.prompts[0].msg_id in ("msg-1", "")


async def test_a_compressed_answer_is_read_and_not_touched() -> None:
    """A provider may compress although it was asked not to."""
    coded = gzip.compress(json.dumps(chat.completion(TURN)).encode())
    headers = ((b"content-type", b"application/json"), (b"Content-Encoding", b"gzip"))
    store, client = await recorded(Upstream(Reply(200, headers, [coded[:20], coded[20:]])))
    assert client.body == coded
    assert client.headers == list(headers)
    assert (store.token_usages[0].input_tokens, store.ends[0].error_type) == (100, None)


async def test_an_answer_in_an_unknown_coding_is_flagged() -> None:
    """It was completed, and nobody knows what it cost."""
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"br"))
    store, client = await recorded(Upstream(Reply(200, headers, [b"\x8b\x00"])))
    assert client.body == b"\x8b\x00"
    (end,) = store.ends
    assert (end.outcome, end.error_type) == ("completed", "unreadable")
    assert "br" in (end.error_message or "")


# -- the two things it changes ------------------------------------------------------------------------------------


async def test_the_answer_is_asked_for_uncompressed() -> None:
    """Whatever the client accepts; all other headers stay as they are, in order."""
    inward = Inward()
    headers = [("b", "1"), ("Accept-Encoding", "gzip"), ("a", "2"), ("accept-encoding", "br"), ("b", "3")]
    await recorded(inward, known_scope(headers=headers))
    assert inward.request_headers == [
        (b"b", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
        (b"accept-encoding", b"identity"),
    ]


async def test_what_is_hidden_of_chunks_that_came_together_is_hidden_of_each() -> None:
    """The boundaries of the others stay, and a chunk of which nothing is left is none."""
    events = chat.events(TURN)
    messages = [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]},
        {"type": "http.response.body", "body": b"".join(events[:2]), "more_body": True, CHUNKS: events[:2]},
        {"type": "http.response.body", "body": b"".join(events[2:]), "more_body": False, CHUNKS: events[2:]},
    ]

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    store, client = await recorded(provider, known_scope(body=STREAMED_CHAT), STREAMED_CHAT)
    kept = [event for event in events if b'"choices": []' not in event]
    bodies = [message for message in client.messages if message["type"] == "http.response.body"]
    assert [chunk for message in bodies for chunk in message[CHUNKS]] == kept
    assert all(message["body"] == b"".join(message[CHUNKS]) for message in bodies)
    assert len(kept) == len(events) - 1
    assert store.token_usages[0].input_tokens == 100


async def test_a_chat_stream_is_asked_for_its_usage_and_the_client_does_not_see_it() -> None:
    """One member more goes up, one chunk less comes down, and every other byte is as it was."""
    upstream = Upstream(chat.reply(TURN, streamed=True))
    store, client = await recorded(upstream, known_scope(body=STREAMED_CHAT), STREAMED_CHAT)
    sent = upstream.requests[0].body
    assert json.loads(sent) == {**json.loads(STREAMED_CHAT), "stream_options": {"include_usage": True}}
    assert sent.replace(b'"stream_options":{"include_usage":true},', b"") == STREAMED_CHAT
    events = chat.events(TURN)
    assert client.chunks == [event for event in events if b'"choices": []' not in event]
    assert len(client.messages) == 1 + (len(events) - 1) + 1
    assert store.token_usages[0].input_tokens == 100


async def test_a_filtered_stream_announces_no_length() -> None:
    """What was the provider's length would be a lie."""
    events = chat.events(TURN)
    length = str(sum(map(len, events))).encode()
    reply = Reply(200, (*STREAM_HEADERS, (b"Content-Length", length)), events)
    store, client = await recorded(Upstream(reply), known_scope(body=STREAMED_CHAT), STREAMED_CHAT)
    assert client.header("content-length") is None
    assert client.complete
    assert store.ends[0].outcome == "completed"


async def test_the_edit_can_be_turned_off() -> None:
    """Then the request's bytes are the client's own, and so is all of the stream."""
    upstream = Upstream(chat.reply(TURN, streamed=True))
    scope = known_scope(body=STREAMED_CHAT)
    _, client = await recorded(upstream, scope, STREAMED_CHAT, request_stream_usage=False)
    assert upstream.requests[0].body == STREAMED_CHAT
    assert client.chunks == chat.events(TURN)


async def test_a_client_that_asked_for_usage_gets_it() -> None:
    """Nothing is edited, nothing is hidden."""
    body = STREAMED_CHAT[:-1] + b',"stream_options":{"include_usage":true}}'
    upstream = Upstream(chat.reply(TURN, streamed=True))
    _, client = await recorded(upstream, known_scope(body=body), body)
    assert upstream.requests[0].body == body
    assert client.chunks == chat.events(TURN)


COMPRESSED = gzip.compress(b"".join(chat.events(TURN)), mtime=0)


@pytest.mark.parametrize(
    "reply",
    [
        chat.error(400, "invalid_request_error", "unknown field stream_options"),
        Reply(
            200,
            (*STREAM_HEADERS, (b"content-encoding", b"gzip"), (b"content-length", b"%d" % len(COMPRESSED))),
            [COMPRESSED],
        ),
    ],
    ids=["an error", "a compressed stream"],
)
async def test_what_is_no_plain_stream_is_not_filtered(reply: Reply) -> None:
    """Its bytes and its length are the provider's."""
    _, client = await recorded(Upstream(reply), known_scope(body=STREAMED_CHAT), STREAMED_CHAT)
    assert client.body == b"".join(step for step in reply.chunks if isinstance(step, bytes))
    assert client.headers == list(reply.headers)


async def test_a_request_that_is_not_edited_keeps_its_receive() -> None:
    """In pieces as it came, when nothing outside has joined them."""
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["body"])
        seen.append(await read_body(receive))
        await send(start())
        await send(chunk(b"{}", more=False))

    async with drive(layer(app, MemoryStore()), known_scope(), body=[b"one", b"two"]) as client:
        await client.completed()
    assert seen == [b"one", b"two"]
