from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.chat.content import Image, Part, Reasoning, Text, Tokens, ToolCall, ToolResult
from gateway.chat.store import Chat, NewMessage, UnknownChat
from recorders.codec import MAX_INTEGER
from recorders.stores.base import RecordsRefused
from tests.gateway.chat.stores import LEASE, MODEL, OWNER, Chats, chats_at, said

NOBODYS_KEY = "AAAAAAAAAA"
RACES = 40

EVERY_PART: tuple[Part, ...] = (
    Text("Hello, wörld 🌍"),
    Reasoning(text="hm", opaque='{"signature": "x"}', provider="anthropic", model="claude"),
    ToolCall(call_id="call_1", name="look", arguments='{"at": "\\u0000"}'),
    ToolResult(
        call_id="call_1", name="look", content="a cat", images=(Image(media_type="image/png", data="aGk="),)
    ),
)


@pytest.fixture
async def chats(database_url: str) -> AsyncIterator[Chats]:
    """Once for each kind of database."""
    async with chats_at(database_url) as chats:
        yield chats


async def queue_is_counted(chats: Chats, chat: Chat) -> None:
    assert (await chats.store.chat(chat.id)).queued == len(await chats.store.queued(chat.id))


# -- chats ----------------------------------------------------------------------------------------------------------


async def test_a_new_chat_waits_and_is_the_root_of_itself(chats: Chats) -> None:
    """With all that was said of it."""
    key_id = await chats.key()

    chat = await chats.chat(api_key_id=key_id, title="Cats", system="Be kind.")

    assert await chats.store.chat(chat.id, owner_id=OWNER) == chat
    assert (chat.owner_id, chat.owner_name, chat.title, chat.system) == (OWNER, "anna", "Cats", "Be kind.")
    assert (chat.model, chat.kind, chat.api_key_id) == (MODEL, "chat", key_id)
    assert (chat.parent_id, chat.root_id) == (None, chat.id)
    assert (chat.status, chat.error, chat.queued) == ("waiting", "", 0)
    assert chat.created_at == chat.updated_at == chats.clock.now


async def test_a_chat_is_nobody_elses(chats: Chats) -> None:
    """Who asks for it learns as much as of one that doesn't exist."""
    chat = await chats.chat()
    for asked, owner in (
        (chat.id, "someone-else"),
        (chat.id, ""),
        ("no-such-chat", OWNER),
        ("a\x00\ud800", None),
    ):
        with pytest.raises(UnknownChat, match=r"^There is no such chat\.$"):
            await chats.store.chat(asked, owner_id=owner)


async def test_a_child_knows_its_parent_and_the_root(chats: Chats) -> None:
    """Also below another child; each is listed with its own parent, oldest first."""
    root = await chats.chat()
    first = await chats.chat(parent=root, kind="subagent")
    second = await chats.chat(parent=root, kind="computer_use")
    below = await chats.chat(parent=first, kind="subagent")

    assert (first.parent_id, first.root_id, below.parent_id, below.root_id) == (
        *(root.id, root.id),
        *(first.id, root.id),
    )
    assert await chats.store.children(root.id) == [first, second]
    assert await chats.store.children(first.id) == [below]
    assert await chats.store.children("no-such-chat") == []


async def test_there_is_no_child_of_a_deleted_chat(chats: Chats) -> None:
    """The parent went while its turn was about to spawn."""
    parent = await chats.chat()
    await chats.store.delete_chat(parent.id)

    with pytest.raises(UnknownChat):
        await chats.chat(parent=parent)


async def test_an_owner_pages_through_the_top_level_newest_first(chats: Chats) -> None:
    """Chats that are added meanwhile move no page; others' chats and children aren't among them."""
    made = [await chats.chat() for _ in range(5)]
    await chats.chat(parent=made[0], kind="subagent")
    await chats.chat("ben")

    first = await chats.store.chats(OWNER, limit=2)
    await chats.chat()
    second = await chats.store.chats(OWNER, limit=2, before=first[-1].id)
    third = await chats.store.chats(OWNER, limit=2, before=second[-1].id)

    assert first + second + third == made[::-1]
    assert await chats.store.chats(OWNER, before=made[0].id) == []
    assert await chats.store.chats("\x00") == []


async def test_a_chat_gets_a_title(chats: Chats) -> None:
    """Which is a change of it."""
    chat = await chats.chat()
    chats.clock.now += timedelta(hours=1)

    await chats.store.set_title(chat.id, "Cats")

    assert await chats.store.chat(chat.id) == replace(chat, title="Cats", updated_at=chats.clock.now)
    with pytest.raises(UnknownChat):
        await chats.store.set_title("no-such-chat", "Cats")


