"""Each metric moves as it should, in the whole gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import httpx
import msgspec
import pytest
from starlette.types import Scope

from gateway.app import create_app
from gateway.reload import Reloads
from gateway.stack import LAYERS
from middleware.exchange import Identity
from middleware.limits import LimitsMiddleware
from middleware.metrics import MetricsMiddleware
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers import anthropic, chat
from tests.answers.turn import ToolUse, Turn
from tests.asgi import drive, http_scope
from tests.gateway.command import ROOT
from tests.gateway.metrics.scrape import Scrape, scraped
from tests.gateway.rig import (
    CENTRAL_KEYS,
    PREFIX,
    TOKEN,
    USER,
    AppTransport,
    Rig,
    WatchedStore,
    client_of,
    gateway_settings,
    in_process,
    providers,
)
from tests.upstream import CUT, Received, Reply, Upstream

AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}", "user-agent": "codex/1.0"}
CHAT: Final = "/openai/v1/chat/completions"
MESSAGES: Final = "/anthropic/v1/messages"
TURN: Final = Turn(text="Sunny", tool=ToolUse("get_weather", '{"city":"Turin"}'), cached_tokens=5)


def body(model: str = "m", prompt: str = "hi", *, stream: bool = False) -> bytes:
    return msgspec.json.encode(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], "max_tokens": 9}
    )


async def ask(
    rig: Rig,
    path: str = CHAT,
    content: bytes | None = None,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> httpx.Response:
    async with client_of(rig.app) as client:
        return await client.post(
            PREFIX + path, content=content or body(), headers={**AUTHORIZATION, **headers}
        )


def chat_scope() -> Scope:
    return http_scope("POST", PREFIX + CHAT, headers=AUTHORIZATION.items())


def helpful(request: Received) -> Reply:
    """Every model answers, and tells what it cost."""
    if request.method == "GET":
        return chat.models("m")
    streamed = b'"stream":true' in request.body
    reply = anthropic.reply if request.path.endswith("messages") else chat.reply
    return reply(TURN, streamed=streamed)


# -- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_recorded_request_is_counted_with_what_it_cost(stream: bool) -> None:
    """Once, under its own labels, in every metric that speaks of it."""
    async with in_process(Upstream(helpful), metrics_route=True) as rig:
        await ask(rig, content=body(stream=stream))
        await rig.ended()
        seen = await scraped(rig)
    (series,) = seen.series("interceptions_total")
    assert (series.value, series.labels) == (
        1,
        {
            "provider": "openai",
            "model": "m",
            "status": "completed",
            "code": "200",
            "route": "/chat/completions",
            "method": "POST",
            "client": "Codex",
        },
    )
    whose = {"provider": "openai", "model": "m", "client": "Codex"}
    assert seen.value("prompts_total", **whose) == 1
    assert seen.value("tool_calls_total", **whose) == 1
    tokens = {sample.labels["type"]: sample.value for sample in seen.series("tokens_total", **whose)}
    assert tokens == {"input": 100, "output": 10, "cache_read": 5}
    for timed in ("interceptions_duration_seconds", "time_to_first_byte_seconds"):
        assert seen.value(f"{timed}_count", provider="openai", model="m") == 1
        assert 0 < seen.value(f"{timed}_sum") < 60
    assert seen.value("records_total", record_type="interception_start") == 1
    assert seen.value("records_total") == seen.value("records_stored_total") == 5
    assert seen.value("records_lost_total") == 0


async def test_two_scrapes_say_the_same_when_nothing_happened_between() -> None:
    """Nothing is counted by being read, the scrapes themselves neither."""
    async with in_process(Upstream(helpful), metrics_route=True) as rig:
        await ask(rig)
        await rig.ended()
        assert await scraped(rig) == await scraped(rig)


async def test_a_request_under_way_is_in_flight_until_it_ends() -> None:
    """Under its model as soon as the provider has begun to answer, and nowhere any more afterwards."""
    gate = asyncio.Event()
    stream = Reply(200, [(b"content-type", b"text/event-stream")], [b": one\n\n", gate])
    async with in_process(Upstream(stream), metrics_route=True) as rig:
        async with drive(rig.app, chat_scope(), body=body(stream=True)) as client:
            await client.message(1)
            during = await scraped(rig)
            gate.set()
            await client.completed()
        after = await scraped(rig)
    labels = {"provider": "openai", "model": "m", "route": "/chat/completions"}
    assert during.value("interceptions_inflight", **labels) == during.value("interceptions_inflight") == 1
    assert after.value("interceptions_inflight") == 0
    assert after.series("interceptions_inflight", **labels)


async def test_what_passes_through_is_counted_by_route() -> None:
    """With the endpoint as it is listed, and not as an interception."""
    async with in_process(Upstream(helpful), metrics_route=True) as rig, client_of(rig.app) as client:
        await client.get(f"{PREFIX}/openai/v1/models?secret=1", headers=AUTHORIZATION)
        await client.get(f"{PREFIX}/openai/v1/responses/resp_4711/input_items", headers=AUTHORIZATION)
        seen = await scraped(rig)
    assert {sample.labels["route"]: sample.value for sample in seen.series("passthrough_total")} == {
        "/models": 1,
        "/responses/*": 1,
    }
    assert seen.value("passthrough_total", provider="openai", method="GET", code="200") == 2
    assert not seen.series("interceptions_total")


async def test_what_the_gateway_refuses_is_counted_by_its_reason() -> None:
    """Also where nothing is known yet of who asks and for what."""
    async with in_process(Upstream(helpful), metrics_route=True, max_body_bytes=200) as rig:
        await ask(rig, headers={"authorization": "Bearer fakewrong00-wrong"})
        await ask(rig, path="/openai/v1/files")
        await ask(rig, path="/nobody/v1/messages")
        await ask(rig, content=body(prompt="x" * 500))
        seen = await scraped(rig)
    refused = {(s.labels["provider"], s.labels["reason"]): s.value for s in seen.series("refused_total")}
    assert refused == {
        ("other", "Unauthorized"): 1,
        ("openai", "RouteNotSupported"): 1,
        ("other", "RouteNotSupported"): 1,
        ("openai", "BodyTooLarge"): 1,
    }
    assert not seen.series("interceptions_total")
    assert not seen.series("upstream_errors_total")


class Mistaken:
    """An authenticator with a mistake in it."""

    async def authenticate(self, token: Secret) -> Identity:
        raise LookupError("a mistake")

    async def identify(self, api_key_id: str) -> Identity:
        raise LookupError("a mistake")


async def test_a_mistake_of_the_gateways_own_shows() -> None:
    """Under a reason of its own, so that it can be alerted on."""
    store = WatchedStore()
    app = create_app(
        gateway_settings(metrics_route=True),
        store=store,
        authenticator=Mistaken(),
        transport=AppTransport(Upstream()),
    )
    async with app.lifespan():
        rig = Rig(app, Upstream(), store, "")
        assert (await ask(rig)).status_code == 500
        seen = await scraped(rig)
    assert seen.value("refused_total", reason="unexpected") == 1


async def test_a_client_that_leaves_is_told_from_a_provider_that_fails() -> None:
    """Each by its outcome; the status is the one that had been sent."""
    replies = [
        Reply(200, [(b"content-type", b"text/event-stream")], [b": one\n\n", asyncio.Event()]),
        Reply(200, [(b"content-type", b"text/event-stream")], [b"data: {}\n\n", CUT]),
        chat.error(400, "invalid_request_error", "no such model"),
    ]
    async with in_process(Upstream(replies), metrics_route=True) as rig:
        async with drive(rig.app, chat_scope(), body=body(stream=True)) as leaving:
            await leaving.message(1)
            leaving.disconnect()
            await leaving.ended()
        async with drive(rig.app, chat_scope(), body=body(stream=True)) as cut:
            await cut.failed()
        await ask(rig)
        seen = await scraped(rig)
    outcomes = {(s.labels["status"], s.labels["code"]): s.value for s in seen.series("interceptions_total")}
    assert outcomes == {
        ("client_left", "200"): 1,
        ("upstream_failed", "200"): 1,
        ("upstream_failed", "400"): 1,
    }
    assert {s.labels["error"]: s.value for s in seen.series("upstream_errors_total")} == {"broke": 1}
    assert not seen.series("refused_total")


class Away(httpx.AsyncBaseTransport):
    """A provider that can't be reached."""

    def __init__(self, error: type[httpx.TransportError]) -> None:
        self.error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self.error("fake")


