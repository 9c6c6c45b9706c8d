from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.chat.content import Ask, Image, ModelError, Reasoning, Text, ToolCall, ToolResult, text_of
from gateway.chat.errors import EmptyMessage, MessageTooLong, NoModel, Stopping, TooManyAgents
from gateway.chat.events import (
    ChatEvent,
    Delta,
    MessageAdded,
    QueueChanged,
    StatusChanged,
    TitleChanged,
    Turn,
)
from gateway.chat.hub import MAX_EVENTS
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import ActiveKeyMissing, Model, ModelName
from gateway.chat.service import MAX_AGENTS, ChatService
from gateway.chat.store import UnknownChat
from gateway.chat.tools import Output, Tool, ToolError
from recorders.stores.base import StoreError
from recorders.stores.database import Database
from recorders.stores.urls import database_for
from tests.gateway.chat.stage import ADA, BOB, MODEL, Line, ScriptedSpeaker, Stage, calls, says
from tests.waiting import PATIENCE_S

ROUNDS = 1_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = database_for(f"sqlite:///{tmp_path}/chats.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    stage = await Stage.on(database, tools=[LOOK])
    async with stage.service.running():
        yield stage


async def _look(turn: Any, arguments: dict[str, Any]) -> str:
    if arguments.get("at") == "the sun":
        raise ToolError("too bright")
    if arguments.get("at") == "the void":
        raise ZeroDivisionError("secret detail")
    if arguments.get("at") == "nothing":
        return None  # type: ignore[return-value]  # hosts have bugs
    return f"a cat, seen for {turn.owner_id} with {turn.api_key_id}"


LOOK = Tool("look", "Look at something.", {"type": "object", "properties": {"at": {"type": "string"}}}, _look)


@dataclass(frozen=True)
class Acting:
    """A turn, as tools see it."""

    chat_id: str
    owner_id: str = ADA.user_id
    api_key_id: str | None = ADA.api_key_id


class Heard:
    """Collects the events of a chat until it waits again."""

    def __init__(self, service: ChatService, chat_id: str, after: int = -1) -> None:
        self._events = service.events(ADA, chat_id, after=after)

    async def __aenter__(self) -> Heard:
        self.first = await anext(self._events)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._events.aclose()

    async def until(self, kind: type[ChatEvent]) -> list[ChatEvent]:
        """The events up to the next of a kind, which is the last."""
        heard: list[ChatEvent] = []
        async with asyncio.timeout(PATIENCE_S):
            while not heard or not isinstance(heard[-1], kind):
                heard.append(await anext(self._events))
        return heard

    async def words(self, text: str) -> None:
        """Wait for these words, in however many deltas."""
        said = ""
        while said != text:
            said += "".join(one.text for one in await self.until(Delta) if isinstance(one, Delta))

    async def until_waiting(self) -> list[ChatEvent]:
        heard = await self.until(StatusChanged)
        while heard[-1] != StatusChanged(status="waiting"):
            heard += await self.until(StatusChanged)
        return heard


# -- a turn -------------------------------------------------------------------------------------------------------


async def test_a_message_begins_a_turn_and_its_answer_is_kept(stage: Stage) -> None:
    """With the model that gave it, whose credential it took, and what it cost."""
    stage.script(says("Hel", "lo"))
    chat = await stage.service.create(ADA, text="Hi")
    assert chat.status == "running"

    assert (await stage.ended(chat.id)).status == "waiting"

    question, answer = await stage.store.messages(chat.id)
    assert (question.role, question.parts, question.api_key_id) == ("user", (Text("Hi"),), ADA.api_key_id)
    assert (answer.role, text_of(answer.parts), answer.model) == ("assistant", "Hello", MODEL)
    assert answer.credential_kind == "centralized"
    assert answer.tokens is not None
    assert (answer.tokens.input, answer.tokens.output) == (3, 5)


async def test_the_events_of_a_turn_come_in_the_order_of_what_happens(stage: Stage) -> None:
    """The person's message, the model, its deltas one by one, the whole, the end."""
    gate = asyncio.Event()
    stage.script(says("Hel", gate, "lo"))
    chat = await stage.service.create(ADA, text="Hi")
    async with Heard(stage.service, chat.id) as heard:
        assert heard.first == StatusChanged(status="running")
        events = await heard.until(Delta)
        gate.set()
        events += await heard.until_waiting()
    match [one for one in events if not isinstance(one, Turn)]:
        case [
            MessageAdded(role="user", position=0),
            Delta(kind="text", text="Hel"),
            Delta(kind="text", text="lo"),
            MessageAdded(role="assistant", position=1, provider="local", model="scripted"),
            StatusChanged(status="waiting"),
        ]:
            pass
        case _:
            pytest.fail(f"{events}")


async def test_a_turn_goes_on_until_the_model_calls_no_tool(stage: Stage) -> None:
    """The tool knows for whom it works; the model is shown its result."""
    stage.script(says("Let me see.", calls("look", '{"at": "the mat"}')), says("A cat."))
    chat = await stage.service.create(ADA, text="What is on the mat?")
    await stage.ended(chat.id)

    result = ToolResult(
        call_id="call-1", name="look", content=f"a cat, seen for {ADA.user_id} with {ADA.api_key_id}"
    )
    messages = await stage.store.messages(chat.id)
    assert [one.role for one in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[2].parts == (result,)
    _, second = stage.asked[1]
    assert second.messages[-1].parts == (result,)
    assert [tool.name for tool in second.tools] == [
        "look",
        "spawn_agent",
        "message_agent",
        "wait_agent",
        "ask_advisor",
    ]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (calls("look", '{"at": "the sun"}'), "too bright"),
        (calls("look", '{"at": "the void"}'), "the tool failed: ZeroDivisionError"),
        (calls("look", '{"at": "nothing"}'), "the tool failed: TypeError"),
        (calls("look", '{"at": ' + "[" * 100_000), "the arguments are not a JSON object"),
        (calls("look", "{not json"), "the arguments are not a JSON object"),
        (calls("look", "[1]"), "the arguments are not a JSON object"),
        (calls("fly", "{}"), "there is no tool 'fly'"),
        (calls("spawn_agent", "{}"), "the argument prompt is missing: give a text"),
        (
            calls("spawn_agent", '{"prompt": "x", "kind": "king"}'),
            "the argument kind is subagent or computer_use",
        ),
        (calls("wait_agent", '{"agent_id": "nobody"}'), "there is no such agent of yours"),
        (
            calls("wait_agent", '{"agent_id": "a", "timeout_s": true}'),
            "the argument timeout_s is a number of seconds",
        ),
    ],
)
async def test_what_a_tool_cannot_do_is_told_to_the_model(stage: Stage, call: ToolCall, told: str) -> None:
    """The turn goes on; of an error that nobody foresaw it hears the name alone."""
    stage.script(says(call), says("I see."))
    chat = await stage.service.create(ADA, text="Do it.")
    assert (await stage.ended(chat.id)).error == ""
    result = (await stage.store.messages(chat.id))[2].parts[0]
    assert isinstance(result, ToolResult)
    assert (result.is_error, result.content) == (True, told)