async def test_a_deleted_chat_takes_along_all_that_is_in_it_and_below(chats: Chats) -> None:
    """And nothing else."""
    chat, other = await chats.running(), await chats.chat()
    child = await chats.chat(parent=chat, kind="subagent")
    for each in (chat, child, other):
        await chats.store.append(each.id, said("hello"))
    await chats.store.queue(chat.id, "more", None)

    await chats.store.delete_chat(chat.id)

    for table, left in (("chats", 1), ("chat_messages", 1), ("chat_queued_messages", 0)):
        assert len(await chats.database.fetch(f"SELECT id FROM {table}")) == left
    assert len(await chats.store.messages(other.id)) == 1
    with pytest.raises(UnknownChat):
        await chats.store.delete_chat(chat.id)


async def test_an_owner_whose_id_is_longer_than_an_index_takes_has_chats(chats: Chats) -> None:
    """Another authority chooses its IDs; two with the same beginning are two."""
    owner = "o" * 10_000
    chat = await chats.chat(owner)

    assert await chats.store.chats(owner) == [chat]
    assert await chats.store.chat(chat.id, owner_id=owner) == chat
    assert await chats.store.chats(f"{owner}!") == []


# -- messages -------------------------------------------------------------------------------------------------------


async def test_messages_come_back_as_they_were_said(chats: Chats) -> None:
    """Every kind of part, and what is known of the model that answered."""
    chat, key_id = await chats.chat(), await chats.key()
    chats.clock.now += timedelta(hours=1)
    answer = NewMessage(
        "assistant",
        EVERY_PART,
        visible="model",
        model=MODEL,
        credential_kind="byok",
        tokens=Tokens(input=1, output=2, cached=3),
    )

    question, answered = await chats.store.append(chat.id, said("hello", key_id), answer)

    assert await chats.store.messages(chat.id) == [question, answered]
    assert (question.chat_id, question.role, question.parts) == (chat.id, "user", (Text("hello"),))
    assert (question.api_key_id, question.visible, question.created_at) == (key_id, "both", chats.clock.now)
    assert (question.model, question.credential_kind, question.tokens) == (None, "", None)
    assert (answered.role, answered.parts, answered.visible) == ("assistant", EVERY_PART, "model")
    assert (answered.model, answered.credential_kind, answered.tokens) == (MODEL, "byok", answer.tokens)
    assert answered.api_key_id is None
    assert (await chats.store.chat(chat.id)).updated_at == chats.clock.now


async def test_positions_go_on_without_a_gap(chats: Chats) -> None:
    """In each chat from 0; what follows a position can be asked for."""
    chat, other = await chats.chat(), await chats.chat()
    await chats.store.append(other.id, said("elsewhere"))
    await chats.store.append(chat.id, said("a"), said("b"))

    assert await chats.store.append(chat.id) == []
    (third,) = await chats.store.append(chat.id, said("c"))

    assert [message.position for message in await chats.store.messages(chat.id)] == [0, 1, 2]
    assert await chats.store.messages(chat.id, after=1) == [third]
    assert await chats.store.messages(chat.id, after=2) == []


async def test_two_processes_that_append_at_once_take_turns(chats: Chats) -> None:
    """No position is taken twice, and what was appended together stays together."""
    chat = await chats.chat()

    await asyncio.gather(
        *(store.append(chat.id, said("a"), said("b")) for store in (chats.store, chats.other) * RACES)
    )

    messages = await chats.store.messages(chat.id)
    assert [message.position for message in messages] == list(range(4 * RACES))
    assert [message.parts[0] for message in messages] == [Text("a"), Text("b")] * 2 * RACES


async def test_of_messages_that_are_appended_together_all_are_kept_or_none(chats: Chats) -> None:
    """One that the database refuses takes the others along."""
    chat = await chats.chat()

    with pytest.raises(RecordsRefused):
        await chats.store.append(chat.id, said("a"), said("b", visible="nobody"))

    assert await chats.store.messages(chat.id) == []


async def test_nothing_is_appended_to_a_chat_that_is_gone(chats: Chats) -> None:
    """The typed error, in both databases."""
    with pytest.raises(UnknownChat):
        await chats.store.append("no-such-chat", said("hello"))
    assert await chats.database.fetch("SELECT id FROM chat_messages") == []