@pytest.mark.parametrize(
    ("error", "named", "code"),
    [
        (httpx.ConnectError, "connect", "502"),
        (httpx.ConnectTimeout, "connect_timeout", "504"),
        (httpx.ReadTimeout, "first_byte_timeout", "504"),
    ],
)
async def test_a_provider_out_of_reach_is_named_by_how(
    error: type[httpx.TransportError], named: str, code: str
) -> None:
    """The client's status is that of the gateway's own answer."""
    store = WatchedStore()
    app = create_app(gateway_settings(metrics_route=True), store=store, transport=Away(error))
    async with app.lifespan():
        rig = Rig(app, Upstream(), store, "")
        assert (await ask(rig)).status_code == int(code)
        seen = await scraped(rig)
    assert seen.value("upstream_errors_total", provider="openai", error=named) == 1
    assert seen.value("interceptions_total", status="upstream_failed", code=code) == 1


async def test_attempts_that_failed_count_also_when_the_next_one_works() -> None:
    """What clients don't notice, operators do."""
    replies = [Reply(503, [(b"retry-after-ms", b"1")], [b"{}"]), chat.reply(TURN, streamed=False)]
    async with in_process(Upstream(replies), metrics_route=True, max_retries=1) as rig:
        assert (await ask(rig)).status_code == 200
        seen = await scraped(rig)
    assert seen.value("upstream_errors_total", error="503") == 1
    assert seen.value("interceptions_total") == seen.value("interceptions_total", status="completed") == 1


