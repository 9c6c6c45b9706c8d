"""The failover layer, as the table of its behaviour: which key is next, what is tried again, and after how long."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest
from starlette.types import Message, Receive, Scope, Send

from middleware.dispatch import ProviderDispatch
from middleware.errors import (
    BadRequest,
    ClientLeft,
    GatewayError,
    KeysExhausted,
    KeysRateLimited,
    Unavailable,
    UpstreamBroke,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import Exchange
from middleware.failover import FailoverMiddleware
from providers.base import BEARER, Credential, Provider
from providers.secret import Secret
from recorders.records import CredentialKind
from tests.asgi import Drive, drive
from tests.middleware.exchanges import (
    ANTHROPIC_INSTANCE,
    CHAT_BODY,
    COPILOT_INSTANCE,
    OPENAI_INSTANCE,
    USER_KEY,
    chunk,
    known_scope,
    read_body,
    start,
)

KEYS: Final = tuple(Secret(f"fake-central-key-number-{number}") for number in range(3))
POOLED: Final = dataclasses.replace(OPENAI_INSTANCE, keys=KEYS)
TWO: Final = dataclasses.replace(OPENAI_INSTANCE, keys=KEYS[:2])
UNREACHABLE: Final = UpstreamUnreachable("could not reach the provider")

Step: TypeAlias = bytes | Exception | asyncio.Event


@dataclass(frozen=True)
class Reply:
    """One answer: its start, and what follows; an exception breaks it off, an event holds it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    steps: Sequence[Step] = (b"the body",)


Answer: TypeAlias = int | Reply | Exception


def told(status: int, *headers: tuple[str, str]) -> Reply:
    return Reply(status, tuple((name.encode(), value.encode()) for name, value in headers))


def limited(seconds: float | str) -> Reply:
    return told(429, ("retry-after", str(seconds)))


class Script:
    """The provider inside the layer: answers in order, and keeps with which key each attempt came, and its body."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = list(answers)
        self.keys: list[bytes] = []
        self.bodies: list[bytes] = []
        self.attempts: list[tuple[int, str | None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        headers = dict(scope["headers"])
        key = headers.get(b"authorization") or headers.get(b"x-api-key") or b""
        self.keys.append(key.removeprefix(b"Bearer "))
        self.attempts.append((exchange.attempt, exchange.credential.hint if exchange.credential else None))
        self.bodies.append(await read_body(receive))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        reply = Reply(answer) if isinstance(answer, int) else answer
        await send(start(reply.status, *reply.headers))
        for step in reply.steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                await send(chunk(step))
        await send(chunk(b"", more=False))

    @property
    def key_numbers(self) -> list[int]:
        return [int(key[-1:]) for key in self.keys]


@dataclass
class Time:
    """Time that passes only when the layer sleeps, and what it slept."""

    now_s: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now_s += seconds


class Bench:
    """A failover layer around a script, below the dispatch that gives it a credential."""

    def __init__(self, *answers: Answer, **options: Any) -> None:
        self.script, self.time = Script(answers), Time()
        defaults = {
            "clock": self.time.clock,
            "unix_s": lambda: 1_767_225_600.0,
            "sleep": self.time.sleep,
            "chance": lambda: 0.0,
        }
        self.layer = ProviderDispatch(FailoverMiddleware(self.script, **{**defaults, **options}))

    @asynccontextmanager
    async def drive(self, scope: Scope | None = None, body: bytes = CHAT_BODY) -> AsyncIterator[Drive]:
        async with drive(self.layer, scope or known_scope(provider=POOLED), body=body) as client:
            yield client

    async def ask(self, scope: Scope | None = None, body: bytes = CHAT_BODY) -> int | GatewayError:
        """The status of the answer, or the layer's own error."""
        async with self.drive(scope, body) as client:
            await client.ended()
            if client.exception is not None:
                failure = await client.failed()
                assert isinstance(failure, GatewayError)
                assert not client.messages
                return failure
        assert client.complete
        return client.status


def outcome(result: int | GatewayError) -> tuple[int, int | None]:
    """(status, Retry-After) as the client will see it."""
    return (result, None) if isinstance(result, int) else (result.status, result.retry_after_s)