async def test_what_no_database_takes_is_replaced_wherever_it_stands(chats: Chats) -> None:
    """A NUL and half a character become U+FFFD, a count beyond 64 bits the highest."""
    odd, kept = "a\x00b\ud800c", "a\ufffdb\ufffdc"
    chat = await chats.chat(f"anna{odd}", title=odd, system=odd)
    assert await chats.store.claim(chat.id, odd, chats.lease())
    call = ToolCall(call_id=odd, name=odd, arguments='{"at": "\\u0000"}')
    answer = NewMessage("assistant", (Text(odd), call), tokens=Tokens(input=1 << 70))
    (message,) = await chats.store.append(chat.id, answer)
    queued = await chats.store.queue(chat.id, odd, odd)

    assert (chat.title, chat.system) == (kept, kept)
    assert await chats.store.chats(f"anna{odd}") == [await chats.store.chat(chat.id)]
    assert message.parts == (Text(kept), replace_call(call, kept))
    assert message.tokens == Tokens(input=MAX_INTEGER)
    assert queued is not None
    assert queued.text == kept
    promoted = await chats.store.promote(chat.id, odd)
    assert promoted is not None
    assert promoted.parts == (Text(kept),)
    assert await chats.store.finish(chat.id, odd, error=odd)
    assert (await chats.store.chat(chat.id)).error == kept


def replace_call(call: ToolCall, text: str) -> ToolCall:
    return ToolCall(call_id=text, name=text, arguments=call.arguments)


# -- attribution ----------------------------------------------------------------------------------------------------


async def test_the_active_key_is_that_of_the_last_message_that_a_person_said_to_the_model(
    chats: Chats,
) -> None:
    """Neither answers nor what only one of the two sees counts."""
    first, second = await chats.key(), await chats.key()
    chat = await chats.chat(api_key_id=first)
    assert await chats.store.active_key(chat.id) is None

    await chats.store.append(
        chat.id,
        said("a", first),
        said("b", second),
        NewMessage("assistant", (Text("c"),), api_key_id=first),
        NewMessage("tool", (Text("d"),), api_key_id=first),
        said("e", first, visible="model"),
        said("f", first, visible="user"),
    )

    assert await chats.store.active_key(chat.id) == second
    assert await chats.store.active_key("no-such-chat") is None


async def test_a_message_without_a_key_is_not_said_with_an_older_ones(chats: Chats) -> None:
    """The turn has no key, and who calls a model for it is refused."""
    chat, key_id = await chats.chat(), await chats.key()
    await chats.store.append(chat.id, said("a", key_id), said("b"))

    assert await chats.store.active_key(chat.id) is None


async def test_deleting_a_key_keeps_what_was_said_with_it_and_takes_the_key_away(chats: Chats) -> None:
    """From chats, messages and the queue; what has another key keeps that."""
    key_id, other_key = await chats.key(), await chats.key()
    chat = await chats.running(api_key_id=key_id)
    await chats.store.append(chat.id, said("a", other_key), said("b", key_id))
    await chats.store.queue(chat.id, "c", key_id)

    await chats.accounts.delete_key(key_id)

    assert (await chats.store.chat(chat.id)).api_key_id is None
    assert [(message.parts, message.api_key_id) for message in await chats.store.messages(chat.id)] == [
        ((Text("a"),), other_key),
        ((Text("b"),), None),
    ]
    assert [(queued.text, queued.api_key_id) for queued in await chats.store.queued(chat.id)] == [("c", None)]
    assert await chats.store.active_key(chat.id) is None
    promoted = await chats.store.promote(chat.id, "runner")
    assert promoted is not None
    assert promoted.api_key_id is None


async def test_a_key_that_was_deleted_before_is_none(chats: Chats) -> None:
    """Who wrote with it was let in a moment ago, so the text is kept."""
    chat = await chats.running(api_key_id=NOBODYS_KEY)

    (message,) = await chats.store.append(chat.id, said("a", NOBODYS_KEY))
    queued = await chats.store.queue(chat.id, "b", NOBODYS_KEY)

    assert queued is not None
    assert (chat.api_key_id, message.api_key_id, queued.api_key_id) == (None, None, None)