# -- labels ---------------------------------------------------------------------------------------------------------


async def test_no_client_can_make_a_label() -> None:
    """Methods, paths, models and texts that it makes up are `other`, wherever they are sent."""
    made_up = "x-made-up"

    def strict(request: Received) -> Reply:
        return (
            chat.error(404, "not_found", "no such model")
            if made_up.encode() in request.body
            else helpful(request)
        )

    async with in_process(Upstream(strict), metrics_route=True) as rig, client_of(rig.app) as client:
        for number in range(5):
            await ask(rig, content=body(f"{made_up}-{number}"))
        await ask(rig, content=body("tell me the secret of the prompt"))
        await ask(rig, content=body("m" * 200))
        await ask(rig, headers={"user-agent": made_up})
        await client.request(made_up.upper(), f"{PREFIX}/openai/{made_up}", headers=AUTHORIZATION)
        await client.get(f"{PREFIX}/{made_up}/v1/models", headers=AUTHORIZATION)
        seen = await scraped(rig)
    assert made_up not in seen.text.lower()
    assert "secret" not in seen.text
    models = {s.labels["model"] for s in seen.samples if "model" in s.labels}
    assert models == {"m", "other"}
    assert seen.value("interceptions_total", model="other", code="404") == 5
    assert seen.value("interceptions_total", model="other", code="200") == 2


async def test_beyond_a_hundred_models_an_instance_has_no_more_labels() -> None:
    """Another instance has its own hundred."""
    async with in_process(Upstream(helpful), metrics_route=True) as rig:
        for number in range(105):
            await ask(rig, content=body(f"model-{number}"))
        await ask(rig, MESSAGES, body("model-104"))
        seen = await scraped(rig)
    labels = {s.labels["model"] for s in seen.series("interceptions_total", provider="openai")}
    assert len(labels) == 101
    assert seen.value("interceptions_total", provider="openai", model="other") == 5
    assert seen.value("tokens_total", provider="openai", model="other", type="output") == 50
    assert seen.value("interceptions_total", provider="anthropic", model="model-104") == 1