async def test_a_call_that_was_cut_off_is_not_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an argument may mean something else than the whole."""
    monkeypatch.setattr(ScriptedSpeaker, "stop", "length")
    stage.script(says("Let me", calls("look", '{"at": "the')))
    chat = await stage.service.create(ADA, text="Look")
    assert (await stage.ended(chat.id)).status == "waiting"
    assert [one.role for one in await stage.store.messages(chat.id)] == ["user", "assistant"]


async def test_pictures_of_a_tool_reach_the_model(database: Database) -> None:
    """Beside the text of its result."""

    picture = Image(media_type="image/png", data="aGk=")

    async def shoot(turn: Any, arguments: dict[str, Any]) -> Output:
        return Output(content="the screen", images=(picture,))

    stage = await Stage.on(database, tools=[Tool("shoot", "Take a picture.", {"type": "object"}, shoot)])
    async with stage.service.running():
        stage.script(says(calls("shoot")), says("Nice."))
        await stage.ended((await stage.service.create(ADA, text="What's there?")).id)
    result = stage.asked[1][1].messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert result.images == (picture,)


async def test_two_tools_of_one_name_are_refused(database: Database) -> None:
    """Also one that takes the name of a tool that comes with the service."""
    with pytest.raises(ValueError, match="two tools are named 'ask_advisor'"):
        await Stage.on(database, tools=[replace(LOOK, name="ask_advisor")])


async def test_a_turn_that_never_ends_is_ended(database: Database) -> None:
    """A model that calls tools for ever costs money for ever."""
    stage = await Stage.on(database, tools=[LOOK], max_steps=3)
    stage.answer = lambda model, ask: says(calls("look"))
    async with stage.service.running():
        chat = await stage.ended((await stage.service.create(ADA, text="Go")).id)
    assert chat.error == "the turn did not end after 3 calls of the model; send a message to go on"
    assert len(stage.asked) == 3


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ModelError("overloaded", status=529), "overloaded"),
        (StoreError("password is hunter2"), "the database could not be reached; send the message again"),
        (ZeroDivisionError("hunter2"), "the turn failed for a reason of our own, which the log has"),
    ],
)
async def test_a_turn_that_fails_says_why_and_the_chat_goes_on(
    stage: Stage, raised: Exception, told: str
) -> None:
    """The next message overcomes it, with everything that was said before."""
    stage.script(says(raised), says("Here I am."))
    chat = await stage.service.create(ADA, text="Hello?")
    failed = await stage.ended(chat.id)
    assert (failed.status, failed.error) == ("error", told)

    await stage.service.send(ADA, chat.id, "Still there?")
    assert (await stage.ended(chat.id)).status == "waiting"
    assert [text_of(one.parts) for one in stage.asked[1][1].messages] == ["Hello?", "Still there?"]


async def test_thoughts_are_shown_without_what_only_the_provider_reads(stage: Stage) -> None:
    """The model gets all of it back, subscribers the words."""
    stage.script(
        says(Reasoning(text="hm", opaque="sealed", provider="local", model="scripted"), "A cat."),
        says("Yes."),
    )
    chat = await stage.service.create(ADA, text="What?")
    await stage.ended(chat.id)
    view = await stage.service.view(ADA, chat.id)
    async with Heard(stage.service, chat.id) as heard:
        added = (await heard.until(MessageAdded)) + (await heard.until(MessageAdded))
    assert "sealed" not in repr(added)
    assert "hm" in repr(added[-1])
    assert view.messages[1].parts[0] == Reasoning(
        text="hm", opaque="sealed", provider="local", model="scripted"
    )
    await stage.service.send(ADA, chat.id, "Sure?")
    await stage.ended(chat.id)
    assert "sealed" in repr(stage.asked[1][1].messages)


# -- who and for which key ----------------------------------------------------------------------------------------


async def test_a_chat_is_its_owners_alone(stage: Stage) -> None:
    """To everybody else there is no such chat, whatever they try."""
    stage.script(says("Hello"))
    chat = await stage.service.create(ADA, text="Hi")
    await stage.ended(chat.id)
    for attempt in (
        stage.service.send(BOB, chat.id, "Let me in"),
        stage.service.view(BOB, chat.id),
        stage.service.interrupt(BOB, chat.id),
        anext(stage.service.events(BOB, chat.id)),
        stage.service.quick(BOB, chat.id, "Sum up", "x"),
    ):
        with pytest.raises(UnknownChat):
            await attempt
    assert await stage.service.chats(BOB) == []
    assert [one.id for one in await stage.service.chats(ADA)] == [chat.id]


async def test_a_deleted_key_leaves_the_history_and_the_turn_that_needs_it_fails(
    stage: Stage, database: Database
) -> None:
    """It doesn't fall back to an older message's key, and a new message with a key that works goes on."""
    gate = asyncio.Event()
    stage.script(says(gate, "First."), says("Second."))
    chat = await stage.service.create(BOB, text="One")
    await stage.service.send(ADA_AS_BOB, chat.id, "Two")  # another key of the same person, queued
    await database.execute("DELETE FROM api_keys WHERE id = ?", ADA.api_key_id)
    gate.set()
    failed = await stage.ended(chat.id)
    assert failed.error == str(ActiveKeyMissing())
    messages = await stage.store.messages(chat.id)
    assert [(text_of(one.parts), one.api_key_id) for one in messages if one.role == "user"] == [
        ("One", BOB.api_key_id),
        ("Two", None),
    ]

    await stage.service.send(BOB, chat.id, "Three")
    assert (await stage.ended(chat.id)).status == "waiting"


ADA_AS_BOB = replace(ADA, user_id=BOB.user_id)
"""The same person with another key."""


async def test_a_queued_message_keeps_the_key_it_was_queued_with(stage: Stage) -> None:
    """Each turn acts for the key of its own message."""
    gate = asyncio.Event()
    stage.script(
        says(gate, calls("look")), says("First."), says(calls("look", call_id="call-2")), says("Second.")
    )
    chat = await stage.service.create(BOB, text="One")
    sent = await stage.service.send(ADA_AS_BOB, chat.id, "Two")
    assert sent.queued is not None
    assert sent.message is None
    gate.set()
    await stage.ended(chat.id)

    results = [
        one.parts[0].content
        for one in await stage.store.messages(chat.id)
        if isinstance(one.parts[0], ToolResult)
    ]
    assert results == [
        f"a cat, seen for {BOB.user_id} with {BOB.api_key_id}",
        f"a cat, seen for {BOB.user_id} with {ADA.api_key_id}",
    ]


async def test_messages_wait_in_line_and_are_answered_one_by_one(stage: Stage) -> None:
    """Who listens hears how many wait, and each when its turn has come."""
    gate = asyncio.Event()
    stage.script(says(gate, "First."), says("Second."), says("Third."))
    chat = await stage.service.create(ADA, text="One")
    for text in ("Two", "Three"):
        await stage.service.send(ADA, chat.id, text)
    view = await stage.service.view(ADA, chat.id)
    assert [one.text for one in view.queued] == ["Two", "Three"]
    async with Heard(stage.service, chat.id) as heard:
        gate.set()
        events = await heard.until_waiting()
    assert [one.waiting for one in events if isinstance(one, QueueChanged)] == [1, 0]
    assert await stage.said(chat.id) == [
        ("user", "One"),
        ("assistant", "First."),
        ("user", "Two"),
        ("assistant", "Second."),
        ("user", "Three"),
        ("assistant", "Third."),
    ]


async def test_what_waited_when_a_turn_failed_comes_before_the_next_message(stage: Stage) -> None:
    """It was said first."""
    gate = asyncio.Event()
    stage.script(says(gate, ModelError("broken")), says("Both."))
    chat = await stage.service.create(ADA, text="One")
    await stage.service.send(ADA, chat.id, "Two")
    gate.set()
    assert (await stage.ended(chat.id)).queued == 1
    await stage.service.send(ADA, chat.id, "Three")
    await stage.ended(chat.id)
    assert [text for role, text in await stage.said(chat.id) if role == "user"] == ["One", "Two", "Three"]


@pytest.mark.parametrize(
    ("text", "error"), [("", EmptyMessage), (" \n", EmptyMessage), ("x" * 200_001, MessageTooLong)]
)
async def test_a_message_has_to_say_something_and_not_too_much(
    stage: Stage, text: str, error: type[Exception]
) -> None:
    """Neither a new chat nor an old one takes it, and no empty chat is left behind."""
    with pytest.raises(error):
        await stage.service.create(ADA, text=text)
    assert await stage.service.chats(ADA) == []


async def test_a_chat_needs_a_model(database: Database) -> None:
    """Its own or the deployment's."""
    stage = await Stage.on(database, models=ModelChoices())
    with pytest.raises(NoModel):
        await stage.service.create(ADA, text="Hi")
    async with stage.service.running():
        stage.script(says("Hello"))
        chat = await stage.service.create(ADA, text="Hi", model=ModelName("local", "mine"))
        await stage.ended(chat.id)
    assert stage.asked[0][0].name == ModelName("local", "mine")