async def test_a_key_that_is_deleted_while_it_is_written_with_is_kept_nowhere_and_stops_nobody(
    chats: Chats,
) -> None:
    """Before, after or in the middle: the text is there, and refers to no key that is gone."""
    for _ in range(RACES):
        key_id = await chats.key()
        chat = await chats.running(api_key_id=key_id)
        _, queued, *_ = await asyncio.gather(
            chats.store.append(chat.id, said("a", key_id)),
            chats.store.queue(chat.id, "b", key_id),
            chats.accounts.delete_key(key_id),
            chats.other.append(chat.id, said("c", key_id)),
            chats.other.promote(chat.id, "runner"),
        )
        assert queued is not None
        keys = [message.api_key_id for message in await chats.store.messages(chat.id)]
        keys += [waiting.api_key_id for waiting in await chats.store.queued(chat.id)]
        assert keys == [None, None, None]
        await queue_is_counted(chats, chat)


async def test_the_key_of_another_authority_is_named(chats: Chats) -> None:
    """In chats, messages and the queue; it goes along when a queued message is promoted."""
    store = chats.of_another_authority()
    chat = await store.create_chat(owner_id="u", owner_name="u", model=MODEL, api_key_id="okta|1")
    assert await store.claim(chat.id, "runner", chats.lease())
    (message,) = await store.append(chat.id, said("a", "okta|2"))
    queued = await store.queue(chat.id, "b", "okta|3")
    assert queued is not None
    assert (chat.api_key_id, message.api_key_id, queued.api_key_id) == ("okta|1", "okta|2", "okta|3")

    promoted = await store.promote(chat.id, "runner")

    assert promoted is not None
    assert promoted.api_key_id == "okta|3"
    assert await store.active_key(chat.id) == "okta|3"


async def test_a_key_of_ours_is_referred_to_also_where_keys_may_be_elsewhere(chats: Chats) -> None:
    """So it goes when it is deleted, and isn't taken for another authority's then."""
    store, key_id = chats.of_another_authority(), await chats.key()
    chat = await store.create_chat(owner_id="u", owner_name="u", model=MODEL, api_key_id=key_id)
    await store.append(chat.id, said("a", key_id))
    assert await store.active_key(chat.id) == key_id

    await chats.accounts.delete_key(key_id)

    assert await store.active_key(chat.id) is None
    assert (await store.chat(chat.id)).api_key_id is None


# -- the queue ------------------------------------------------------------------------------------------------------


async def test_a_message_waits_only_while_the_chat_is_running(chats: Chats) -> None:
    """Otherwise there is no turn to wait for, and nothing is kept."""
    waiting, running = await chats.chat(), await chats.running()

    assert await chats.store.queue(waiting.id, "a", None) is None
    assert await chats.store.queue("no-such-chat", "a", None) is None
    queued = await chats.store.queue(running.id, "a", None)

    assert queued is not None
    assert await chats.store.queued(running.id) == [queued]
    assert (queued.chat_id, queued.text, queued.created_at) == (running.id, "a", chats.clock.now)
    assert (await chats.store.chat(running.id)).queued == 1
    assert len(await chats.database.fetch("SELECT id FROM chat_queued_messages")) == 1


async def test_queued_messages_become_a_users_in_their_order_each_with_its_key(chats: Chats) -> None:
    """Behind what has been said meanwhile."""
    chat, keys = await chats.running(), [await chats.key(), await chats.key()]
    first = await chats.store.queue(chat.id, "a", keys[0])
    second = await chats.store.queue(chat.id, "b", keys[1])
    assert first is not None
    assert second is not None
    await chats.store.append(chat.id, NewMessage("assistant", (Text("c"),)))

    promoted = [await chats.store.promote(chat.id, "runner") for _ in range(3)]

    assert promoted == [*(await chats.store.messages(chat.id))[1:], None]
    assert [
        (one.id, one.position, one.role, one.visible, one.parts, one.api_key_id) for one in promoted if one
    ] == [
        (first.id, 1, "user", "both", (Text("a"),), keys[0]),
        (second.id, 2, "user", "both", (Text("b"),), keys[1]),
    ]
    assert await chats.store.queued(chat.id) == []
    assert (await chats.store.chat(chat.id)).queued == 0


async def test_only_who_has_the_chat_promotes(chats: Chats) -> None:
    """A runner that lost its lease doesn't take what the next one is to answer."""
    chat = await chats.running()
    await chats.store.queue(chat.id, "a", None)

    assert await chats.store.promote(chat.id, "another") is None
    assert await chats.store.promote("no-such-chat", "runner") is None

    assert (await chats.store.chat(chat.id)).queued == 1
    assert await chats.store.messages(chat.id) == []