@pytest.mark.parametrize("told", [False, True])
async def test_users_are_told_apart_only_where_it_is_asked_for(told: bool) -> None:
    """Then in what users cost, and nowhere else."""
    async with in_process(Upstream(helpful), metrics_route=True, metrics_initiator=told) as rig:
        await ask(rig)
        await rig.ended()
        seen = await scraped(rig)
    names = {s.name for s in seen.samples if s.labels.get("initiator") == USER}
    costs = ("interceptions_total", "prompts_total", "tokens_total", "tool_calls_total")
    assert names == ({f"ai_gateway_{name}" for name in costs} if told else set())
    assert (f'"{USER}"' in seen.text) is told


async def test_nothing_secret_is_told() -> None:
    """No credential, no prompt, no tool, no address of a provider, also where requests went wrong."""
    upstream = Upstream([helpful_reply(), chat.error(401, "invalid_key", CENTRAL_KEYS["openai"])])
    async with in_process(upstream, metrics_route=True, metrics_initiator=True) as rig:
        await ask(rig, content=body(prompt="my-prompt"))
        await ask(rig, content=body(prompt="my-prompt"))
        await rig.ended(2)
        text = (await scraped(rig)).text
    for secret in (
        TOKEN,
        *CENTRAL_KEYS.values(),
        "my-prompt",
        "get_weather",
        "Turin",
        "Sunny",
        "provider.test",
    ):
        assert secret not in text
    assert 'upstream_errors_total{error="401"' in text


def helpful_reply() -> Reply:
    return chat.reply(TURN, streamed=False)


# -- circuits, keys, journal, configuration -------------------------------------------------------------------------


async def test_a_circuit_shows_its_state_its_trips_and_what_it_refused() -> None:
    """By instance, endpoint and model."""
    failing = [helpful_reply(), *[chat.error(503, "server_error", "come again")] * 2]
    on: dict[str, Any] = {
        "circuit_breaker_enabled": True,
        "circuit_breaker_failure_threshold": 2,
        "circuit_breaker_timeout_s": 3600.0,
    }
    async with in_process(Upstream(failing), metrics_route=True, **on) as rig:
        assert [(await ask(rig)).status_code for _ in range(4)] == [200, 503, 503, 503]
        seen = await scraped(rig)
    circuit = {"provider": "openai", "route": "/chat/completions", "model": "m"}
    assert seen.value("circuit_breaker_state", **circuit) == 1
    assert seen.value("circuit_breaker_trips_total", **circuit) == 1
    assert seen.value("circuit_breaker_rejects_total", **circuit) == 1
    assert seen.value("interceptions_total", status="refused", code="503") == 1
    assert seen.value("upstream_errors_total", error="503") == 2
    assert seen.value("interceptions_duration_seconds_count") == 3


async def test_keys_show_which_of_them_can_be_used() -> None:
    """By their place; and how often one was taken out, and requests for which none was left."""
    keys = tuple(Secret(f"sk-fake-central-key-number-{number}") for number in range(3))
    pooled = (msgspec.structs.replace(providers("http://provider.test")[0], keys=keys),)

    def strict(request: Received) -> Reply:
        if (request.header("authorization") or "").endswith("0"):
            return Reply(401, chunks=[b"{}"])
        return Reply(429, [(b"retry-after", b"3600")], [b"{}"])

    async with in_process(Upstream(strict), metrics_route=True, providers=pooled) as rig:
        assert [(await ask(rig)).status_code for _ in range(2)] == [429, 429]
        seen = await scraped(rig)
    assert {s.labels["key"]: s.value for s in seen.series("key_pool_state", provider="openai")} == {
        "1": 2,
        "2": 1,
        "3": 1,
    }
    assert seen.value("key_pool_transitions_total", to="refused") == 1
    assert seen.value("key_pool_transitions_total", to="rate_limited") == 2
    assert seen.value("key_pool_exhaustions_total", provider="openai") == 2
    assert "sk-fake" not in seen.text


