"""The vendors' SDKs for Node.js against the real gateway: whole, streamed, refused and left early.

All the conversations are held once (`tests.e2e.sdk`); each test looks at one side of each.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from providers.secret import mask
from tests.e2e.gateway import CENTRAL_KEYS
from tests.e2e.play import ANSWER, OWN_KEY
from tests.e2e.records import Row
from tests.e2e.sdk import PROMPTS, REFUSAL, TALKS, TOOL, TOOL_INPUT, Talk, Talked, call_id_of, talk
from tests.gateway.rig import holds
from tests.upstream import Received

ASKED_FOR_USAGE = b'{"stream_options":{"include_usage":true},'

each = pytest.mark.parametrize("one", TALKS, ids=lambda one: one.id)


@pytest.fixture(scope="module")
def talked(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Talked:
    return asyncio.run(talk(binaries.parent, tmp_path_factory.mktemp("sdks")))


def seen_in(one: Talk, talked: Talked) -> list[Received]:
    """What the provider got in one conversation."""
    return [seen for seen in talked.seen if seen.json["model"] == one.model]


def recorded_in(one: Talk, talked: Talked) -> list[Row]:
    """The interceptions of one conversation, in the order of its requests."""
    return [row for row in talked.recorded.interceptions if row["model"] == one.model]


def secret_of(one: Talk) -> str:
    return OWN_KEY if one.mode == "byok" else CENTRAL_KEYS[one.api.provider]


@each
def test_the_sdk_reads_whole_and_streamed_answers_and_errors(one: Talk, talked: Talked) -> None:
    """Text, tool call and the beginning of what was aborted; an error is of the SDK's own type, with its message."""
    outcome = talked.outcomes[one]
    assert outcome.status == 0, outcome.stderr
    told = json.loads(outcome.stdout)
    assert told["blocking"] == told["answered"] == ANSWER
    assert told["call"] == [call_id_of(one.model), TOOL, TOOL_INPUT]
    assert told["begun"]
    assert ANSWER.startswith(told["begun"])
    typed, status, kind, message = told["error"]
    assert (typed, status, kind) == (True, 429, "rate_limit_error")
    assert REFUSAL in message


@each
def test_the_provider_gets_the_very_bodies(one: Talk, talked: Talked) -> None:
    """Unchanged, but for the one documented edit: a stream of Chat completions is asked for its usage."""
    expected = []
    for exchange in talked.sent[one]:
        edited = one.api.id == "chat" and PROMPTS["aborted"].encode() in exchange.body
        body = ASKED_FOR_USAGE + exchange.body[1:] if edited else exchange.body
        expected.append(hashlib.sha256(body).hexdigest())
    assert len(expected) == 5
    assert sorted(seen.sha256 for seen in seen_in(one, talked)) == sorted(expected)


@each
def test_the_sdk_gets_the_very_answers(one: Talk, talked: Talked) -> None:
    """Byte for byte, and of the aborted one as much as it waited for."""
    said = sorted(b"".join(request.chunks) for request in seen_in(one, talked))
    heard = sorted(exchange.answer for exchange in talked.sent[one])
    assert heard == said
    assert [exchange.ended for exchange in talked.sent[one]].count(False) == 1


@each
def test_the_provider_gets_the_right_credential_and_nothing_of_ours(one: Talk, talked: Talked) -> None:
    """The organisation's key where the provider looks for it, or the user's own where the SDKs put it: as a bearer."""
    for_anthropic = one.mode == "centralized" and one.api.provider == "anthropic"
    secret = secret_of(one).encode()
    expected = ([], [secret]) if for_anthropic else ([b"Bearer " + secret], [])
    for request in seen_in(one, talked):
        assert (request.values("authorization"), request.values("x-api-key")) == expected
        assert request.header("x-stainless-lang") == "js"
        assert not holds(request, talked.token)
        assert not holds(request, talked.token.partition("-")[2])
        assert not [name for name, _ in request.headers if name.startswith(b"x-coder-")]


def test_no_secret_is_left_behind(talked: Talked) -> None:
    """Neither the token nor a key is in the gateway's log, its database or its journal."""
    for secret in (talked.token.partition("-")[2], OWN_KEY, *CENTRAL_KEYS.values()):
        assert secret.encode() not in talked.left_behind


@each
def test_an_aborted_stream_is_aborted_at_the_provider(one: Talk, talked: Talked) -> None:
    """The provider heard of it while the script was still there: it answered nothing else before."""
    (aborted,) = (seen for seen in seen_in(one, talked) if PROMPTS["aborted"].encode() in seen.body)
    assert aborted.disconnected.is_set()
    assert not aborted.answered.is_set()


@each
def test_each_request_is_recorded_with_who_and_how(one: Talk, talked: Talked) -> None:
    """Five interceptions: two turns that were completed, one that was left, and one that the provider refused."""
    rows = recorded_in(one, talked)
    common = {
        "client": "Unknown",
        "client_session_id": None,
        "provider": one.api.provider,
        "provider_name": one.api.instance,
        "api_key_id": talked.token.partition("-")[0],
        "credential_kind": one.mode,
        "credential_hint": mask(secret_of(one)),
    }
    for row in rows:
        assert {key: row[key] for key in common} == common
    ended = [(row["outcome"], row["status"], row["error_message"]) for row in rows]
    completed = ("completed", 200, None)
    assert ended == [
        completed,
        ("client_left", 200, None),
        completed,
        completed,
        ("upstream_failed", 429, REFUSAL),
    ]


@each
def test_prompts_tokens_and_the_tool_call_are_recorded(one: Talk, talked: Talked) -> None:
    """The prompt of each question, the usage of each completed answer, the call and whose child its result is."""
    recorded = talked.recorded
    rows = recorded_in(one, talked)
    _, _, calling, answered, _ = rows
    prompts = [prompt["prompt"] for row in rows for prompt in recorded.of(recorded.prompts, row)]
    assert prompts == list(PROMPTS.values())
    for row in rows:
        usages = [
            (usage["input_tokens"], usage["output_tokens"]) for usage in recorded.of(recorded.tokens, row)
        ]
        if row["outcome"] == "completed":
            assert usages == [(100, 10)]
    (tool,) = (tool for row in rows for tool in recorded.of(recorded.tools, row))
    assert (tool["interception_id"], tool["tool"]) == (calling["id"], TOOL)
    assert tool["provider_tool_call_id"] == call_id_of(one.model)
    assert json.loads(tool["input"]) == TOOL_INPUT
    assert answered["thread_parent_id"] == calling["id"]