async def test_a_queued_message_can_be_taken_back(chats: Chats) -> None:
    """Once, by its own chat, and not when it has been said."""
    chat, other = await chats.running(), await chats.running()
    said_soon = await chats.store.queue(chat.id, "a", None)
    taken_back = await chats.store.queue(chat.id, "b", None)
    assert said_soon is not None
    assert taken_back is not None
    await chats.store.promote(chat.id, "runner")

    assert not await chats.store.unqueue(other.id, taken_back.id)
    assert await chats.store.unqueue(chat.id, taken_back.id)
    assert not await chats.store.unqueue(chat.id, taken_back.id)
    assert not await chats.store.unqueue(chat.id, said_soon.id)
    assert (await chats.store.chat(chat.id)).queued == 0


async def test_a_message_is_either_said_or_taken_back(chats: Chats) -> None:
    """Whoever comes first, and the other one knows."""
    for _ in range(RACES):
        chat = await chats.running()
        queued = await chats.store.queue(chat.id, "a", None)
        assert queued is not None
        message, taken_back = await asyncio.gather(
            chats.store.promote(chat.id, "runner"), chats.other.unqueue(chat.id, queued.id)
        )
        assert (message is None) == taken_back
        assert len(await chats.store.messages(chat.id)) == (0 if taken_back else 1)
        await queue_is_counted(chats, chat)


async def test_a_message_that_was_said_at_once_was_queued_all_the_same(chats: Chats) -> None:
    """Its sender, told otherwise, would send it again."""
    for _ in range(RACES):
        chat = await chats.running()
        *queued, _, _ = await asyncio.gather(
            *(chats.store.queue(chat.id, text, None) for text in "ab"),
            *(chats.other.promote(chat.id, "runner") for _ in range(2)),
        )
        assert None not in queued
        assert len(await chats.store.messages(chat.id)) + len(await chats.store.queued(chat.id)) == 2
        await queue_is_counted(chats, chat)


# -- runners --------------------------------------------------------------------------------------------------------


async def test_one_of_many_runners_gets_a_chat(chats: Chats) -> None:
    """In one process and in two, however often it is tried."""
    chat = await chats.chat()
    stores = [chats.store, chats.other] * 3
    for _ in range(RACES):
        claims = await asyncio.gather(
            *(store.claim(chat.id, f"runner {n}", chats.lease()) for n, store in enumerate(stores))
        )
        assert claims.count(True) == 1
        assert await chats.store.finish(chat.id, f"runner {claims.index(True)}")


async def test_a_claimed_chat_is_running_until_its_runner_ends_it(chats: Chats) -> None:
    """Nobody else ends or renews it; who has ended it hasn't it any more."""
    chat = await chats.running()
    assert (await chats.store.chat(chat.id)).status == "running"
    assert not await chats.store.claim(chat.id, "runner", chats.lease())
    assert not await chats.store.renew(chat.id, "another", chats.lease())
    assert not await chats.store.finish(chat.id, "another")
    assert not await chats.store.finish(chat.id, "another", error="no")
    assert await chats.store.renew(chat.id, "runner", chats.lease())

    assert await chats.store.finish(chat.id, "runner")

    assert await chats.store.chat(chat.id) == chat
    assert not await chats.store.finish(chat.id, "runner")
    assert not await chats.store.finish(chat.id, "runner", error="no")
    assert not await chats.store.renew(chat.id, "runner", chats.lease())
    assert not await chats.store.claim("no-such-chat", "runner", chats.lease())


async def test_the_chat_of_a_runner_that_died_is_free_when_its_lease_has_ended(chats: Chats) -> None:
    """Not before; and should it live on after all, the chat is another's."""
    chat = await chats.running()
    until = chats.lease()
    chats.clock.now = until
    assert not await chats.other.claim(chat.id, "next", chats.lease())
    chats.clock.now += timedelta(microseconds=1)

    assert await chats.other.claim(chat.id, "next", chats.lease())

    assert not await chats.store.renew(chat.id, "runner", chats.lease())
    assert not await chats.store.finish(chat.id, "runner")
    assert not await chats.store.finish(chat.id, "runner", error="no")
    assert await chats.other.finish(chat.id, "next")


async def test_a_chat_is_abandoned_a_while_after_the_lease_of_its_runner(chats: Chats) -> None:
    """Not before, and not when it has ended."""
    dead, ended = await chats.running("dead"), await chats.running("other")
    assert await chats.store.finish(ended.id, "other")
    chats.clock.now += LEASE + timedelta(seconds=20)
    assert await chats.other.abandoned(20.0) == []
    chats.clock.now += timedelta(seconds=1)
    assert await chats.other.abandoned(20.0) == [(dead.id, "dead")]