# -- the pool ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "keys", "status"),
    [
        ([200], [0], 200),
        ([429, 200], [0, 1], 200),
        ([401, 200], [0, 1], 200),
        ([429, 401, 200], [0, 1, 2], 200),
        ([401, 403], [0, 1], 403),
        ([403], [0], 403),
        ([400], [0], 400),
        ([404], [0], 404),
        ([429, 400], [0, 1], 400),
        ([429, 500, 200], [0, 1, 1], 200),
        ([500, 429, 200], [0, 0, 1], 200),
        ([told(429, ("x-should-retry", "false")), 200], [0, 1], 200),
    ],
)
async def test_the_next_key_is_tried(answers: list[Answer], keys: list[int], status: int) -> None:
    """On 429 and 401 and on nothing else, each time with the same bytes."""
    bench = Bench(*answers)
    assert await bench.ask() == status
    assert bench.script.key_numbers == keys
    assert set(bench.script.bodies) == {CHAT_BODY}


@pytest.mark.parametrize(
    ("answers", "status", "retry_after_s"),
    [
        ([429, 429, 429], 429, 60),
        ([limited(300), limited(200), limited(400)], 429, 200),
        ([limited(90), 401, 401], 429, 90),
        ([401, 401, limited(600)], 429, 600),
        ([401, limited(60.5), 401], 429, 61),
        ([told(429, ("retry-after-ms", "61250")), 429, 429], 429, 60),
        ([limited("Thu, 01 Jan 2026 00:02:30 GMT"), limited(151), limited(152)], 429, 150),
        ([401, 401, 401], 502, None),
    ],
)
async def test_when_no_key_is_left_the_client_learns_when_to_come_back(
    answers: list[Answer], status: int, retry_after_s: int | None
) -> None:
    """429 with the shortest wait if any key is rate limited, else 502; nothing of the provider's answers passes."""
    bench = Bench(*answers, max_retries=0)
    assert outcome(await bench.ask()) == (status, retry_after_s)
    assert bench.script.key_numbers == [0, 1, 2]
    assert bench.time.slept == []


async def test_the_errors_say_what_happened_and_name_no_key() -> None:
    """The instance is named; the client can't do anything with more."""
    refused, throttled = await Bench(401, 401, 401).ask(), await Bench(429, 429, 429).ask()
    assert isinstance(refused, KeysExhausted)
    assert refused.message == 'every key of AI provider "openai" is refused by the provider'
    assert isinstance(throttled, KeysRateLimited)
    assert throttled.message == 'every key of AI provider "openai" is rate limited'


async def test_a_resting_key_is_not_asked_by_later_requests() -> None:
    """Until its time is over; then the primary is the primary again."""
    bench = Bench(limited(10), 200, 200, 200)
    for passed_s, keys in ((0.0, [0, 1]), (9.0, [1]), (1.0, [0])):
        bench.time.now_s += passed_s
        del bench.script.keys[:]
        assert await bench.ask() == 200
        assert bench.script.key_numbers == keys


async def test_nothing_is_sent_while_every_key_rests() -> None:
    """The answer is given at once, with what is left of the wait."""
    bench = Bench(429, 429, 401)
    await bench.ask()
    bench.time.now_s += 20
    assert outcome(await bench.ask()) == (429, 40)
    assert len(bench.script.keys) == 3


async def test_each_instance_has_its_own_pool() -> None:
    """A key of one is no key of the other."""
    other = dataclasses.replace(POOLED, name="other")
    bench = Bench(429, 200, 200)
    await bench.ask()
    assert await bench.ask(known_scope(provider=other)) == 200
    assert bench.script.key_numbers == [0, 1, 0]


async def test_new_keys_of_an_instance_are_a_new_pool() -> None:
    """What was known of the old ones says nothing of them."""
    bench = Bench(429, 200, 200)
    await bench.ask()
    changed = dataclasses.replace(POOLED, keys=(Secret("fake-central-key-number-7"), KEYS[0]))
    assert await bench.ask(known_scope(provider=changed)) == 200
    assert bench.script.key_numbers == [0, 1, 7]


async def test_the_credential_is_that_of_the_attempt() -> None:
    """On the exchange, for records and dumps, and in the one slot that the provider reads."""
    instance = dataclasses.replace(ANTHROPIC_INSTANCE, keys=KEYS)
    scope = known_scope("/v1/messages", provider=instance, headers=[("b", "1"), ("a", "2")])
    bench = Bench(401, 429, 200)
    assert await bench.ask(scope) == 200
    assert bench.script.attempts == [(number, KEYS[number - 1].hint) for number in (1, 2, 3)]
    credential = Exchange.of(scope).credential
    assert credential is not None
    assert (credential.secret, credential.slot.header) == (KEYS[2], b"x-api-key")