# -- interrupting, ending -----------------------------------------------------------------------------------------


async def test_an_interrupted_turn_keeps_what_was_read_of_it(stage: Stage) -> None:
    """The chat waits for the next message, and its model is shown the torso."""
    stage.script(says("Once upon", asyncio.Event()), says("Fine."))
    chat = await stage.service.create(ADA, text="Tell me a story")
    async with Heard(stage.service, chat.id) as heard:
        await heard.until(Delta)
        assert await stage.service.interrupt(ADA, chat.id)
        await heard.until_waiting()
    assert (await stage.said(chat.id))[-1] == ("assistant", "Once upon")
    assert not await stage.service.interrupt(ADA, chat.id)
    await stage.service.send(ADA, chat.id, "Stop there")
    assert (await stage.ended(chat.id)).error == ""


async def test_what_is_queued_goes_on_after_an_interruption(stage: Stage) -> None:
    """To interrupt is to say: not this, the next one."""
    stage.script(says("Once upon", asyncio.Event()), says("Fine."))
    chat = await stage.service.create(ADA, text="Tell me a story")
    async with Heard(stage.service, chat.id) as heard:
        await heard.until(Delta)
        await stage.service.send(ADA, chat.id, "No, a joke")
        await stage.service.interrupt(ADA, chat.id)
        await heard.until_waiting()
    assert (await stage.said(chat.id))[-2:] == [("user", "No, a joke"), ("assistant", "Fine.")]


