"""A chat's events as they leave: framing, going on where it was lost, and every way in which a stream ends."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from gateway.chat.api.stream import SIGN_OF_LIFE_S, framed
from gateway.chat.content import Text
from gateway.chat.events import Delta, MessageAdded, StatusChanged
from gateway.chat.store import Message, NewMessage
from gateway.chat.views import added
from recorders.stores.base import StoreError
from tests.gateway.chat.api.client import Client, Event
from tests.gateway.chat.stage import ADA, Stage, says

AWKWARD = "one\ntwo\r\nthree\rfour\u0085five\u2028six\u2029: \u0000seven 🐈"


async def _running(client: Client, stage: Stage, *steps: Any) -> str:
    stage.script(says(*steps))
    chat = await client.told("POST", "/chats", {"message": "Hi"})
    return str(chat["id"])


def test_an_event_is_one_line_of_json_to_every_client() -> None:
    """Also to one that splits the stream wherever a text may be split."""
    piece = framed(Delta(kind="text", text=AWKWARD))

    assert [line.partition(": ")[0] for line in piece.decode().splitlines()] == ["event", "data", ""]
    assert Event.read(piece) == Event("delta", {"type": "delta", "kind": "text", "text": AWKWARD})


def test_half_a_character_is_no_end_of_a_stream() -> None:
    """No JSON that every client reads can hold one; it becomes what the store makes of it."""
    event = Event.read(framed(Delta(kind="text", text="a\ud83d\u2028b\x00")))

    assert event.data["text"] == "a\ufffd\u2028b\x00"


def test_only_a_message_has_an_id() -> None:
    """A client goes on from the last one; deltas and states are of the moment."""
    message = MessageAdded(id="m", position=7, role="user", parts=(Text("Hi"),))

    assert Event.read(framed(message)).id == "7"
    assert Event.read(framed(StatusChanged(status="waiting"))).id is None


async def test_a_turn_leaves_delta_by_delta(client: Client, stage: Stage) -> None:
    """Each when it is said, with nothing of what comes later; then the whole message, then the end of the turn."""
    first, second = asyncio.Event(), asyncio.Event()
    chat_id = await _running(client, stage, first, "Hel", second, "lo\u2028!")
    async with client.stream(chat_id) as listener:
        begun = await listener.until("message")
        assert [event.kind for event in begun] == ["status", "message"]
        first.set()
        before = await listener.until("delta")
        assert before[-1].data == {"type": "delta", "kind": "text", "text": "Hel"}
        told = len(listener.drive.messages)
        second.set()
        after = await listener.until("status")

    assert told == 1 + len(begun) + len(before)
    assert [event.kind for event in after] == ["delta", "message", "status"]
    assert after[0].data["text"] == "lo\u2028!"
    assert (after[1].id, [part["text"] for part in after[1].data["parts"]]) == ("1", ["Hel", "lo\u2028!"])
    assert after[2].data == {"type": "status", "status": "waiting", "error": ""}
    assert listener.drive.headers[:3] == [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]


@pytest.mark.parametrize(
    ("query", "last", "positions"),
    [
        ("", None, ["0", "1"]),
        ("?after=-1", None, ["0", "1"]),
        ("?after=0", None, ["1"]),
        ("?after=1", None, []),
        ("", "0", ["1"]),
        ("?after=-1", "0", ["1"]),
        ("?after=1", "", []),
        ("?after=9007199254740992", None, []),
    ],
)
async def test_a_stream_goes_on_where_it_was_lost(
    client: Client, stage: Stage, query: str, last: str | None, positions: list[str]
) -> None:
    """By `Last-Event-ID`, else by `after`: nothing twice, nothing left out."""
    chat_id = await _running(client, stage, "Hello")
    await stage.ended(chat_id)
    stage.service.refuse_new_messages()  # so that the stream ends with what there is

    async with client.stream(chat_id, query=query, last=last) as listener:
        await listener.drive.completed()

    events = [Event.read(piece) for piece in listener.drive.chunks]
    assert [event.id for event in events if event.kind == "message"] == positions


@pytest.mark.parametrize(
    ("query", "last"),
    [("?after=x", None), ("?after=-2", None), ("?before=1", None), ("", "x"), ("", "-2"), ("", "9" * 400)],
)
async def test_a_place_that_is_none_is_refused(client: Client, query: str, last: str | None) -> None:
    """400, before a stream begins."""
    chat = await client.told("POST", "/chats", {})
    async with client.stream(chat["id"], query=query, last=last) as listener:
        await listener.drive.completed()

    assert listener.drive.status == 400


async def test_two_who_listen_hear_the_same(client: Client, stage: Stage) -> None:
    """One from the beginning, one who comes while the model speaks and gets what was said so far as one."""
    first, gate = asyncio.Event(), asyncio.Event()
    chat_id = await _running(client, stage, first, "He", "l", gate, "lo")
    async with client.stream(chat_id) as early:
        heard_early = await early.until("message")
        first.set()
        while heard_early[-1].data.get("text") != "l":
            heard_early.append(await early.event())
        async with client.stream(chat_id, last="0") as late:
            heard_late = await late.until("delta")
            gate.set()
            heard_late += await late.until("message")
        heard_early += await early.until("message")

    def spoken(events: list[Event]) -> str:
        return "".join(event.data["text"] for event in events if event.kind == "delta")

    assert spoken(heard_early) == spoken(heard_late) == "Hello"
    assert heard_early[-1] == heard_late[-1]


async def test_a_client_that_leaves_is_let_go_at_once_and_the_turn_goes_on(
    client: Client, stage: Stage
) -> None:
    """Nothing listens for it any more, no answer is ended for it, and the model goes on speaking."""
    gate = asyncio.Event()
    chat_id = await _running(client, stage, "Hel", gate, "lo")
    async with client.stream(chat_id) as listener:
        await listener.until("delta")
        listener.drive.disconnect()
        await listener.drive.completed()
        assert not stage.service._means.hub._feeds

    assert not listener.drive.complete
    gate.set()
    await stage.ended(chat_id)
    assert await stage.said(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_client_that_reads_nothing_and_leaves_is_let_go(client: Client, stage: Stage) -> None:
    """Also in the middle of a send that doesn't return."""
    gate = asyncio.Event()
    chat_id = await _running(client, stage, "Hel", gate, "lo")
    async with client.stream(chat_id) as listener:
        await listener.until("delta")
        listener.drive.hold()
        gate.set()
        await listener.piece()
        await stage.ended(chat_id)
        listener.drive.disconnect()
        await listener.drive.completed()

    assert not stage.service._means.hub._feeds