async def test_an_echo_of_the_attempts_key_does_not_come_down() -> None:
    """Dispatch, which made the request with another key, knows of the change."""
    echo = Reply(200, ((b"x-debug", KEYS[1].reveal_secret_value().encode()), (b"x-other", b"1")))
    bench = Bench(429, echo)
    async with bench.drive() as client:
        await client.completed()
    assert client.headers == [(b"x-other", b"1")]


# -- whoever has nothing to fall back to ------------------------------------------------------------------------------

BYOK: Final[list[tuple[str | bytes, str | bytes]]] = [("authorization", f"Bearer {USER_KEY}")]


def without_pool() -> list[tuple[Provider, CredentialKind, str]]:
    return [
        (POOLED, "byok", "/v1/chat/completions"),
        (dataclasses.replace(COPILOT_INSTANCE, keys=KEYS), "centralized", "/chat/completions"),
        (OPENAI_INSTANCE, "centralized", "/v1/chat/completions"),
        (dataclasses.replace(OPENAI_INSTANCE, keys=()), "centralized", "/v1/chat/completions"),
    ]


@pytest.mark.parametrize(("provider", "kind", "path"), without_pool())
@pytest.mark.parametrize(
    ("answers", "status"), [([401], 401), ([429, 429, 429], 429), ([429, 200], 200), ([503, 401], 401)]
)
async def test_without_a_pool_the_providers_answer_passes(
    provider: Provider, kind: CredentialKind, path: str, answers: list[Answer], status: int
) -> None:
    """A user's own credential, a single key, none: tried again with the same, and never with another."""
    bench = Bench(*answers)
    scope = known_scope(path, provider=provider, kind=kind, headers=BYOK)
    async with bench.drive(scope) as client:
        await client.completed()
    assert (client.status, client.body) == (status, b"the body")
    assert len(set(bench.script.keys)) == 1
    assert len(bench.script.keys) == len(answers)


# -- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_passing_trouble_is_tried_again_after_a_backoff(status: int) -> None:
    """With the same bytes, until it works."""
    bench = Bench(status, status, 200)
    assert await bench.ask(known_scope()) == 200
    assert bench.time.slept == [0.5, 1.0]
    assert bench.script.bodies == [CHAT_BODY] * 3
    assert [number for number, _ in bench.script.attempts] == [1, 2, 3]


@pytest.mark.parametrize("status", [200, 201, 301, 307, 400, 402, 403, 404, 413, 422, 501])
async def test_everything_else_is_the_answer(status: int) -> None:
    """One attempt, no wait."""
    bench = Bench(status)
    assert await bench.ask(known_scope()) == status
    assert bench.time.slept == []


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_the_last_answer_passes_when_the_retries_are_used_up(retries: int) -> None:
    """As the provider gave it; 0 turns retrying off."""
    bench = Bench(*[503] * retries, Reply(503, ((b"x-last", b"1"),)), max_retries=retries)
    async with bench.drive(known_scope()) as client:
        await client.completed()
    assert (client.status, client.headers, client.body) == (503, [(b"x-last", b"1")], b"the body")
    assert bench.time.slept == [0.5, 1.0, 2.0, 4.0, 8.0][:retries]


@pytest.mark.parametrize(
    ("headers", "slept"),
    [
        ([("retry-after-ms", "1500")], [1.5]),
        ([("retry-after", "7")], [7.0]),
        ([("retry-after", "60")], [60.0]),
        ([("retry-after", "0")], []),
        ([("retry-after", "Thu, 01 Jan 2026 00:00:20 GMT")], [20.0]),
        ([("retry-after", "soon")], [0.5]),
        ([("x-should-retry", "true")], [0.5]),
        ([("x-should-retry", "true"), ("retry-after", "3")], [3.0]),
    ],
)
async def test_the_provider_says_how_long_to_wait(headers: list[tuple[str, str]], slept: list[float]) -> None:
    """What can't be read says nothing."""
    bench = Bench(told(503, *headers), 200)
    assert await bench.ask(known_scope()) == 200
    assert bench.time.slept == slept