async def test_a_wish_to_interrupt_reaches_the_run_that_is_under_way_once(chats: Chats) -> None:
    """From any process; a chat that waits has no turn to end."""
    chat, waiting = await chats.running(), await chats.chat()

    assert await chats.other.ask_interrupt(chat.id)
    assert not await chats.other.ask_interrupt(waiting.id)
    assert not await chats.other.ask_interrupt("no-such-chat")

    assert await chats.store.interrupted() == [(chat.id, "runner")]
    assert not await chats.store.take_interrupt(chat.id, "another runner")
    assert await chats.store.take_interrupt(chat.id, "runner")
    assert not await chats.store.take_interrupt(chat.id, "runner")
    assert await chats.store.interrupted() == []


@pytest.mark.parametrize("ended", ["finished", "failed", "promoted", "taken over"])
async def test_a_wish_to_interrupt_ends_with_its_turn(chats: Chats, ended: str) -> None:
    """The next turn was not meant."""
    chat = await chats.running()
    if ended == "promoted":
        await chats.store.queue(chat.id, "next", None)
    assert await chats.other.ask_interrupt(chat.id)
    match ended:
        case "promoted":
            assert await chats.store.promote(chat.id, "runner") is not None
        case "taken over":
            chats.clock.now += timedelta(hours=1)
            assert await chats.other.claim(chat.id, "next", chats.lease())
        case _:
            assert await chats.store.finish(chat.id, "runner", error="broken" if ended == "failed" else "")
    assert await chats.store.interrupted() == []


async def test_a_runner_that_is_late_keeps_a_chat_that_nobody_took(chats: Chats) -> None:
    """A slow moment isn't a death."""
    chat = await chats.running()
    chats.clock.now += timedelta(hours=1)

    assert await chats.store.renew(chat.id, "runner", chats.lease())
    assert not await chats.other.claim(chat.id, "next", chats.lease())


async def test_a_turn_does_not_end_while_messages_wait(chats: Chats) -> None:
    """Nothing changes, and its runner goes on."""
    chat = await chats.running()
    await chats.store.queue(chat.id, "a", None)
    before = await chats.store.chat(chat.id)

    assert not await chats.store.finish(chat.id, "runner")

    assert await chats.store.chat(chat.id) == before
    assert await chats.store.promote(chat.id, "runner") is not None
    assert await chats.store.finish(chat.id, "runner")


async def test_an_error_ends_a_turn_and_leaves_the_queue_to_the_next(chats: Chats) -> None:
    """Whose claim forgets the error."""
    chat = await chats.running()
    await chats.store.queue(chat.id, "a", None)

    assert await chats.store.finish(chat.id, "runner", error="The provider is overloaded.")

    failed = await chats.store.chat(chat.id)
    assert (failed.status, failed.error, failed.queued) == ("error", "The provider is overloaded.", 1)
    assert await chats.store.queue(chat.id, "b", None) is None
    assert await chats.store.claim(chat.id, "next", chats.lease())
    assert (await chats.store.chat(chat.id)).error == ""
    assert await chats.store.promote(chat.id, "next") is not None


async def test_a_message_is_never_left_behind_by_a_turn_that_ends(chats: Chats) -> None:
    """It is queued and the turn goes on, or the turn has ended and the sender knows; in either order."""
    for turn in range(2 * RACES):
        chat = await chats.running()
        queue = chats.other.queue(chat.id, "a", None)
        finish = chats.store.finish(chat.id, "runner")
        if turn % 2:
            queued, finished = await asyncio.gather(queue, finish)
        else:
            finished, queued = await asyncio.gather(finish, queue)
        assert finished == (queued is None)
        assert (await chats.store.chat(chat.id)).status == ("waiting" if finished else "running")
        await queue_is_counted(chats, chat)


async def test_a_message_that_is_queued_while_the_turn_begins_is_counted(chats: Chats) -> None:
    """Should the chat begin to run in the middle, the message counts or isn't there."""
    for _ in range(RACES):
        chat = await chats.chat()
        queued, claimed = await asyncio.gather(
            chats.store.queue(chat.id, "a", None), chats.other.claim(chat.id, "runner", chats.lease())
        )
        assert claimed
        assert len(await chats.store.queued(chat.id)) == (0 if queued is None else 1)
        await queue_is_counted(chats, chat)