async def test_a_service_that_ends_leaves_its_turns_told(stage: Stage) -> None:
    """What was said is kept, the chat says why it stopped, and nothing new begins."""
    stage.script(says("Once upon", asyncio.Event()))
    chat = await stage.service.create(ADA, text="Tell me a story")
    async with Heard(stage.service, chat.id) as heard:
        await heard.until(Delta)
        await stage.service.close()
    ended = await stage.store.chat(chat.id)
    assert (ended.status, ended.error) == (
        "error",
        "the turn was interrupted by a shutdown; send a message to go on",
    )
    assert (await stage.said(chat.id))[-1] == ("assistant", "Once upon")
    with pytest.raises(Stopping):
        await stage.service.send(ADA, chat.id, "And then?")


async def test_a_chat_of_a_process_that_died_can_be_taken_over(stage: Stage) -> None:
    """After its lease; until then a message waits. The wish to interrupt what died is no wish against the next."""
    chat = await stage.service.create(ADA)
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert await stage.store.claim(chat.id, "somebody else", datetime.now(UTC) + timedelta(hours=1))
    assert await stage.service.interrupt(ADA, chat.id)
    assert (await stage.service.send(ADA, chat.id, "One")).queued is not None

    await stage.store.renew(chat.id, "somebody else", past)
    stage.script(says("Both."))
    await stage.service.send(ADA, chat.id, "Two")
    await stage.ended(chat.id)
    assert await stage.said(chat.id) == [("user", "One"), ("user", "Two"), ("assistant", "Both.")]