@pytest.mark.parametrize("headers", [("retry-after", "61"), ("x-should-retry", "false")])
async def test_a_wait_beyond_a_minute_or_a_no_of_the_provider_is_the_answer(headers: tuple[str, str]) -> None:
    """The client sees the header and decides for itself."""
    bench = Bench(told(503, headers))
    async with bench.drive(known_scope()) as client:
        await client.completed()
    assert (client.status, client.header(headers[0])) == (503, headers[1].encode())


async def test_the_provider_may_ask_for_another_attempt_after_any_error() -> None:
    """`x-should-retry: true`."""
    bench = Bench(told(400, ("x-should-retry", "true")), 200)
    assert await bench.ask(known_scope()) == 200


@pytest.mark.parametrize("error", [UNREACHABLE, UpstreamTimeout("connect", 10.0)])
async def test_a_connection_that_failed_is_tried_again(error: GatewayError) -> None:
    """Also one that was closed while it was idle; then with the last error out."""
    bench = Bench(error, error, 200)
    assert await bench.ask(known_scope()) == 200
    assert bench.time.slept == [0.5, 1.0]
    assert await Bench(error, error, error).ask(known_scope()) is error


@pytest.mark.parametrize(
    "error", [UpstreamTimeout("first byte", 600.0), UpstreamBroke("x"), BadRequest("x"), Unavailable("x")]
)
async def test_what_may_have_been_worked_on_is_not_sent_again(error: GatewayError) -> None:
    """Nor are errors of our own."""
    bench = Bench(error)
    assert await bench.ask(known_scope()) is error
    assert bench.time.slept == []


@pytest.mark.parametrize(
    ("answers", "troubles"),
    [
        ([200], ()),
        ([400], ()),
        ([429, 401, 503, 200], ("429", "401", "503")),
        ([UNREACHABLE, UpstreamTimeout("connect", 10.0), 529], ("connect", "connect_timeout", "529")),
        ([UpstreamTimeout("first byte", 600.0)], ("first_byte_timeout",)),
        ([UpstreamTimeout("the whole answer", 3600.0)], ("total_timeout",)),
        ([Reply(200, steps=[b"a", UpstreamTimeout("idle", 600.0)])], ("idle_timeout",)),
        ([Reply(200, steps=[b"a", UpstreamBroke("broke off")])], ("broke",)),
        ([Reply(503, steps=[b"a", UpstreamBroke("broke off")]), 200], ("503",)),
        ([ClientLeft()], ()),
        ([Unavailable("spared")], ()),
        ([BadRequest("no")], ()),
    ],
)
async def test_what_failed_an_attempt_is_kept_for_who_counts(
    answers: list[Answer], troubles: tuple[str, ...]
) -> None:
    """One word for each attempt that failed, if it was the provider or the way to it."""
    bench, scope = Bench(*answers), known_scope(provider=POOLED)
    async with bench.drive(scope) as client:
        await client.ended()
        if client.exception is not None:
            await client.failed()
    assert Exchange.of(scope).troubles == troubles


async def test_an_unforeseen_error_comes_out_at_once() -> None:
    """A mistake doesn't get better by repetition."""
    broken = RuntimeError("a mistake")
    bench = Bench(broken)
    async with bench.drive(known_scope()) as client:
        assert await client.failed() is broken


async def test_no_attempt_begins_after_the_deadline() -> None:
    """It counts from the beginning of the request, waits included."""
    bench = Bench(503, 503, 503, max_retries=9, deadline_s=1.5)
    assert await bench.ask(known_scope()) == 503
    assert bench.time.slept == [0.5, 1.0]


