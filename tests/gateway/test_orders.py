"""The order of the layers: whatever the declarations allow behaves the same, and everything else is refused.

Seventeen layers have 355,687,428,096,000 orders. The check reads a list from the outside in and refuses at the first
layer that can't stand where it does, so all orders that begin alike up to that layer get the same answer. Walking the
tree of beginnings therefore covers every order: its leaves are the allowed orders, and the shortest refused beginnings,
each tried here with two different ends. A seeded sample of whole orders checks that argument itself.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gateway.app import create_app
from gateway.stack import LAYERS, Layer, StackError, check_order
from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from middleware.limits import LimitsMiddleware
from providers.circuit import CircuitRules
from providers.secret import Secret
from tests.answers import anthropic, chat, responses
from tests.answers.turn import ToolUse, Turn
from tests.asgi import drive, http_scope
from tests.gateway.rig import (
    GOVERNANCE,
    PREFIX,
    TOKEN,
    USER_KEY,
    AppTransport,
    WatchedStore,
    gateway_settings,
    providers,
)
from tests.upstream import CUT, Received, Reply, Upstream
from tests.waiting import PATIENCE_S

SAMPLE: Final = 1000


# -- the orders -----------------------------------------------------------------------------------------------------


def allowed(beginning: tuple[Layer, ...] = ()) -> Iterator[tuple[Layer, ...]]:
    """Every order that the declarations allow."""
    if len(beginning) == len(LAYERS):
        yield beginning
    for layer in _can_follow(beginning):
        yield from allowed((*beginning, layer))


def refused(beginning: tuple[Layer, ...] = ()) -> Iterator[tuple[tuple[Layer, ...], Layer]]:
    """Every shortest beginning that can't be: one that could go on, and the layer that may not follow it."""
    followers = _can_follow(beginning)
    for layer in LAYERS:
        if layer in followers:
            yield from refused((*beginning, layer))
        elif layer not in beginning:
            yield beginning, layer


def _can_follow(beginning: tuple[Layer, ...]) -> list[Layer]:
    known = frozenset[str]().union(*(layer.provides for layer in beginning))
    return [layer for layer in LAYERS if layer not in beginning and layer.requires <= known]


ALLOWED: Final = list(allowed())


def names(layers: tuple[Layer, ...]) -> str:
    return " ".join(layer.name.removesuffix("Middleware") for layer in layers)


# -- the requests ---------------------------------------------------------------------------------------------------