async def test_a_turn_that_was_taken_over_writes_nothing_more(database: Database) -> None:
    """Two processes never answer one message."""
    beat = asyncio.Event()

    async def pause(seconds: float) -> None:
        await beat.wait()

    stage = await Stage.on(database, pause=pause)
    async with stage.service.running():
        stage.script(says("Once", asyncio.Event()))
        chat = await stage.service.create(ADA, text="Hi")
        async with Heard(stage.service, chat.id) as heard:
            await heard.until(Delta)
        await database.execute("UPDATE chats SET runner_id = 'somebody else' WHERE id = ?", chat.id)
        runs = [task for task in asyncio.all_tasks() if task.get_name() == "chat run"]
        beat.set()
        await asyncio.wait(runs, timeout=PATIENCE_S)
        assert all(task.done() for task in runs)
    assert await stage.said(chat.id) == [("user", "Hi")]
    assert (await stage.store.chat(chat.id)).status == "running"


# -- listening ----------------------------------------------------------------------------------------------------


async def test_who_comes_late_hears_what_was_said_so_far(stage: Stage) -> None:
    """As one delta, and then the rest."""
    gate = asyncio.Event()
    stage.script(says("Hel", "lo ", gate, "world"))
    chat = await stage.service.create(ADA, text="Hi")
    async with Heard(stage.service, chat.id) as early:
        await early.words("Hello ")
        async with Heard(stage.service, chat.id) as late:
            events = await late.until(Delta)
            gate.set()
            events += await late.until_waiting()
    assert [one.text for one in events if isinstance(one, Delta)] == ["Hello ", "world"]
    assert [one.position for one in events if isinstance(one, MessageAdded)] == [0, 1]