# -- retries and the pool ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "keys", "slept", "result"),
    [
        ([limited(5), limited(2), 200], [0, 1, 1], [2.05], (200, None)),
        ([limited(2), limited(5), 200], [0, 1, 0], [2.05], (200, None)),
        ([limited(2), 401, 200], [0, 1], [], (429, 2)),
        ([401, limited(2), 200], [0, 1, 1], [2.05], (200, None)),
        ([limited(60), limited(60), 200], [0, 1, 0], [60.05], (200, None)),
        ([limited(61), limited(61)], [0, 1], [], (429, 61)),
        ([429, 429], [0, 1], [], (429, 60)),
        ([limited(3), 429, 200], [0, 1, 0], [3.05], (200, None)),
        ([limited(1), limited(1), limited(1), limited(1), 200], [0, 1, 0, 1, 0], [1.05, 1.05], (200, None)),
        (
            [limited(0), limited(0), limited(0), limited(0), limited(0), limited(0)],
            [0, 1] * 3,
            [0.05] * 2,
            (429, 1),
        ),
        ([limited(1), told(429, ("retry-after", "1"), ("x-should-retry", "false"))], [0, 1], [], (429, 1)),
        ([503, limited(1), 200], [0, 0, 1], [0.5], (200, None)),
        ([503, 503, 503], [0, 0, 0], [0.5, 1.0], (503, None)),
        ([401, UNREACHABLE, 200], [0, 1, 1], [0.5], (200, None)),
    ],
)
async def test_a_rate_limit_of_the_last_key_is_waited_for(
    answers: list[Answer], keys: list[int], slept: list[float], result: tuple[int, int | None]
) -> None:
    """Until the first key is free, if the provider told when, and it is soon; other keys don't count as retries."""
    bench = Bench(*answers)
    assert outcome(await bench.ask(known_scope(provider=TWO))) == result
    assert bench.script.key_numbers == keys
    assert bench.time.slept == slept


async def test_a_rest_of_which_nobody_told_is_not_waited_for() -> None:
    """However little of the minute has passed when the question comes up."""
    time = Time()

    def ticking() -> float:
        time.now_s += 0.001
        return time.now_s

    bench = Bench(429, 429, clock=ticking, sleep=time.sleep)
    assert outcome(await bench.ask(known_scope(provider=TWO))) == (429, 60)
    assert time.slept == []


async def test_a_later_attempt_may_use_a_key_that_was_tried_before() -> None:
    """Once it is free again, as a new request would."""
    bench = Bench(limited(1), told(503, ("retry-after", "2")), 200)
    assert await bench.ask(known_scope(provider=TWO)) == 200
    assert (bench.script.key_numbers, bench.time.slept) == ([0, 1, 0], [2.0])


# -- conversations ----------------------------------------------------------------------------------------------------


def building_on(bond: str | None, provider: Provider = POOLED) -> Scope:
    """A request on the Responses API that builds on what `bond` names."""
    previous = f', "previous_response_id": "{bond}"' if bond else ""
    return known_scope(
        "/v1/responses", provider=provider, body=f'{{"model": "m", "input": "x"{previous}}}'.encode()
    )


async def answered(bench: Bench, scope: Scope, *bonds: str) -> int | GatewayError:
    """Ask, and let the recorder have read `bonds` in the answer."""
    Exchange.of(scope).bonds.extend(bonds)
    return await bench.ask(scope)


async def test_a_conversation_stays_with_the_key_that_served_it() -> None:
    """When the primary is back, too; and so does what follows from it."""
    bench = Bench(limited(10), 200, 200, 200, 200)
    await answered(bench, building_on(None), "resp_1", "encrypted")
    bench.time.now_s += 10
    await answered(bench, building_on("resp_1"), "resp_2")
    await answered(bench, building_on("resp_2"))
    await answered(bench, building_on("encrypted"))
    assert bench.script.key_numbers == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("answer", "result"), [(401, (502, None)), (429, (429, 60)), (limited(90), (429, 90)), (403, (403, None))]
)
async def test_a_bound_conversation_gets_the_error_and_no_other_key(
    answer: Answer, result: tuple[int, int | None]
) -> None:
    """Another account could not read what it builds on; that other keys are free doesn't help it."""
    bench = Bench(200, answer)
    await answered(bench, building_on(None), "resp_1")
    error = await bench.ask(building_on("resp_1"))
    assert outcome(error) == result
    assert bench.script.key_numbers == [0, 0]
    if isinstance(error, KeysExhausted):
        assert 'the key of AI provider "openai" that this conversation is bound to is' in error.message
        assert outcome(await bench.ask(building_on("resp_1"))) == result


async def test_a_bound_conversation_waits_for_its_key() -> None:
    """As long as the provider says, within the limits of every retry."""
    bench = Bench(200, limited(2), 200)
    await answered(bench, building_on(None), "resp_1")
    assert await bench.ask(building_on("resp_1")) == 200
    assert (bench.script.key_numbers, bench.time.slept) == ([0, 0, 0], [2.05])


async def test_a_conversation_of_which_nothing_is_known_does_not_move_either() -> None:
    """It starts at the first usable key, and may be bound to it; another one would be a guess."""
    bench = Bench(429)
    assert outcome(await bench.ask(building_on("resp_of_yesterday"))) == (429, 60)
    assert bench.script.key_numbers == [0]


