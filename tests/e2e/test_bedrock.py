"""Claude Code, unchanged, on Amazon Bedrock: a turn with a tool call, and each test looks at one side of it.

It speaks to the gateway as to Anthropic; the scripted Bedrock behind is strict (see `tests.e2e.bedrock`). It asks for a
model that thinks within a budget, for one that decides by itself, and for a small, fast one.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from providers.secret import mask
from tests.e2e.bedrock import FLAGS, VERSION
from tests.e2e.claude_code import claude_code_on_bedrock
from tests.e2e.client import FILE_NAME, FILE_TEXT, PROMPT
from tests.e2e.play import ANSWER, THOUGHT, Played, play
from tests.middleware.bedrock import ACCESS_KEY, SECRETS

BIG = "global.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
SMALL = "global.anthropic.claude-haiku-4-5-20251001-v1%3A0"
ASKED_FOR = {"claude-sonnet-4-5": BIG, "claude-opus-4-7": BIG, "claude-haiku-4-5": SMALL}
"""What Claude Code is told to use, and which of the instance's two models Bedrock is asked for."""
KEPT = ("max_tokens", "messages", "system", "tools", "context_management")


@pytest.fixture(scope="module", params=ASKED_FOR)
def turn(request: pytest.FixtureRequest, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    client = claude_code_on_bedrock(request.param)
    folder = tmp_path_factory.mktemp(client.id)
    return asyncio.run(play(client, "centralized", "serve", binaries=binaries, folder=folder))


def bodies_sent(turn: Played) -> list[dict[str, Any]]:
    return [json.loads(exchange.body) for exchange in turn.sent]


def test_claude_code_does_what_the_model_says_and_shows_its_answer(turn: Played) -> None:
    """The tool ran, the final answer is on standard output, and Claude Code ended well."""
    assert turn.outcome.status == 0, turn.outcome.stderr
    assert json.loads(turn.outcome.stdout)["result"] == ANSWER
    assert (turn.work / FILE_NAME).read_text() == FILE_TEXT


def test_each_call_is_signed_and_asks_for_the_instances_model(turn: Played) -> None:
    """A wrong signature or body would have been refused: two calls, both answered, neither tried again."""
    path = f"/bedrock/model/{ASKED_FOR[turn.client.model]}/invoke-with-response-stream".encode()
    assert [(seen.method, seen.raw_path, seen.query) for seen in turn.seen] == [("POST", path, b"")] * 2
    assert [exchange.status for exchange in turn.sent] == [200, 200]
    for seen in turn.seen:
        assert (seen.header("authorization") or "").startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/")
        assert not seen.values("x-api-key")


def test_the_body_is_what_bedrock_takes_of_it(turn: Played) -> None:
    """Conversation, system prompt and tools as they were; model, stream, metadata and effort are gone."""
    for sent, seen in zip(bodies_sent(turn), turn.seen, strict=True):
        assert {"model", "stream", "metadata"} < set(sent)
        got = seen.json
        assert {name: got[name] for name in KEPT} == {name: sent[name] for name in KEPT}
        assert set(got) == {*KEPT, "anthropic_version", "anthropic_beta", "thinking"}
        assert got["anthropic_version"] == VERSION


def test_the_messages_and_tools_keep_their_bytes(turn: Played) -> None:
    """Prompt caching and the signature of the thought depend on it."""
    for exchange, seen in zip(turn.sent, turn.seen, strict=True):
        for name in ("messages", "tools"):
            text = member_text(exchange.body, name)
            assert len(text) > 100
            assert text in seen.body


def test_only_the_flags_that_bedrock_knows_go_along(turn: Played) -> None:
    """In the body, in Claude Code's order; the header with all the others stays here."""
    for exchange, seen in zip(turn.sent, turn.seen, strict=True):
        (given,) = (value for name, value in exchange.headers if name == b"anthropic-beta")
        flags = given.decode().split(",")
        assert set(flags) > FLAGS
        assert seen.json["anthropic_beta"] == [flag for flag in flags if flag in FLAGS]
        assert not seen.values("anthropic-beta") + seen.values("anthropic-version")


def test_the_model_is_let_think_as_it_knows_it(turn: Played) -> None:
    """A budget goes as it came; where the client leaves it to the model, it becomes a budget by the effort."""
    for sent, seen in zip(bodies_sent(turn), turn.seen, strict=True):
        budget = sent["max_tokens"] * 80 // 100
        adaptive = turn.client.model == "claude-opus-4-7"
        assert (sent["thinking"]["type"], "output_config" in sent) == (
            ("adaptive", True) if adaptive else ("enabled", False)
        )
        expected = {"type": "enabled", "budget_tokens": budget} if adaptive else sent["thinking"]
        assert seen.json["thinking"] == expected


def test_no_secret_goes_or_stays_where_it_has_no_business(turn: Played) -> None:
    """Neither the token nor the secret half of AWS's pair is at the provider, in the log or in the database."""
    token = turn.access.token.partition("-")[2]
    for secret in (token.encode(), SECRETS[ACCESS_KEY].encode()):
        assert secret not in turn.gateway_log.encode()
        assert secret not in turn.database
        for seen in turn.seen:
            assert secret not in b"\n".join((seen.raw_path, seen.body, *(value for _, value in seen.headers)))


def test_the_turn_is_recorded_as_any_of_claude_codes(turn: Played) -> None:
    """Client, session, the model that it asked for, whose key signed, and how it ended."""
    common = {
        "client": "Claude Code",
        "client_session_id": json.loads(turn.outcome.stdout)["session_id"],
        "provider": "anthropic",
        "provider_name": "bedrock",
        "model": turn.client.model,
        "api_key_id": turn.access.token.partition("-")[0],
        "credential_kind": "centralized",
        "credential_hint": mask(ACCESS_KEY),
        "outcome": "completed",
        "status": 200,
        "error_type": None,
    }
    rows = turn.recorded.interceptions
    assert [{key: row[key] for key in common} for row in rows] == [common] * 2


def test_what_was_said_and_done_is_recorded(turn: Played) -> None:
    """Prompt, thought, call and tokens, and the answer as the child of the call."""
    recorded = turn.recorded
    calling, answered = recorded.interceptions
    (prompt,), (thought,), (tool,) = recorded.prompts, recorded.thoughts, recorded.tools
    assert {row["interception_id"] for row in (prompt, thought, tool)} == {calling["id"]}
    assert (prompt["prompt"], thought["content"]) == (PROMPT, THOUGHT)
    assert (tool["tool"], tool["provider_tool_call_id"]) == (turn.tool.name, turn.tool.call_id)
    assert json.loads(tool["input"]) == json.loads(turn.tool.input)
    usages = [
        (
            usage["interception_id"],
            usage["provider_response_id"],
            usage["input_tokens"],
            usage["output_tokens"],
        )
        for usage in recorded.tokens
    ]
    assert usages == [(calling["id"], "resp_tool", 100, 10), (answered["id"], "resp_final", 100, 10)]
    assert answered["correlating_tool_call_id"] == turn.tool.call_id
    assert (answered["thread_parent_id"], answered["thread_root_id"]) == (calling["id"], calling["id"])


def member_text(body: bytes, name: str) -> bytes:
    """The bytes of a member of the outermost object, as its writer wrote them."""
    text = body.decode()
    start = text.index(f'"{name}":') + len(name) + 3
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end].encode()