TURN: Final = Turn(
    text="The weather is fine",
    thought="let me think",
    tool=ToolUse("get_weather", '{"city":"Turin"}'),
    cached_tokens=5,
)
CENTRAL: Final = [("authorization", f"Bearer {TOKEN}"), ("user-agent", "codex/1.0"), ("session-id", "s-1")]
BYOK: Final = [
    (GOVERNANCE, TOKEN),
    ("x-api-key", USER_KEY),
    ("x-coder-agent", "a"),
    ("cookie", "a=b"),
    ("X-Stainless-Lang", "js"),
    ("x-dup", "1"),
    ("x-dup", "2"),
    ("connection", "x-hop"),
    ("x-hop", "gone"),
]
AWAY: Final = "fakeaway00-theauthoritycannotbeasked"
BREAKS: Final = "fakebreaks-theauthoritybreaks"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the status that it must lead to (0: the answer breaks off)."""

    status: int
    method: str = "POST"
    target: str = "/openai/v1/chat/completions"
    headers: list[tuple[str, str]] = field(default_factory=lambda: list(CENTRAL))
    body: bytes = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


STREAM: Final = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
MESSAGES: Final = (
    b'{"model":"m","stream":true,"max_tokens":9,'
    b'"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}'
)

ASKS: Final = {
    "a recorded stream": Ask(200, target="/anthropic/v1/messages?beta=true", body=MESSAGES),
    "a recorded stream with the usage edit": Ask(200, body=STREAM),
    "a recorded stream of responses": Ask(
        200, target="/openai/v1/responses", body=b'{"model":"m","stream":true,"input":"hi"}'
    ),
    "a blocking answer": Ask(200),
    "a blocking answer to a coded body": Ask(
        200,
        headers=[*CENTRAL, ("content-encoding", "gzip")],
        body=gzip.compress(b'{"model":"m","messages":[]}', mtime=0),
    ),
    "a passed-through route": Ask(200, "GET", "/openai/v1/models?a=%20b", body=b""),
    "a passed-through route with a body": Ask(200, target="/anthropic/v1/messages/count_tokens"),
    "a request with a user's key": Ask(200, target="/anthropic/v1/messages", headers=BYOK, body=MESSAGES),
    "a governance header without a user's key": Ask(200, headers=[(GOVERNANCE, TOKEN)]),
    "an error of the provider": Ask(429, body=b'{"model":"limited"}'),
    "a provider that is overloaded": Ask(503, body=b'{"model":"overloaded"}'),
    "a circuit that this has opened": Ask(503, body=b'{"model":"overloaded"}'),
    "a redirect of the provider": Ask(307, body=b'{"model":"elsewhere"}'),
    "an answer that breaks off": Ask(0, body=b'{"model":"cut","stream":true}'),
    "no token": Ask(400, headers=[]),
    "a bad token": Ask(403, headers=[("x-api-key", "fakewrong00-wrong")]),
    "the word delegated from a network": Ask(403, headers=[(GOVERNANCE, "delegated")]),
    "an authority that is away": Ask(503, headers=[("x-api-key", AWAY)]),
    "an authority that breaks": Ask(0, headers=[("x-api-key", BREAKS)]),
    "an unknown route": Ask(404, target="/openai/v1/files"),
    "an unknown provider": Ask(404, target="/nobody/v1/messages"),
    "a bad token on an unknown route": Ask(403, "GET", "/nobody", [("x-api-key", "fakewrong00-wrong")]),
    "a disabled provider": Ask(503, target="/off/v1/chat/completions"),
    "a body that is not JSON": Ask(400, body=b'{"model":'),
    "a body in an unknown coding": Ask(415, headers=[*CENTRAL, ("content-encoding", "br")]),
    "a body that is too large": Ask(413, body=b'{"a":"' + b"x" * 5000 + b'"}'),
    "a background response": Ask(501, target="/openai/v1/responses", body=b'{"model":"m","background":true}'),
    "a probe without a token": Ask(200, "HEAD", "/anthropic", [], b""),
}
WITHOUT_BYOK: Final = {
    "a user's key where that is off": Ask(403, target="/anthropic/v1/messages", headers=BYOK, body=MESSAGES),
    "a central key where users' keys are off": Ask(200),
}


TOO_MANY: Final = {
    "the last one of this second": Ask(200),
    "one too many": Ask(429),
    "one too many that is too large as well": Ask(429, body=b'{"a":"' + b"x" * 5000 + b'"}'),
    "an unknown route counts for nothing": Ask(404, target="/openai/v1/files"),
    "a bad token counts for nothing": Ask(403, headers=[("x-api-key", "fakewrong00-wrong")]),
    "a probe": Ask(200, "HEAD", "/anthropic", [], b""),
}


def script(request: Received) -> Reply:
    """Answers by what is asked: the path chooses the format, the model the trouble."""
    if request.method == "GET":
        return chat.models("m")
    if request.path.endswith("count_tokens"):
        return anthropic.token_count(3)
    if request.header("content-encoding"):
        return chat.reply(TURN, streamed=False)
    asked = json.loads(request.body)
    if asked["model"] == "limited":
        return chat.error(429, "rate_limit", "slow down", retry_after_s=3)
    if asked["model"] == "overloaded":
        return chat.error(503, "server_error", "come again")
    if asked["model"] == "elsewhere":
        return Reply(307, [(b"location", b"https://elsewhere.test/"), (b"set-cookie", b"a=b")])
    if asked["model"] == "cut":
        return Reply(200, [(b"content-type", b"text/event-stream")], [b"data: {}\n\n", b"data: {", CUT])
    streamed = bool(asked.get("stream"))
    if request.path.endswith("messages"):
        return anthropic.reply(TURN, streamed=streamed)
    if request.path.endswith("responses"):
        return responses.reply(TURN, streamed=streamed)
    return chat.reply(TURN, streamed=streamed, usage="stream_options" in asked)


class OneToken:
    """Knows TOKEN; can't be reached about AWAY, and breaks when asked about BREAKS."""

    async def authenticate(self, token: Secret) -> Identity:
        if token == Secret(BREAKS):
            raise LookupError("a mistake in the authenticator")
        if token == Secret(AWAY):
            raise AuthorityUnreachable
        if token != Secret(TOKEN):
            raise Unauthorized("it is another one")
        return Identity("user-1", "ada", "key-1")

    async def identify(self, api_key_id: str) -> Identity:
        raise Unauthorized("nobody acts for anybody here")


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that can be seen of one request, from each side, without what differs by nature (IDs, times)."""

    upstream: list[Any]
    client: list[Any]
    failure: str
    records: list[Any]

    @property
    def status(self) -> int:
        status: int = 0 if self.failure else self.client[0][1]
        return status


def _in_the_way(layer: Layer, rate_limit: int) -> Layer:
    """The layers that are off by default, turned on, in a time that stands still."""
    if layer.kind is LimitsMiddleware:
        return Layer(
            layer.kind,
            lambda app, p: LimitsMiddleware(app, max_concurrency=1, rate_limit=rate_limit, clock=lambda: 0.0),
            layer.why,
        )
    if layer.kind is CircuitBreakerMiddleware:
        rules = CircuitRules(failure_threshold=1)
        return Layer(
            layer.kind,
            lambda app, p: CircuitBreakerMiddleware(app, rules=rules, clock=lambda: 0.0),
            layer.why,
        )
    return layer


async def run(
    order: tuple[Layer, ...], asks: dict[str, Ask], folder: Path, *, rate_limit: int = 1000, **changes: Any
) -> dict[str, Outcome]:
    """Ask everything of a gateway whose layers stand in `order`, one after the other."""
    upstream, store = Upstream(script), WatchedStore()
    off = msgspec.structs.replace(providers("http://off.test")[0], name="off", enabled=False)
    settings = gateway_settings(
        dump_dir=str(folder),
        max_body_bytes=4000,
        providers=(*providers("https://provider.test/base"), off),
        **changes,
    )
    layers = [_in_the_way(layer, rate_limit) for layer in order]
    app = create_app(
        settings, authenticator=OneToken(), store=store, transport=AppTransport(upstream), layers=layers
    )
    outcomes: dict[str, Outcome] = {}
    async with app.lifespan():
        for name, ask in asks.items():
            requests, records = len(upstream.requests), len(store.records)
            scope = http_scope(ask.method, PREFIX + ask.target, headers=[("host", "gw"), *ask.headers])
            async with drive(app, scope, body=ask.body) as client:
                await client.ended()
                failure = type(await client.failed()).__name__ if client.exception else ""
            assert await app.drain.flush(PATIENCE_S)
            outcomes[name] = Outcome(
                [_plain(request) for request in upstream.requests[requests:]],
                [_message(message) for message in client.messages],
                failure,
                _records(store, records),
            )
    return outcomes


def _plain(request: Received) -> Any:
    return request.method, request.raw_path, request.query, request.headers, request.body


def _message(message: Any) -> Any:
    if message["type"] != "http.response.start":
        return message["type"], message.get("body", b""), message.get("more_body", False)
    headers = [
        (name, b"<id>" if name == b"x-ai-gateway-request-id" else value) for name, value in message["headers"]
    ]
    return message["type"], message["status"], headers


def _records(store: WatchedStore, first: int) -> list[Any]:
    """The records, without IDs and times; which belong together shows, because all are of one request."""
    plain: list[dict[str, Any]] = [msgspec.to_builtins(record) for record in store.records[first:]]
    assert len({record["interception_id"] for record in plain}) == (1 if plain else 0)
    for record in plain:
        for name in ("id", "interception_id", "started_at", "ended_at", "created_at"):
            record.pop(name, None)
        record.get("metadata", {}).pop("request_id", None)
    return plain


# -- the tests ------------------------------------------------------------------------------------------------------


async def test_the_listed_order_answers_each_request_as_documented(tmp_path: Path) -> None:
    """What the other orders are compared with is itself right, and does not agree with them by being empty."""
    outcomes = await run(LAYERS, ASKS, tmp_path)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        name: ask.status for name, ask in ASKS.items()
    }
    recorded = {name for name, outcome in outcomes.items() if outcome.records}
    reached = {name for name, outcome in outcomes.items() if outcome.upstream}
    assert len(recorded) == 12
    assert reached - recorded == {"a passed-through route", "a passed-through route with a body"}
    assert recorded - reached == {"a circuit that this has opened"}


async def test_the_listed_order_keeps_the_rate(tmp_path: Path) -> None:
    """Only what got as far as the limits counts."""
    outcomes = await run(LAYERS, TOO_MANY, tmp_path, rate_limit=1)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        name: ask.status for name, ask in TOO_MANY.items()
    }


@pytest.mark.parametrize("order", ALLOWED, ids=names)
async def test_every_allowed_order_behaves_the_same(order: tuple[Layer, ...], tmp_path: Path) -> None:
    """The same bytes upstream, the same bytes to the client, the same records, for each request."""
    turns: list[tuple[dict[str, Ask], dict[str, Any]]] = [
        (ASKS, {}),
        (WITHOUT_BYOK, {"allow_byok": False}),
        (TOO_MANY, {"rate_limit": 1}),
    ]
    for asks, changes in turns:
        expected = await run(LAYERS, asks, tmp_path / "listed", **changes)
        outcomes = await run(order, asks, tmp_path / "this", **changes)
        for name, outcome in outcomes.items():
            assert outcome == expected[name], name


def test_more_than_one_order_is_allowed() -> None:
    """The comparison means something, and the listed order is among the allowed."""
    assert len(ALLOWED) > 1
    assert LAYERS in ALLOWED
    for order in ALLOWED:
        check_order(order)


def test_every_other_order_is_refused_with_one_sentence_that_names_both_layers() -> None:
    """Whichever way an order goes wrong, start-up says which layer needs what, and who sets it."""
    wrong = list(refused())
    assert len(wrong) > len(LAYERS)
    for beginning, layer in wrong:
        rest = [other for other in LAYERS if other not in beginning and other is not layer]
        for end in (rest, rest[::-1]):
            _assert_refused((*beginning, layer, *end), layer, rest)


def test_a_sample_of_whole_orders_is_judged_as_the_tree_of_beginnings_says() -> None:
    """Orders drawn at random: each is among the allowed, or refused."""
    chance = random.Random(20)  # a fixed seed: the same orders each time
    drawn = [tuple(chance.sample(LAYERS, len(LAYERS))) for _ in range(SAMPLE)]
    moved = [_moved(place, to) for place in range(len(LAYERS)) for to in range(len(LAYERS))]
    for order in (*drawn, *moved):
        if order in ALLOWED:
            check_order(order)
        else:
            with pytest.raises(StackError, match="needs `"):
                check_order(order)


@pytest.mark.parametrize("missing", LAYERS, ids=lambda layer: layer.name)
def test_a_missing_layer_is_named_with_the_one_that_needs_it(missing: Layer) -> None:
    """Only a layer that nobody needs may be left out."""
    rest = tuple(layer for layer in LAYERS if layer is not missing)
    needing = [layer for layer in rest if layer.requires & missing.provides]
    if not needing:
        check_order(rest)
        return
    with pytest.raises(StackError) as error:
        create_app(gateway_settings(), store=WatchedStore(), layers=rest)
    assert f"add {missing.name} outside it" in str(error.value)
    assert str(error.value).startswith(needing[0].name)


@pytest.mark.parametrize("doubled", LAYERS, ids=lambda layer: layer.name)
def test_a_layer_given_twice_is_refused(doubled: Layer) -> None:
    """Twice the same work is never meant."""
    with pytest.raises(StackError) as error:
        create_app(gateway_settings(), store=WatchedStore(), layers=[*LAYERS, doubled])
    assert str(error.value) == f"{doubled.name} is in the stack twice: remove one of them"


def _moved(place: int, to: int) -> tuple[Layer, ...]:
    """The listed order with one layer elsewhere."""
    order = list(LAYERS)
    order.insert(to, order.pop(place))
    return tuple(order)


def _assert_refused(order: tuple[Layer, ...], layer: Layer, inside: list[Layer]) -> None:
    with pytest.raises(StackError) as error:
        create_app(gateway_settings(), store=WatchedStore(), layers=order)
    sentence = str(error.value)
    setter = next(other for other in inside if sentence.endswith(f"put {other.name} outside it"))
    fields = layer.requires & setter.provides
    assert any(
        sentence.startswith(f"{layer.name} needs `{name}`, which {setter.name} sets:") for name in fields
    )
    assert "\n" not in sentence