async def test_a_stored_conversation_is_learned_from_its_first_answer() -> None:
    """Its ID comes with each request, so it is bound as soon as an answer told that it was served."""
    bench = Bench(limited(5), 200, 200, 200)
    await bench.ask()
    await answered(bench, building_on("conv_1"), "resp_1")
    bench.time.now_s += 5
    await bench.ask(building_on("conv_1"))
    assert bench.script.key_numbers == [0, 1, 1, 1]


async def test_a_stored_response_is_asked_for_with_its_key() -> None:
    """Its ID stands in the path; other paths are bound to nothing."""
    bench = Bench(limited(5), 200, 200, 200)
    await answered(bench, building_on(None), "resp_1")
    bench.time.now_s += 5
    for path in ("/v1/responses/resp_1/input_items", "/v1/models/gpt-x"):
        await bench.ask(known_scope(path, method="GET", provider=POOLED))
    assert bench.script.key_numbers == [0, 1, 1, 0]


# -- what passes, and when --------------------------------------------------------------------------------------------


async def test_nothing_is_sent_again_once_an_answer_began() -> None:
    """The client sees the cut."""
    broke = UpstreamBroke("the provider's answer broke off")
    bench = Bench(Reply(200, steps=(b"half", broke)))
    async with bench.drive() as client:
        assert await client.failed() is broke
    assert (client.body, client.complete, len(bench.script.keys)) == (b"half", False, 1)


async def test_only_the_last_answer_reaches_the_client() -> None:
    """One start, its chunks, one end."""
    bench = Bench(429, 503, Reply(200, ((b"x-last", b"1"),), (b"one", b"two")))
    async with bench.drive() as client:
        await client.completed()
    assert [message["type"] for message in client.messages] == ["http.response.start"] + [
        "http.response.body"
    ] * 3
    assert (client.headers, client.chunks) == ([(b"x-last", b"1")], [b"one", b"two"])


@pytest.mark.parametrize(
    "steps",
    [
        (UpstreamBroke("cut"),),
        (b"x" * 1000, b"x" * 1000, asyncio.Event()),
        (b"x" * 1001,),
    ],
)
async def test_the_rest_of_an_answer_that_is_given_up_costs_little(steps: Sequence[Step]) -> None:
    """It may be cut, or end at a limit of bytes; the next attempt begins."""
    bench = Bench(Reply(429, steps=steps), 200, discard_bytes=1000)
    assert await bench.ask() == 200


async def test_an_answer_that_is_given_up_and_stalls_is_left() -> None:
    """After a limit of time."""
    bench = Bench(Reply(429, steps=(b"x", asyncio.Event())), 200, discard_s=0.001)
    assert await bench.ask() == 200


async def test_a_timeout_that_is_nobodys_comes_out() -> None:
    """The limit on what is given up catches only its own."""
    broken = TimeoutError("of something inside")
    bench = Bench(broken)
    async with bench.drive() as client:
        assert await client.failed() is broken


async def test_a_client_that_leaves_while_nothing_happens_ends_it_at_once() -> None:
    """During a backoff nobody else listens; the wait ends, and no attempt follows."""
    never = asyncio.Event()
    began = asyncio.Event()

    async def sleep(seconds: float) -> None:
        began.set()
        await never.wait()

    bench = Bench(503, 200, sleep=sleep)
    scope = known_scope()
    async with bench.drive(scope) as client:
        await began.wait()
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
    assert Exchange.of(scope).client_left
    assert len(bench.script.keys) == 1
    assert not client.messages


async def test_a_client_that_leaves_an_answer_that_is_given_up_ends_it() -> None:
    """The upstream says so; no attempt follows."""
    left = ClientLeft()
    bench = Bench(Reply(503, steps=(left,)), 200)
    assert await bench.ask() is left
    assert len(bench.script.keys) == 1


