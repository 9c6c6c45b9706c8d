"""A turn with a tool call, by each real client, through the real gateway, with either credential.

The tests share one turn for each client and mode (see `play`), and each looks at one side of it.
"""

from __future__ import annotations

import hashlib
import json

from providers.secret import mask
from tests.e2e.client import FILE_NAME, FILE_TEXT, PROMPT
from tests.e2e.gateway import CENTRAL_KEYS
from tests.e2e.play import ANSWER, OWN_KEY, THOUGHT, Played
from tests.e2e.records import Row
from tests.e2e.tap import Exchanged
from tests.upstream import Received

CENTRAL_SLOTS = {"anthropic": b"x-api-key", "openai": b"authorization"}
CREDENTIAL_SLOTS = {b"authorization", b"x-api-key"}
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade"}
NEVER_FORWARDED = {b"host", b"content-length", b"accept-encoding", b"x-coder-ai-governance-token"}
REPLACED = CREDENTIAL_SLOTS | HOP_BY_HOP | NEVER_FORWARDED


def asked(turn: Played) -> list[Exchanged]:
    """The model calls among what the client sent."""
    return [exchange for exchange in turn.sent if exchange.method == "POST"]


def calling_and_answered(turn: Played) -> tuple[Row, Row]:
    """The interception in which the model called the tool, and the one in which it got the result."""
    (tool,) = turn.recorded.tools
    calling = next(row for row in turn.recorded.interceptions if row["id"] == tool["interception_id"])
    answered = turn.recorded.interceptions[-1]
    assert answered is not calling
    return calling, answered


def test_the_client_does_what_the_model_says_and_shows_its_answer(turn: Played) -> None:
    """The tool ran, the final answer is on standard output, and the client ended well."""
    assert turn.outcome.status == 0, turn.outcome.stderr
    assert ANSWER in turn.outcome.stdout
    assert (turn.work / FILE_NAME).read_text() == FILE_TEXT


def test_the_provider_gets_the_very_bodies(turn: Played) -> None:
    """Digest by digest, in the order in which the client sent them."""
    sent = asked(turn)
    assert len(sent) >= 2
    assert sorted(_digest(exchange) for exchange in sent) == sorted(seen.sha256 for seen in turn.seen)


def test_a_probe_is_answered_without_the_provider(turn: Played) -> None:
    """What a client sends beside its model calls is a `HEAD` to its base URL, and the gateway says yes to it."""
    probes = [exchange for exchange in turn.sent if exchange.method != "POST"]
    assert [(probe.method, probe.status) for probe in probes] == [("HEAD", 200)] * len(probes)
    assert bool(probes) == (not turn.client.fenced)
    assert {seen.method for seen in turn.seen} == {"POST"}


def test_the_client_gets_the_very_answers(turn: Played) -> None:
    """Each answer is, byte for byte, what the scripted provider says to that body."""
    for exchange in asked(turn):
        (seen,) = (seen for seen in turn.seen if seen.body == exchange.body)
        assert exchange.status == 200
        assert exchange.answer == b"".join(seen.chunks)


def test_every_other_header_reaches_the_provider_in_order(turn: Played) -> None:
    """What is not a credential, ours or of one connection passes unchanged."""
    for exchange in asked(turn):
        (seen,) = (seen for seen in turn.seen if seen.body == exchange.body)
        assert _passing(seen.headers) == _passing(exchange.headers)


def test_the_provider_gets_the_right_credential_and_no_other(turn: Played) -> None:
    """The organisation's key, or the user's own, in the one header where this provider looks for it."""
    if turn.mode == "byok":
        slot, secret = turn.client.own_slot, OWN_KEY
    else:
        slot, secret = CENTRAL_SLOTS[turn.client.provider], CENTRAL_KEYS[turn.client.provider]
    value = (f"Bearer {secret}" if slot == b"authorization" else secret).encode()
    for seen in turn.seen:
        assert [header for header in seen.headers if header[0] in CREDENTIAL_SLOTS] == [(slot, value)]


