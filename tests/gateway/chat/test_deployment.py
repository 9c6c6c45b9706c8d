"""Chats on a real gateway: what its records say of them, and what happens when keys and providers go away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.chat.content import ToolResult, text_of
from gateway.chat.routing import ActiveKeyMissing
from gateway.settings import Settings
from providers.secret import Secret
from tests.answers.turn import ToolUse, Turn
from tests.gateway.chat.deployment import (
    PROVIDERS,
    House,
    asks_for_title,
    deployed,
    plays,
    worded,
)
from tests.upstream import Received, Reply, Upstream
from tests.waiting import PATIENCE_S


async def titled(house: House, chat_id: str) -> str:
    """The title, as soon as there is one."""
    with house.service.feed(chat_id) as feed:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await house.store.chat(chat_id)).title:
                await feed.changed(PATIENCE_S)
                feed.take()
    return found.title


async def test_a_title_is_recorded_as_a_call_and_not_as_a_prompt(tmp_path: Path) -> None:
    """It costs tokens, and nobody typed it."""
    async with deployed(tmp_path, plays(Turn(text="A cat."))) as house:
        chat = await house.service.create(house.ada, text="What is on the mat?")
        await house.ended(chat.id)
        assert await titled(house, chat.id) == "A title"
        assert sum(asks_for_title(one) for one in house.upstream.requests) == 1
        calls = await house.rows("SELECT id, session_id, api_key_id FROM aibridge_interceptions")
        prompts = await house.rows("SELECT prompt FROM aibridge_user_prompts")
    assert [(row["session_id"], row["api_key_id"]) for row in calls] == [(chat.id, house.ada.api_key_id)] * 2
    assert [row["prompt"] for row in prompts] == ["What is on the mat?"]


async def test_an_agents_calls_are_recorded_in_the_session_of_the_chat_that_spawned_it(
    tmp_path: Path,
) -> None:
    """With its parent's key, by the same person; what it was told is a prompt like any other."""
    spawn = ToolUse("spawn_agent", '{"prompt": "Count the cats"}', call_id="call_1")

    def answer(request: Received) -> Reply:
        if asks_for_title(request):
            return worded(request, Turn(text="A title"))
        if b"Count the cats" in request.body and b"spawn_agent" not in request.body:
            return worded(request, Turn(text="Three."))
        return worded(request, Turn(text="Done.") if b"tool_result" in request.body else Turn(tool=spawn))

    async with deployed(tmp_path, Upstream(answer)) as house:
        chat = await house.service.create(house.ada, text="Have them counted")
        await house.ended(chat.id)
        (agent,) = await house.store.children(chat.id)
        await house.ended(agent.id)
        assert text_of((await house.store.messages(agent.id))[-1].parts) == "Three."
        rows = await house.rows(
            "SELECT prompt, session_id, initiator_id, api_key_id, client FROM aibridge_user_prompts "
            "JOIN aibridge_interceptions ON aibridge_interceptions.id = interception_id"
        )
    expected = (chat.id, house.ada.user_id, house.ada.api_key_id, "Coder Agents")
    assert {row["prompt"]: tuple(row.values())[1:] for row in rows} == {
        "Have them counted": expected,
        "Count the cats": expected,
    }


async def test_a_deleted_key_ends_what_depended_on_it_and_nothing_else(tmp_path: Path) -> None:
    """The history stays, no other key steps in, and a message with a key that works goes on."""
    async with deployed(tmp_path, plays(Turn(text="First."), Turn(text="Third."))) as house:
        chat = await house.service.create(house.ada, text="One")
        await house.ended(chat.id)
        lost = await house.new_key()
        kept = await house.new_key()
        await house.accounts.delete_key(lost.api_key_id)
        await house.service.send(lost, chat.id, "Two")
        assert (await house.ended(chat.id)).error == str(ActiveKeyMissing())
        assert len(house.calls) == 1

        await house.service.send(kept, chat.id, "Three")
        assert (await house.ended(chat.id)).error == ""
        assert [one.api_key_id for one in await house.store.messages(chat.id) if one.role == "user"] == [
            house.ada.api_key_id,
            None,
            kept.api_key_id,
        ]


async def test_a_revoked_key_is_refused_by_the_gateway_and_not_tried_again(tmp_path: Path) -> None:
    """The error of the turn is the gateway's own."""
    async with deployed(tmp_path, plays(), auth_cache_ttl_s=0) as house:
        await house.accounts.revoke_key(house.ada.api_key_id)
        chat = await house.service.create(house.ada, text="One")
        ended = await house.ended(chat.id)
        assert ended.status == "error"
        assert (
            ended.error
            == "unauthorized (HTTP 403: the provider's credential or the turn's key is not accepted)"
        )
        assert house.upstream.requests == []


async def test_a_provider_that_was_taken_away_takes_no_more_calls(tmp_path: Path) -> None:
    """After a reload: a chat that had its model there says so, and goes nowhere else."""
    async with deployed(tmp_path, plays(Turn(text="First."))) as house:
        chat = await house.service.create(house.ada, text="One")
        await house.ended(chat.id)
        options = house.app.options
        disabled = msgspec.structs.replace(PROVIDERS["anthropic"], enabled=False)
        for providers in ((disabled,), ()):
            await house.app.reload(Settings(gateway=msgspec.structs.replace(options, providers=providers)))
            await house.service.send(house.ada, chat.id, "Two")
            ended = await house.ended(chat.id)
            assert ended.error == "The AI provider 'anthropic' is disabled: choose a model of another one."
        assert len(house.calls) == 1


async def test_a_key_that_cannot_be_decrypted_is_not_replaced_by_the_organisations(tmp_path: Path) -> None:
    """The person would pay with somebody else's money and not know."""
    async with deployed(tmp_path, plays(), user_key=True) as house:
        await house.database.execute("UPDATE user_ai_provider_keys SET encrypted_key = 'gAAAAA-broken'")
        chat = await house.service.create(house.ada, text="One")
        ended = await house.ended(chat.id)
        assert "can't be decrypted" in ended.error
        assert house.upstream.requests == []


async def test_a_key_of_another_authority_is_named_and_serves(tmp_path: Path) -> None:
    """With a static token there is no row for the key; the records name it all the same."""
    async with deployed(
        tmp_path,
        plays(Turn(text="Hello")),
        auth="static",
        static_token=Secret("fake-token"),
        static_user="root",
    ) as house:
        identity = await house.app.authenticator.identify("static")
        chat = await house.service.create(identity, text="Hi")
        assert (await house.ended(chat.id)).error == ""
        (row,) = await house.rows(
            "SELECT api_key_id FROM aibridge_interceptions WHERE id IN "
            "(SELECT interception_id FROM aibridge_user_prompts)"
        )
        assert row["api_key_id"] == identity.api_key_id
        assert (await house.store.messages(chat.id))[0].api_key_id == identity.api_key_id


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_on_postgresql_a_turn_with_a_tool_goes_the_same_way(tmp_path: Path, database_url: str) -> None:
    """Every statement of the service, on the other database."""
    look = ToolUse("look", "{}", call_id="call_1")
    upstream = plays(Turn(tool=look), Turn(text="A cat."), Turn(text="Still."))
    async with deployed(tmp_path, upstream, database_url=database_url, user_key=True) as house:
        chat = await house.service.create(house.ada, text="What is there?")
        await house.service.send(house.ada, chat.id, "And now?")
        await house.ended(chat.id)
        said = await house.store.messages(chat.id)
    assert [one.role for one in said] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert isinstance(said[2].parts[0], ToolResult)
    assert {one.credential_kind for one in said if one.role == "assistant"} == {"byok"}