async def test_a_cancellation_ends_the_wait() -> None:
    """A server that shuts down doesn't wait for a provider's bad minute."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = Bench(503, sleep=sleep)
    async with bench.drive(known_scope()) as client:
        await began.wait()
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)
        await ended.wait()


@pytest.mark.parametrize("answer", [429, 503, UNREACHABLE])
@pytest.mark.parametrize("provider", [POOLED, OPENAI_INSTANCE])
async def test_nothing_is_sent_for_a_client_that_has_left(answer: Answer, provider: Provider) -> None:
    """Where the upstream goes on after a client, to learn its usage, what it learns is the end."""
    scope = known_scope(provider=provider)
    Exchange.of(scope).client_left = True
    bench = Bench(answer)
    result = await bench.ask(scope)
    assert result in (answer, UNREACHABLE)
    assert len(bench.script.keys) == 1


async def test_each_attempt_begins_with_the_credential_that_the_first_had() -> None:
    """A layer inside may put there what it signed with, which is of that attempt alone."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        assert exchange.credential is not None
        seen.append(exchange.credential.hint)
        exchange.credential = Credential(BEARER, Secret("fake-credential-of-one-attempt"))
        await read_body(receive)
        await send(start(503 if len(seen) < 3 else 200))
        await send(chunk(b"", more=False))

    time = Time()
    layer = ProviderDispatch(FailoverMiddleware(app, clock=time.clock, sleep=time.sleep))
    scope = known_scope()
    async with drive(layer, scope, body=CHAT_BODY) as client:
        await client.completed()
    assert seen == [OPENAI_INSTANCE.keys[0].hint] * 3
    assert Exchange.of(scope).credential == Credential(BEARER, Secret("fake-credential-of-one-attempt"))


async def test_a_body_that_was_not_read_to_its_end_is_read_on_by_the_next_attempt() -> None:
    """What came before comes again, in its pieces; what comes during the wait isn't lost."""
    seen: list[list[Message]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not seen:
            seen.append([await receive()])
            raise UNREACHABLE
        seen.append([await receive() for _ in range(3)])
        await send(start())
        await send(chunk(b"", more=False))

    time = Time()
    layer = FailoverMiddleware(app, clock=time.clock, sleep=time.sleep, chance=lambda: 0.0)
    async with drive(layer, known_scope(), body=[b"one", b"two", b"three"]) as client:
        await client.completed()
    assert [message["body"] for message in seen[1]] == [b"one", b"two", b"three"]
    assert seen[0] == seen[1][:1]


# -- the log ----------------------------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    records = [record for record in caplog.records if record.name == "ai_gateway.failover"]
    names = ("key", "attempt", "status", "seconds", "reason", "delay_s", "bound")
    return [
        {"message": record.getMessage()}
        | {name: vars(record)[name] for name in names if name in vars(record)}
        for record in records
    ]


async def test_each_choice_is_logged_with_a_masked_hint(caplog: pytest.LogCaptureFixture) -> None:
    """Which key, which attempt, who rests for how long, and what is waited for."""
    caplog.set_level(logging.INFO, "ai_gateway.failover")
    await Bench(limited(2), 503, 200).ask(known_scope(provider=TWO))
    first, second = KEYS[0].hint, KEYS[1].hint
    assert logged(caplog) == [
        {"message": "central key chosen", "key": first, "attempt": 1},
        {"message": "central key rests", "key": first, "attempt": 1, "status": 429, "seconds": 2.0},
        {"message": "central key chosen", "key": second, "attempt": 2},
        {"message": "trying again", "attempt": 2, "reason": 503, "delay_s": 0.5},
        {"message": "central key chosen", "key": second, "attempt": 3},
    ]
    assert not any(
        key.reveal_secret_value() in str(vars(record)) for key in KEYS for record in caplog.records
    )


async def test_the_end_of_the_keys_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As a warning, because an operator should know."""
    caplog.set_level(logging.WARNING, "ai_gateway.failover")
    await Bench(401, 401).ask(known_scope(provider=TWO))
    assert logged(caplog)[-1] == {"message": "no central key is left", "attempt": 2, "bound": False}


async def test_nothing_of_a_users_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even its hint; that a request is tried again is."""
    caplog.set_level(logging.DEBUG, "ai_gateway.failover")
    await Bench(503, 200).ask(known_scope(provider=POOLED, kind="byok", headers=BYOK))
    assert logged(caplog) == [{"message": "trying again", "attempt": 1, "reason": 503, "delay_s": 0.5}]
    text = str([vars(record) for record in caplog.records])
    assert USER_KEY not in text
    assert Secret(USER_KEY).hint not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries must not be negative: -1"),
        ({"deadline_s": 0}, "deadline_s must be positive: 0"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], message: str) -> None:
    """It names the option and the value."""
    with pytest.raises(ValueError, match=message):
        Bench(**options)