async def test_a_server_that_cancels_ends_the_stream(client: Client) -> None:
    """And nothing is left behind that listens."""
    chat = await client.told("POST", "/chats", {})
    async with client.stream(chat["id"]) as listener:
        await listener.event()
        listener.drive.cancel()
        assert isinstance(await listener.drive.failed(), asyncio.CancelledError)


async def test_signs_of_life_come_while_nothing_happens(client: Client) -> None:
    """A comment at each pause, which no client takes for an event."""
    chat = await client.told("POST", "/chats", {})
    async with client.stream(chat["id"]) as listener:
        await listener.event()
        for _ in range(2):
            client.pauses.pass_one()
            assert await listener.piece() == b":\n\n"

    assert set(client.pauses.asked) == {SIGN_OF_LIFE_S}


async def test_streams_end_when_the_service_refuses_new_messages(client: Client, stage: Stage) -> None:
    """Well ended and at once where nothing runs; else after the turn, whose end is still told."""
    gate = asyncio.Event()
    idle = (await client.told("POST", "/chats", {}))["id"]
    busy = await _running(client, stage, "Hel", gate, "lo")
    async with client.stream(idle) as waiting, client.stream(busy) as listener:
        await waiting.event()
        await listener.until("delta")

        stage.service.refuse_new_messages()
        await waiting.drive.completed()
        gate.set()
        await listener.drive.completed()

    assert waiting.drive.complete
    assert listener.drive.complete
    kinds = [Event.read(piece).kind for piece in listener.drive.chunks]
    assert kinds[-3:] == ["delta", "message", "status"]


async def test_a_closing_service_tells_that_it_interrupted_the_turn(client: Client, stage: Stage) -> None:
    """Then the stream ends: it doesn't hold up the shutdown."""
    chat_id = await _running(client, stage, "Hel", asyncio.Event())
    async with client.stream(chat_id) as listener:
        await listener.until("delta")
        await stage.service.close()
        await listener.drive.completed()

    assert listener.drive.complete
    last = Event.read(listener.drive.chunks[-1])
    assert (last.kind, last.data["status"]) == ("status", "error")
    assert "interrupted by a shutdown" in last.data["error"]


async def test_the_stream_of_a_deleted_chat_ends(client: Client, stage: Stage) -> None:
    """There is nothing more to say."""
    chat_id = await _running(client, stage, "Hel", asyncio.Event())
    async with client.stream(chat_id) as listener:
        await listener.until("delta")
        await client.told("DELETE", f"/chats/{chat_id}")
        await listener.drive.completed()

    assert listener.drive.complete


async def test_a_database_that_goes_away_cuts_the_stream(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client sees a cut and not an end, and comes back to where it was."""
    chat = await client.told("POST", "/chats", {})

    async def failing(self: Any, *given: Any) -> Any:
        raise StoreError("db.internal: connection refused")

    async with client.stream(chat["id"]) as listener:
        await listener.event()
        await listener.drive.receiving()
        monkeypatch.setattr(type(stage.database), "fetch", failing)
        stage.service._means.hub.wake()
        await listener.drive.failed()

    assert not listener.drive.complete


async def test_what_led_to_a_message_is_not_told_after_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is found in the store is whole, though its deltas and itself still wait to be told."""
    chat = await stage.service.create(ADA)
    hub, find = stage.service._means.hub, stage.store.messages

    async def finished_while_looking(chat_id: str, *, after: int = -1) -> list[Message]:
        hub.publish(chat.id, Delta(kind="text", text="Hel"))
        (message,) = await stage.store.append(chat.id, NewMessage("assistant", (Text("Hello"),)))
        found = await find(chat_id, after=after)
        hub.publish(chat.id, added(message))
        hub.publish(chat.id, Delta(kind="text", text="What else?"))
        monkeypatch.undo()
        return found

    monkeypatch.setattr(stage.store, "messages", finished_while_looking)
    async with aclosing(stage.service.events(ADA, chat.id)) as events:
        heard = [await anext(events) for _ in range(3)]

    assert [type(event) for event in heard] == [StatusChanged, MessageAdded, Delta]
    assert heard[2] == Delta(kind="text", text="What else?")