def test_the_gateways_token_goes_nowhere_else(turn: Played) -> None:
    """Neither the token nor a header of ours reaches the provider; no secret is in the log or the database."""
    token = turn.access.token.encode()
    secret_part = token.partition(b"-")[2]
    assert secret_part
    for seen in turn.seen:
        assert secret_part not in _everything(seen)
        assert not [name for name, _ in seen.headers if name.startswith(b"x-coder-")]
    for secret in (secret_part, OWN_KEY.encode(), *(key.encode() for key in CENTRAL_KEYS.values())):
        assert secret not in turn.gateway_log.encode()
        assert secret not in turn.database


def test_the_turn_is_recorded_with_who_and_how(turn: Played) -> None:
    """Every model call left one interception that names client, session, provider, model, key and outcome."""
    rows = turn.recorded.interceptions
    assert len(rows) == len(asked(turn))
    secret = OWN_KEY if turn.mode == "byok" else CENTRAL_KEYS[turn.client.provider]
    common = {
        "client": turn.client.recorded_name,
        "provider": turn.client.provider,
        "provider_name": turn.client.instance,
        "model": turn.client.model,
        "api_key_id": turn.access.token.partition("-")[0],
        "credential_kind": turn.mode,
        "credential_hint": mask(secret),
        "outcome": "completed",
        "status": 200,
        "error_type": None,
    }
    for row in rows:
        assert {key: row[key] for key in common} == common
        assert row["ended_at"] >= row["started_at"]
    assert {row["client_session_id"] for row in rows} == {_session(turn)}
    assert {row["session_id"] for row in rows} == {_session(turn)}


def test_the_prompt_is_recorded_where_the_user_asked(turn: Played) -> None:
    """The first call of the turn holds the prompt; the one that returns a tool's result has none."""
    calling, answered = calling_and_answered(turn)
    (prompt,) = turn.recorded.of(turn.recorded.prompts, calling)
    assert prompt["prompt"].strip('"') == PROMPT  # opencode puts what it got on its command line into quotes
    assert turn.recorded.of(turn.recorded.prompts, answered) == []


def test_tokens_are_recorded_once_for_each_answer(turn: Played) -> None:
    """The scripted usage, under the response ID of the provider."""
    for interception in turn.recorded.interceptions:
        (usage,) = turn.recorded.of(turn.recorded.tokens, interception)
        assert (usage["input_tokens"], usage["output_tokens"]) == (100, 10)
    ids = [usage["provider_response_id"] for usage in turn.recorded.tokens]
    assert ids.count("resp_tool") == 1


def test_the_tool_call_and_the_thought_are_recorded(turn: Played) -> None:
    """The call as the model wrote it, with its ID, and the reasoning where this API shows it."""
    calling, _ = calling_and_answered(turn)
    (tool,) = turn.recorded.tools
    assert (tool["tool"], tool["provider_tool_call_id"]) == (turn.tool.name, turn.tool.call_id)
    assert json.loads(tool["input"]) == json.loads(turn.tool.input)
    thoughts = [thought["content"] for thought in turn.recorded.of(turn.recorded.thoughts, calling)]
    assert thoughts == ([THOUGHT] if turn.client.shows_thoughts else [])


def test_the_answer_to_the_call_is_the_child_of_the_call(turn: Played) -> None:
    """Lineage: the request that carries the tool's result belongs to the one in which the model called it."""
    calling, answered = calling_and_answered(turn)
    assert calling["thread_parent_id"] is None
    assert answered["correlating_tool_call_id"] == turn.tool.call_id
    assert answered["thread_parent_id"] == calling["id"]
    assert answered["thread_root_id"] == calling["id"]


def test_the_client_needs_nobody_else(turn: Played) -> None:
    """With its vendor's switches set, a client calls nobody but the gateway; one is known to try."""
    if turn.client.stays_inside:
        assert turn.attempts_to_leave == []


def _digest(exchange: Exchanged) -> str:
    return hashlib.sha256(exchange.body).hexdigest()


def _passing(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in REPLACED]


def _everything(seen: Received) -> bytes:
    headers = b"\n".join(name + b": " + value for name, value in seen.headers)
    return b"\n".join((seen.raw_path, seen.query, headers, seen.body))


def _session(turn: Played) -> str:
    """The one session ID that the client named in all its requests."""
    name = turn.client.session_header
    (session,) = {value for exchange in asked(turn) for key, value in exchange.headers if key == name}
    return session.decode()
