"""The circuit breaker, as the table of its behaviour: what counts, what is refused, and what belongs together."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest
from starlette.types import Receive, Scope, Send

from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.errors import (
    BadRequest,
    CircuitOpen,
    ClientLeft,
    UpstreamBroke,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import Exchange
from middleware.failover import FailoverMiddleware
from providers.base import Provider
from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK
from providers.circuit import CircuitRules
from tests.asgi import call, drive
from tests.middleware.exchanges import (
    ANTHROPIC_INSTANCE,
    CHAT_BODY,
    COPILOT_INSTANCE,
    MESSAGES_BODY,
    OPENAI_INSTANCE,
    chunk,
    known_scope,
    read_body,
    start,
)

RULES: Final = CircuitRules(failure_threshold=2, max_requests=1)
OTHER_INSTANCE: Final = dataclasses.replace(OPENAI_INSTANCE, name="other")
BEDROCK_INSTANCE: Final = Provider(ANTHROPIC_ON_BEDROCK, "aws", "https://bedrock.test")

Answer: TypeAlias = int | Exception | None
"""A status; a failure before there is one; or None: the application returns without a word."""


@dataclass
class Rig:
    """The layer around a provider that answers as the test says, with the time in the test's hands."""

    answer: Answer = 200
    now_s: float = 100.0
    asked: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layer = CircuitBreakerMiddleware(
            self.provider, **{"rules": RULES, "clock": lambda: self.now_s, **self.options}
        )

    async def provider(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await read_body(receive)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            await send(start(self.answer))
            await send(chunk(b"", more=False))

    async def ask(self, answer: Answer = 200, scope: Scope | None = None) -> int | None:
        """The status of one request, or None where no answer came; `CircuitOpen` comes out."""
        self.answer = answer
        asking = drive(self.layer, scope or chat_scope(), body=CHAT_BODY)
        async with asking as client:
            await client.ended()
            if client.exception is not None:
                failure = await client.failed()
                if isinstance(failure, CircuitOpen):
                    raise failure
                return None
        return client.status if client.messages else None

    async def is_open(self, scope: Scope | None = None) -> bool:
        before = self.asked
        try:
            await self.ask(scope=scope)
        except CircuitOpen:
            assert self.asked == before
            return True
        return False


def chat_scope(model: str = "gpt-x", provider: Provider = OPENAI_INSTANCE) -> Scope:
    body = CHAT_BODY.replace(b"gpt-x", model.encode())
    path = "/chat/completions" if provider is COPILOT_INSTANCE else "/v1/chat/completions"
    return known_scope(path, provider=provider, body=body)


def scope_for(provider: Provider) -> Scope:
    if provider.type.name == "anthropic":
        return known_scope("/v1/messages", provider=provider, body=MESSAGES_BODY)
    return chat_scope(provider=provider)


# -- what counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "status", "counts"),
    [
        (OPENAI_INSTANCE, 503, True),
        (OPENAI_INSTANCE, 504, True),
        (OPENAI_INSTANCE, 529, False),
        (OPENAI_INSTANCE, 500, False),
        (OPENAI_INSTANCE, 502, False),
        (OPENAI_INSTANCE, 429, False),
        (OPENAI_INSTANCE, 400, False),
        (COPILOT_INSTANCE, 503, True),
        (COPILOT_INSTANCE, 529, False),
        (ANTHROPIC_INSTANCE, 503, True),
        (ANTHROPIC_INSTANCE, 504, True),
        (ANTHROPIC_INSTANCE, 529, True),
        (ANTHROPIC_INSTANCE, 429, False),
        (BEDROCK_INSTANCE, 529, True),
    ],
    ids=lambda value: value.name if isinstance(value, Provider) else str(value),
)
async def test_a_status_counts_or_not(provider: Provider, status: int, counts: bool) -> None:
    """The client gets each of them as it came."""
    rig = Rig()
    assert [await rig.ask(status, scope_for(provider)) for _ in range(2)] == [status, status]
    assert await rig.is_open(scope_for(provider)) is counts


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamUnreachable("no connection"),
        UpstreamTimeout("first byte", 600),
        BadRequest("ours"),
        ClientLeft(),
        RuntimeError("a mistake of ours"),
        None,
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_is_no_answer_counts_neither_way(failure: Answer) -> None:
    """It opens nothing, and it doesn't end a run of failures either."""
    rig = Rig()
    for _ in range(5):
        await rig.ask(failure)
    await rig.ask(503)
    assert await rig.ask(failure) is None
    await rig.ask(503)
    assert await rig.is_open()


