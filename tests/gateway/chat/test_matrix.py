"""Every way in which a turn can reach a provider, looked at from the provider's side and in the records."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from gateway.chat.content import text_of
from gateway.chat.routing.credentials import PLACEHOLDER
from gateway.chat.routing.requests import USER_AGENT
from providers.options import ProviderOptions
from tests.answers.turn import Turn
from tests.aws_signature import Account, problem
from tests.gateway.chat.deployment import (
    AWS_SECRET,
    BEDROCK_MODEL,
    CENTRAL_KEY,
    KINDS,
    LOOK_CALL,
    PROVIDERS,
    USER_KEY,
    House,
    Kind,
    deployed,
    everything,
    plays,
)
from tests.gateway.rig import GOVERNANCE
from tests.middleware.bedrock import ACCESS_KEY, REGION
from tests.upstream import Received

PATHS: dict[Kind, str] = {
    "openai": "/v1/responses",
    "anthropic": "/v1/messages",
    "bedrock": f"/model/{BEDROCK_MODEL}/invoke-with-response-stream",
    "compatible": "/llm/v1/chat/completions",
}
ACCOUNTS = {ACCESS_KEY: Account(AWS_SECRET)}
NOWHERE = (PLACEHOLDER, "delegated", GOVERNANCE.lower(), "x-coder-", "coder-chat")
CASES = list(itertools.product((False, True), (False, True), (False, True), KINDS))
NAMES = [
    f"{'direct' if direct else 'gateway'}-byok {'on' if byok else 'off'}-{'a' if key else 'no'} user key-{kind}"
    for direct, byok, key, kind in CASES
]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the environment, which direct calls to Bedrock go by."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in (
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_BEARER_TOKEN_BEDROCK",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("direct", "byok", "key", "kind"), CASES, ids=NAMES)
@pytest.mark.usefixtures("aws")
async def test_a_whole_turn_reaches_the_provider_with_the_right_credential_and_is_recorded(
    tmp_path: Path, direct: bool, byok: bool, key: bool, kind: Kind
) -> None:
    """A call of a tool and its answer: what the provider saw, and what is on record."""
    upstream = plays(Turn(tool=LOOK_CALL, response_id="resp_1"), Turn(text="A cat.", response_id="resp_2"))
    users = byok and key
    async with deployed(tmp_path, upstream, kind=kind, direct=direct, byok=byok, user_key=key) as house:
        chat = await house.service.create(house.ada, text="What is on the mat?")
        ended = await house.ended(chat.id)
        assert (ended.status, ended.error) == ("waiting", "")
        said = await house.store.messages(chat.id)
        assert [one.role for one in said] == ["user", "assistant", "tool", "assistant"]
        assert text_of(said[-1].parts) == "A cat."
        assert {one.credential_kind for one in said if one.role == "assistant"} == {
            "byok" if users else "centralized"
        }
        for request in upstream.requests:
            _check_request(request, kind, users=users, direct=direct)
        assert len(house.calls) == 2
        assert b"a cat" in house.calls[1].body
        await (_nothing_recorded(house) if direct else _recorded(house, chat.id, kind, users=users))


def _check_request(request: Received, kind: Kind, *, users: bool, direct: bool) -> None:
    path = PATHS[kind]
    if kind == "bedrock" and direct:
        path = path.replace(
            BEDROCK_MODEL, "scripted-model"
        )  # the gateway's mapping of models is the gateway's
    assert request.path == path
    assert request.header("user-agent") == USER_AGENT
    credentials = {
        name: request.header(name) for name in ("authorization", "x-api-key") if request.values(name)
    }
    if kind == "bedrock" and not users:
        assert list(credentials) == ["authorization"]
        assert problem(request, ACCOUNTS, region=REGION) == ""
    else:
        secret = USER_KEY if users else CENTRAL_KEY
        slot, value = ("x-api-key", secret) if kind == "anthropic" else ("authorization", f"Bearer {secret}")
        assert credentials == {slot: value}
    seen = everything(request)
    for needle in (*NOWHERE, CENTRAL_KEY if users else USER_KEY, AWS_SECRET):
        assert needle.encode() not in seen.lower() if needle.islower() else needle.encode() not in seen


async def _recorded(house: House, chat_id: str, kind: Kind, *, users: bool) -> None:
    rows = await house.rows("SELECT * FROM aibridge_interceptions ORDER BY started_at, id")
    turns = [row for row in rows if row["id"] in await _prompted(house)]
    assert len(rows) == len(house.upstream.requests)
    for row in rows:
        assert row["initiator_id"] == house.ada.user_id
        assert row["api_key_id"] == house.ada.api_key_id
        assert row["client"] == "Coder Agents"
        assert row["session_id"] == chat_id
        assert row["provider_name"] == PROVIDERS[kind].name
        assert row["credential_kind"] == ("byok" if users else "centralized")
        assert USER_KEY not in repr(row)
        assert CENTRAL_KEY not in repr(row)
    assert len(turns) == 1
    prompts = await house.rows("SELECT prompt FROM aibridge_user_prompts")
    assert [row["prompt"] for row in prompts] == ["What is on the mat?"]
    (tool,) = await house.rows("SELECT tool FROM aibridge_tool_usages")
    assert tool["tool"] == "look"


async def _prompted(house: House) -> set[str]:
    """The interceptions that a prompt of the user's is recorded of."""
    return {
        row["interception_id"]
        for row in await house.rows("SELECT interception_id FROM aibridge_user_prompts")
    }


async def _nothing_recorded(house: House) -> None:
    """What doesn't pass the gateway can't be on its record."""
    assert await house.rows("SELECT id FROM aibridge_interceptions") == []


async def test_a_provider_without_a_key_gets_no_credential_at_all(tmp_path: Path) -> None:
    """Neither way: also not the placeholder that the SDK insists on."""
    for direct in (False, True):
        upstream = plays(Turn(text="Hello"))
        keyless = ProviderOptions(type="openai", name="compatible", base_url="http://models.test/v1")
        folder = tmp_path / str(direct)
        folder.mkdir()
        async with deployed(
            folder, upstream, kind="compatible", direct=direct, providers=(keyless,)
        ) as house:
            await house.ended((await house.service.create(house.ada, text="Hi")).id)
            (request,) = house.calls
        assert request.values("authorization") == []
        assert request.values("x-api-key") == []
        assert PLACEHOLDER.encode() not in everything(request)
