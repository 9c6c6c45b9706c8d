"""The circuit breaker in the whole gateway: as the settings ask, worded for each client, and on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from gateway.authenticators import StaticAuthenticator
from gateway.parts import Parts
from gateway.stack import LAYERS
from middleware.circuit_breaker import CircuitBreakerMiddleware
from providers.circuit import CircuitRules
from providers.registry import Registry
from providers.secret import Secret
from tests.answers import anthropic, chat
from tests.answers.turn import Turn
from tests.gateway.rig import PREFIX, TOKEN, USER, WatchedStore, client_of, gateway_settings, in_process
from tests.upstream import Reply, Upstream

AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}"}
CHAT: Final = "/openai/v1/chat/completions"
MESSAGES: Final = "/anthropic/v1/messages"
BODIES: Final = {
    CHAT: b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    MESSAGES: b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}',
}
ON: Final[dict[str, Any]] = {
    "circuit_breaker_enabled": True,
    "circuit_breaker_failure_threshold": 2,
    "circuit_breaker_timeout_s": 3600.0,
}
Failing = Callable[[], Reply]


@pytest.mark.parametrize(
    ("path", "failing", "shape"),
    [
        (
            CHAT,
            lambda: chat.error(503, "server_error", "come again"),
            {
                "error": {
                    "message": "circuit breaker is open",
                    "type": "server_error",
                    "param": None,
                    "code": "service_unavailable",
                }
            },
        ),
        (
            MESSAGES,
            lambda: anthropic.error(529, "overloaded_error", "Overloaded"),
            {"type": "error", "error": {"type": "overloaded_error", "message": "circuit breaker is open"}},
        ),
    ],
    ids=["openai", "anthropic"],
)
async def test_an_open_circuit_answers_in_the_providers_shape(
    path: str, failing: Failing, shape: dict[str, Any]
) -> None:
    """The provider is not asked, `Retry-After` says when, and the record tells a refusal from a failure."""
    upstream = Upstream([failing(), failing()])
    async with in_process(upstream, **ON) as rig, client_of(rig.app) as client:
        answers = [
            await client.post(PREFIX + path, content=BODIES[path], headers=AUTHORIZATION) for _ in range(3)
        ]
        store = await rig.ended(3)
    failed = failing().status
    assert [answer.status_code for answer in answers] == [failed, failed, 503]
    assert answers[2].json() == shape
    assert 0 < int(answers[2].headers["retry-after"]) <= 3600
    assert len(upstream.requests) == 2
    assert [(end.outcome, end.error_type) for end in store.ends][2] == ("refused", "CircuitOpen")


async def test_other_models_and_instances_go_on() -> None:
    """What is open is one circuit."""
    failing = [chat.error(503, "server_error", "come again")] * 2
    upstream = Upstream([*failing, chat.reply(Turn(text="Hello"), streamed=False), chat.models("m")])
    async with in_process(upstream, **ON) as rig, client_of(rig.app) as client:
        for _ in range(2):
            await client.post(PREFIX + CHAT, content=BODIES[CHAT], headers=AUTHORIZATION)
        other = BODIES[CHAT].replace(b'"m"', b'"n"')
        model = await client.post(PREFIX + CHAT, content=other, headers=AUTHORIZATION)
        instance = await client.get(f"{PREFIX}/anthropic/v1/models", headers=AUTHORIZATION)
    assert (model.status_code, instance.status_code) == (200, 200)


async def test_by_default_there_is_no_circuit() -> None:
    """However often a provider fails, it is asked again."""
    upstream = Upstream(lambda request: chat.error(503, "server_error", "come again"))
    async with in_process(upstream) as rig, client_of(rig.app) as client:
        for _ in range(10):
            await client.post(PREFIX + CHAT, content=BODIES[CHAT], headers=AUTHORIZATION)
    assert len(upstream.requests) == 10


def test_each_setting_reaches_the_rules() -> None:
    """The layer is made by the stack, as the settings say."""
    (line,) = (layer for layer in LAYERS if layer.kind is CircuitBreakerMiddleware)
    options = gateway_settings(
        circuit_breaker_enabled=True,
        circuit_breaker_failure_threshold=7,
        circuit_breaker_interval_s=8.0,
        circuit_breaker_timeout_s=9.0,
        circuit_breaker_max_requests=10,
    ).gateway
    known = StaticAuthenticator(Secret(TOKEN), USER)
    layer = line.build(Upstream(), Parts(options, Registry([]), known, WatchedStore()))
    assert isinstance(layer, CircuitBreakerMiddleware)
    assert layer.rules == CircuitRules(failure_threshold=7, interval_s=8.0, timeout_s=9.0, max_requests=10)