@pytest.mark.parametrize("status", [200, 429, 500])
async def test_any_other_answer_ends_a_run_of_failures(status: int) -> None:
    """Whoever answers is there."""
    rig = Rig()
    for _ in range(3):
        await rig.ask(503)
        await rig.ask(status)
    assert not await rig.is_open()


async def test_an_answer_that_breaks_off_was_an_answer() -> None:
    """Its status decided when it began."""
    began: list[int] = []

    async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
        began.append(1)
        await send(start(200))
        raise UpstreamBroke("the provider's answer broke off")

    layer = CircuitBreakerMiddleware(breaking, rules=RULES)
    for _ in range(5):
        with pytest.raises(UpstreamBroke):
            await call(layer, chat_scope())
    assert len(began) == 5


async def test_an_answer_to_a_client_that_left_counts_for_nothing() -> None:
    """Where the answer is read on after the client has gone."""
    rig = Rig()
    for _ in range(5):
        scope = chat_scope()
        Exchange.of(scope).client_left = True
        await rig.ask(503, scope)
    assert not await rig.is_open()


async def test_requests_that_were_under_way_together_count_together() -> None:
    """Also where none of them found a circuit when it came: a burst of failures opens one."""
    rig, gate = Rig(), asyncio.Event()

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await send(start(503))
        await send(chunk(b"", more=False))

    rig.layer.app = failing
    async with drive(rig.layer, chat_scope()) as one, drive(rig.layer, chat_scope()) as two:
        gate.set()
        await one.completed()
        await two.completed()
    assert await rig.is_open()


# -- open -------------------------------------------------------------------------------------------------------------


async def test_an_open_circuit_refuses_with_503_and_the_time_to_wait() -> None:
    """Nobody asks the provider, and no body is read."""
    rig = Rig()
    for _ in range(2):
        await rig.ask(503)
    rig.now_s += 12.5
    async with drive(rig.layer, chat_scope(), body=CHAT_BODY) as client:
        refused = await client.failed()
    assert isinstance(refused, CircuitOpen)
    assert (refused.status, refused.message, refused.retry_after_s) == (503, "circuit breaker is open", 18)
    assert (rig.asked, client.receive_calls) == (2, 0)


async def test_after_the_timeout_a_try_decides() -> None:
    """A good one closes the circuit, a bad one opens it for as long again."""
    rig = Rig()
    for _ in range(2):
        await rig.ask(503)
    rig.now_s += 30
    assert await rig.ask(503) == 503
    assert await rig.is_open()
    rig.now_s += 30
    assert await rig.ask(200) == 200
    assert await rig.ask(503) == 503
    assert not await rig.is_open()


@pytest.mark.parametrize("failure", [UpstreamUnreachable("no connection"), ClientLeft(), None])
async def test_a_try_that_says_nothing_is_followed_by_another(failure: Answer) -> None:
    """The circuit waits for an answer, however often."""
    rig = Rig()
    for _ in range(2):
        await rig.ask(503)
    rig.now_s += 30
    for _ in range(3):
        assert await rig.ask(failure) is None
    assert await rig.ask(200) == 200


async def test_a_cancelled_try_gives_its_place_back() -> None:
    """And while it lasts, the others are told to come again in a second."""
    rig, waiting = Rig(), asyncio.Event()
    for _ in range(2):
        await rig.ask(503)
    rig.now_s += 30

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    rig.layer.app = silent
    async with drive(rig.layer, chat_scope(), body=CHAT_BODY) as trying:
        await waiting.wait()
        with pytest.raises(CircuitOpen) as refused:
            await call(rig.layer, chat_scope())
        assert refused.value.retry_after_s == 1
        trying.cancel()
        await trying.failed()
    rig.layer.app = rig.provider
    assert await rig.ask(200) == 200