async def test_who_does_not_keep_up_still_gets_every_message(stage: Stage) -> None:
    """Deltas may be lost to a slow reader; what was said in the end is read from the store."""
    stage.script(says(*["x"] * (MAX_EVENTS + 10)), says("Bye"))
    chat = await stage.service.create(ADA)
    async with Heard(stage.service, chat.id) as heard:
        await stage.service.send(ADA, chat.id, "Hi")
        await stage.ended(chat.id)
        await stage.service.send(ADA, chat.id, "Ho")
        events = await heard.until_waiting()
        while sum(isinstance(one, MessageAdded) for one in events) < 4:
            events += await heard.until(MessageAdded)
    assert [one.position for one in events if isinstance(one, MessageAdded)] == [0, 1, 2, 3]


async def test_what_another_process_says_is_seen(database: Database) -> None:
    """By looking into the store: its messages, and that the chat waits."""
    stage = await Stage.on(database, poll_s=0.001)
    async with stage.service.running():
        chat = await stage.service.create(ADA)
        other = await Stage.on(database)
        other.script(says("From afar."))
        async with other.service.running(), Heard(stage.service, chat.id) as heard:
            await other.service.send(ADA, chat.id, "Hi")
            events = await heard.until(MessageAdded) + await heard.until(MessageAdded)
    assert [one.role for one in events if isinstance(one, MessageAdded)] == ["user", "assistant"]


async def test_a_reader_can_go_on_where_it_left(stage: Stage) -> None:
    """Behind the position of the last message it has."""
    stage.script(says("Hello"))
    chat = await stage.service.create(ADA, text="Hi")
    await stage.ended(chat.id)
    async with Heard(stage.service, chat.id, after=0) as heard:
        (message,) = await heard.until(MessageAdded)
    assert isinstance(message, MessageAdded)
    assert message.position == 1


# -- agents -------------------------------------------------------------------------------------------------------


async def test_an_agent_works_on_its_own_for_the_key_of_the_turn_that_spawned_it(stage: Stage) -> None:
    """Spawned, waited for, spoken to: all of it carries the parent's key, and it can't spawn agents of its own."""
    spawned: list[str] = []

    def answer(model: Model, ask: Ask) -> Line:
        asked = text_of(ask.messages[-1].parts) if ask.messages[-1].role == "user" else ""
        last = ask.messages[-1].parts[0]
        if asked == "Delegate":
            return says(calls("spawn_agent", '{"prompt": "Count", "title": "Counting"}'))
        if isinstance(last, ToolResult) and last.name == "spawn_agent":
            spawned.append(last.content.split()[2])
            return says(calls("wait_agent", f'{{"agent_id": "{spawned[0]}"}}', "call-2"))
        if isinstance(last, ToolResult) and last.content == "Three.":
            return says(
                calls("message_agent", f'{{"agent_id": "{spawned[0]}", "message": "More"}}', "call-3")
            )
        return says({"Count": "Three.", "More": "Four."}.get(asked, "Done."))

    stage.answer = answer
    chat = await stage.service.create(ADA, text="Delegate")
    await stage.ended(chat.id)

    (agent,) = await stage.store.children(chat.id)
    await stage.ended(agent.id)
    assert (agent.id, agent.kind, agent.title, agent.root_id) == (spawned[0], "subagent", "Counting", chat.id)
    assert await stage.said(agent.id) == [
        ("user", "Count"),
        ("assistant", "Three."),
        ("user", "More"),
        ("assistant", "Four."),
    ]
    messages = await stage.store.messages(agent.id)
    assert {one.api_key_id for one in messages if one.role == "user"} == {ADA.api_key_id}
    of_agent = next(ask for _, ask in stage.asked if text_of(ask.messages[0].parts) == "Count")
    assert [tool.name for tool in of_agent.tools] == ["look"]
    assert [one.id for one in await stage.service.chats(ADA)] == [chat.id]


async def test_without_a_key_no_agent_is_spawned_or_spoken_to_through_the_gateway(stage: Stage) -> None:
    """Somebody has to be accountable; a deployment that goes straight to the provider asks for nobody."""
    stage.script(says("Hello"))
    chat = await stage.service.create(ADA, text="Hi")
    await stage.ended(chat.id)
    turn = Acting(chat.id, api_key_id=None)
    with pytest.raises(ActiveKeyMissing):
        await stage.service.spawn(turn, "Count")
    with pytest.raises(ActiveKeyMissing):
        await stage.service.message(turn, chat.id, "Count")
    with pytest.raises(ActiveKeyMissing):
        await stage.service.advise(turn, "What now?")
    assert await stage.store.children(chat.id) == []

    stage.mode = "direct"
    agent = await stage.service.spawn(turn, "Count")
    assert (await stage.ended(agent.id)).error.startswith("Model calls go straight to the provider")