class Closed(WatchedStore):
    """A store that takes nothing until its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def write(self, records: Any) -> None:
        await self.gate.wait()
        await super().write(records)


async def test_the_journal_shows_what_waits() -> None:
    """And nothing any more once it is stored."""
    store = Closed()
    app = create_app(
        gateway_settings(metrics_route=True), store=store, transport=AppTransport(Upstream(helpful))
    )
    async with app.lifespan():
        rig = Rig(app, Upstream(), store, "")
        await ask(rig)
        waiting = await scraped(rig)
        store.gate.set()
        await rig.ended()
        stored = await scraped(rig)
    assert waiting.value("journal_records") == waiting.value("records_total") == 5
    assert waiting.value("journal_bytes") > 100
    assert waiting.value("journal_lag_seconds") > 0
    assert [stored.value(f"journal_{name}") for name in ("records", "bytes", "lag_seconds")] == [0, 0, 0]
    assert stored.value("records_stored_total") == 5


async def test_providers_and_reloads_are_told() -> None:
    """An instance that a reload has replaced is shown as 0, for what still reads its series."""
    one = ProviderOptions(type="openai", name="one", base_url="http://one.test/v1", keys=(Secret("sk-fake"),))
    other = msgspec.structs.replace(one, name="another")
    reloads = Reloads()
    async with in_process(Upstream(), metrics_route=True, providers=(one,)) as rig:
        assert rig.app.metrics is not None
        rig.app.metrics.read_reloads(reloads)
        before = await scraped(rig)
        await rig.app.reload(gateway_settings(providers=(msgspec.structs.replace(one, enabled=False), other)))
        reloads.last_success_s = 4_000_000_000.0
        after = await scraped(rig)
        reloads.last_refusal_s = 4_000_000_001.0
        refused = await scraped(rig)
    assert info(before) == {("one", "true"): 1}
    assert info(after) == {("one", "true"): 0, ("one", "false"): 1, ("another", "true"): 1}
    times = [s.value("config_last_reload_success_timestamp_seconds") for s in (before, after, refused)]
    assert 1_700_000_000 < times[0] < times[1]
    assert times[1:] == [4_000_000_000, 4_000_000_000]
    assert [s.value("config_last_reload_successful") for s in (before, after, refused)] == [1, 1, 0]


def info(seen: Scrape) -> dict[tuple[str, str], float]:
    return {(s.labels["provider"], s.labels["enabled"]): s.value for s in seen.series("provider_info")}


# -- on and off -----------------------------------------------------------------------------------------------------


async def test_without_a_place_to_tell_them_nothing_is_counted() -> None:
    """No layer, no observer, no route."""
    async with in_process(Upstream(helpful)) as rig, client_of(rig.app) as client:
        assert rig.app.metrics is None
        assert (await client.get("/metrics")).status_code == 400
        await ask(rig)
        await rig.ended()


def test_without_it_prometheus_client_is_not_loaded() -> None:
    """Commands start sooner, and take less memory."""
    script = (
        "import sys, gateway.__main__; from gateway.app import create_app; create_app();"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize("path", ["/metrics", f"{PREFIX}/metrics", "/api/v2/aibridge/metrics"])
async def test_the_route_asks_for_no_token_and_answers_only_to_be_read(path: str) -> None:
    """Under each prefix, as the routes beside it; another method is a path like any other."""
    async with in_process(Upstream(helpful), metrics_route=True) as rig, client_of(rig.app) as client:
        answers = [await client.get(path), await client.head(path), await client.post(path)]
        rig.app.refuse_new_requests()
        late = await client.get(path)
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[0].headers["content-type"].startswith("text/plain")
    assert (answers[1].content, int(answers[1].headers["content-length"]) > 0) == (b"", True)
    assert late.status_code == 200


async def test_the_layer_counts_in_the_listed_place() -> None:
    """What stands inside it is seen as it was raised; here the limits."""
    assert [layer.kind for layer in LAYERS].index(MetricsMiddleware) < [layer.kind for layer in LAYERS].index(
        LimitsMiddleware
    )
    async with in_process(Upstream(helpful), metrics_route=True, rate_limit=1) as rig:
        statuses = [(await ask(rig)).status_code for _ in range(3)]
        seen = await scraped(rig)
    assert seen.value("refused_total", provider="openai", reason="RateLimited") == statuses.count(429)