async def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the name of the circuit: the operator's alarm, and its end."""
    rig = Rig()
    caplog.set_level(logging.INFO, "ai_gateway.circuit_breaker")
    for _ in range(2):
        await rig.ask(503)
    for _ in range(3):
        assert await rig.is_open()
    rig.now_s += 30
    await rig.ask(200)
    told = [(each.levelname, vars(each)["circuit"], vars(each)["state"]) for each in caplog.records]
    name = "openai /chat/completions gpt-x"
    assert told == [("WARNING", name, "open"), ("INFO", name, "half-open"), ("INFO", name, "closed")]


# -- which circuit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "same"),
    [
        (chat_scope(), True),
        (known_scope(query="a=b", kind="byok"), True),
        (chat_scope("gpt-y"), False),
        (chat_scope(provider=OTHER_INSTANCE), False),
        (known_scope("/v1/responses", body=b'{"model":"gpt-x","input":"hi"}'), False),
        (known_scope("/v1/models", method="GET"), False),
    ],
    ids=["the same", "a user's key", "another model", "another instance", "another endpoint", "no model"],
)
async def test_instance_endpoint_and_model_make_a_circuit(scope: Scope, same: bool) -> None:
    """What fails is spared, and what is beside it goes on."""
    rig = Rig()
    for _ in range(2):
        await rig.ask(503)
    assert await rig.is_open(scope) is same


async def test_paths_below_a_listed_one_share_its_circuit() -> None:
    """Else every ID in a path would make one."""
    rig = Rig()
    for name in ("one", "two"):
        await rig.ask(503, known_scope(f"/v1/responses/{name}", method="GET"))
    assert await rig.is_open(known_scope("/v1/responses/three", method="GET"))


async def test_each_change_is_told_to_who_listens() -> None:
    """With the name of the circuit, which can be looked up."""
    changes: list[tuple[str, str]] = []
    rig = Rig(options={"on_change": lambda name, state: changes.append((name, state))})
    for _ in range(2):
        await rig.ask(503)
    (name,) = rig.layer.circuits
    assert rig.layer.circuits[name].state == "open"
    rig.now_s += 30
    await rig.ask(200)
    assert changes == [(name, "open"), (name, "half-open"), (name, "closed")]
    assert name == "openai /chat/completions gpt-x"


async def test_only_so_many_circuits_are_kept() -> None:
    """A client can name any model: the circuit that was used longest ago is forgotten, and so is closed."""
    rig = Rig(options={"max_circuits": 2})
    for model in ("one", "two", "three"):
        for _ in range(2):
            await rig.ask(503, chat_scope(model))
    assert [await rig.is_open(chat_scope(model)) for model in ("one", "two", "three")] == [False, True, True]


async def test_models_that_answer_leave_nothing_behind() -> None:
    """A circuit is made by a failure, so that names alone push none out."""
    rig = Rig(options={"max_circuits": 1})
    for _ in range(2):
        await rig.ask(503)
    for number in range(5):
        await rig.ask(404, chat_scope(f"made-up-{number}"))
    assert await rig.is_open()


async def test_the_length_of_a_name_is_bounded() -> None:
    """What a client calls a model is kept in memory and logged."""
    scope = chat_scope("x" * 5000)
    await Rig().ask(200, scope)
    assert len(Exchange.of(scope).circuit) < 200


# -- with failover ----------------------------------------------------------------------------------------------------


async def test_failover_counts_each_attempt_and_does_not_retry_a_refusal() -> None:
    """The attempt that would meet the circuit which this very request opened ends it, with our own error."""
    rig, slept = Rig(answer=503), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    layer = ProviderDispatch(FailoverMiddleware(rig.layer, max_retries=5, sleep=sleep))
    with pytest.raises(CircuitOpen):
        await call(layer, chat_scope(), CHAT_BODY)
    assert (rig.asked, len(slept)) == (2, 2)
    with pytest.raises(CircuitOpen):
        await call(layer, chat_scope(), CHAT_BODY)
    assert (rig.asked, len(slept)) == (2, 2)


def test_a_bad_option_is_refused_by_name() -> None:
    """At start-up, not at the first failure."""
    with pytest.raises(ValueError, match="max_circuits must be positive: 0"):
        Rig(options={"max_circuits": 0})