async def test_an_agent_of_another_chat_is_unknown(stage: Stage) -> None:
    """Also when it is the same person's."""
    stage.answer = lambda model, ask: says("Hello")
    one, two = await stage.service.create(ADA, text="Hi"), await stage.service.create(ADA, text="Ho")
    agent = await stage.service.spawn(Acting(one.id), "Count")
    for turn in (Acting(two.id), Acting(one.id, owner_id=BOB.user_id)):
        with pytest.raises(UnknownChat):
            await stage.service.wait(turn, agent.id, timeout_s=0)
        with pytest.raises(UnknownChat):
            await stage.service.message(turn, agent.id, "Hi")


async def test_agents_at_work_are_limited(stage: Stage) -> None:
    """A model that spawns without end costs without end."""
    gate = asyncio.Event()
    stage.answer = lambda model, ask: says(gate, "Hello")
    chat = await stage.service.create(ADA, text="Hi")
    for _ in range(MAX_AGENTS):
        agent = await stage.service.spawn(Acting(chat.id), "Count")
    with pytest.raises(TooManyAgents):
        await stage.service.spawn(Acting(chat.id), "Count")
    gate.set()
    await stage.ended(agent.id)


async def test_to_interrupt_a_chat_is_to_interrupt_its_agents(stage: Stage) -> None:
    """Nothing goes on behind the person's back."""
    stage.answer = lambda model, ask: says("Counting", asyncio.Event())
    chat = await stage.service.create(ADA, text="Hi")
    agent = await stage.service.spawn(Acting(chat.id), "Count")
    async with Heard(stage.service, agent.id) as heard:
        await heard.until(Delta)
        await stage.service.interrupt(ADA, chat.id)
        await heard.until_waiting()
    await stage.ended(chat.id)


async def test_waiting_ends_with_the_patience_of_who_waits(stage: Stage) -> None:
    """The agent goes on, and the model may wait again."""
    gate = asyncio.Event()
    stage.answer = lambda model, ask: says(gate, "Done.")
    chat = await stage.service.create(ADA, text="Hi")
    agent = await stage.service.spawn(Acting(chat.id), "Count")
    view = await stage.service.wait(Acting(chat.id), agent.id, timeout_s=0)
    assert view.chat.status == "running"
    gate.set()
    view = await stage.service.wait(Acting(chat.id), agent.id, timeout_s=PATIENCE_S)
    assert (view.chat.status, text_of(view.messages[-1].parts)) == ("waiting", "Done.")
    await stage.ended(chat.id)


async def test_a_wait_never_misses_the_end_of_an_agent(stage: Stage) -> None:
    """A thousand times: the poll is so slow that a missed end would be a wait in vain."""
    gates: list[asyncio.Event] = []

    def answer(model: Model, ask: Ask) -> Line:
        return says(gates[-1], "Done.")

    gates.append(asyncio.Event())
    gates[0].set()
    stage.answer = answer
    chat = await stage.service.create(ADA, text="Hi")
    await stage.ended(chat.id)
    turn = Acting(chat.id)
    for round_number in range(ROUNDS):
        if round_number % 20 == 0:  # a fresh one, whose history is short
            agent = await stage.service.spawn(turn, "Count")
        await stage.service.wait(turn, agent.id, timeout_s=PATIENCE_S)
        gates.append(asyncio.Event())
        await stage.service.message(turn, agent.id, "Again")
        waiting = asyncio.ensure_future(stage.service.wait(turn, agent.id, timeout_s=PATIENCE_S))
        for _ in range(round_number % 40):  # let it end at another moment of the wait each time
            await _step()
        gates[-1].set()
        view = await waiting
        assert (view.chat.status, text_of(view.messages[-1].parts)) == ("waiting", "Done.")


async def _step() -> None:
    """One turn of the event loop."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


# -- beside the conversation --------------------------------------------------------------------------------------


async def test_a_chat_gets_a_title_that_ends_in_the_assistants_role(database: Database) -> None:
    """So that nobody takes it for the person's prompt; by the model that is chosen for it."""
    namer = ModelName("local", "namer")
    stage = await Stage.on(database, models=ModelChoices(chat=MODEL, title=namer), titles=True)
    stage.answer = lambda model, ask: says('"A cat."\n' if model.name == namer else "Hello")
    async with stage.service.running():
        chat = await stage.service.create(ADA)
        async with Heard(stage.service, chat.id) as heard:
            await stage.service.send(ADA, chat.id, "What is on the mat?")
            *_, titled = await heard.until(TitleChanged)
        await stage.ended(chat.id)
    assert titled == TitleChanged(title="A cat")
    assert (await stage.store.chat(chat.id)).title == "A cat"
    (ask,) = [ask for model, ask in stage.asked if model.name == namer]
    assert [one.role for one in ask.messages] == ["user", "assistant"]


async def test_a_chat_that_no_model_names_is_called_by_how_it_begins(database: Database) -> None:
    """Some models refuse to go on with an answer that is begun; what goes wrong stays in the log."""
    namer = ModelName("local", "namer")
    stage = await Stage.on(database, models=ModelChoices(chat=MODEL, title=namer), titles=True)
    stage.answer = lambda model, ask: says(ModelError("no")) if model.name == namer else says("Hello")
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Hi")
        assert (await stage.ended(chat.id)).status == "waiting"
        names = [task for task in asyncio.all_tasks() if task.get_name() == "chat title"]
        if names:
            await asyncio.wait(names)
    assert (await stage.store.chat(chat.id)).title == "Hi"


async def test_quick_generation_ends_in_the_assistants_role(database: Database) -> None:
    """And takes the model that is chosen for it."""
    quick = ModelName("local", "quick")
    stage = await Stage.on(database, models=ModelChoices(chat=MODEL, quick=quick))
    stage.script(says(" A summary. "))
    chat = await stage.service.create(ADA)
    assert await stage.service.quick(ADA, chat.id, "Sum up.", "Much text") == "A summary."
    ((model, ask),) = stage.asked
    assert (model.name, ask.system) == (quick, "Sum up.")
    assert [one.role for one in ask.messages] == ["user", "assistant"]


async def test_the_advisor_sees_the_conversation_and_not_the_thoughts(database: Database) -> None:
    """A model of its own, which is asked in the person's role."""
    wise = ModelName("local", "wise")
    stage = await Stage.on(database, tools=[LOOK], models=ModelChoices(chat=MODEL, advisor=wise))
    advice = calls("ask_advisor", '{"question": "Should I?"}', "call-2")

    def answer(model: Model, ask: Ask) -> Line:
        if model.name == wise:
            return says("Do.")
        results = [part for said in ask.messages for part in said.parts if isinstance(part, ToolResult)]
        return says(Reasoning(text="hidden"), (calls("look"), advice, "Done.")[len(results)])

    stage.answer = answer
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Decide")
        await stage.ended(chat.id)
    (ask,) = [ask for model, ask in stage.asked if model.name == wise]
    shown = text_of(ask.messages[-1].parts)
    assert ask.messages[-1].role == "user"
    assert all(one in shown for one in ("user: Decide", "[calls look", "[result of look: a cat", "Should I?"))
    assert "hidden" not in shown
    result = (await stage.store.messages(chat.id))[4].parts[0]
    assert isinstance(result, ToolResult)
    assert result.content == "Do."


async def test_an_agent_for_computer_use_has_its_own_model_and_tools(database: Database) -> None:
    """The tools that look at a screen are for it alone."""
    seer = ModelName("local", "seer")
    screen = replace(LOOK, name="screen", kinds=frozenset({"computer_use"}))
    stage = await Stage.on(
        database, tools=[LOOK, screen], models=ModelChoices(chat=MODEL, computer_use=seer, subagent=MODEL)
    )
    stage.answer = lambda model, ask: says("Done.")
    async with stage.service.running():
        chat = await stage.service.create(ADA, text="Hi")
        await stage.ended(chat.id)
        agent = await stage.service.spawn(Acting(chat.id), "Click", kind="computer_use")
        await stage.ended(agent.id)
    (ask,) = [ask for model, ask in stage.asked if model.name == seer]
    assert [tool.name for tool in ask.tools] == ["screen"]
    assert "screen" not in [tool.name for tool in stage.asked[0][1].tools]
