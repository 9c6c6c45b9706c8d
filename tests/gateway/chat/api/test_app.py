"""The routes of the chat service: what they do, for whom, and what they say of mistakes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.chat.api.app import MAX_BODY_BYTES
from gateway.chat.content import MAX_TEXT
from recorders.stores.base import StoreError
from tests.asgi import call, http_scope
from tests.gateway.chat.api.client import Client
from tests.gateway.chat.stage import Stage, says

UNKNOWN = (404, "There is no such chat.")
ROUTES = (
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/messages"),
    ("POST", "/interrupt"),
    ("DELETE", "/queue/some-id"),
    ("GET", "/stream"),
)


async def _running(client: Client, stage: Stage) -> tuple[str, asyncio.Event]:
    """A chat whose model says nothing until the event is set."""
    gate = asyncio.Event()
    stage.script(says("Hel", gate, "lo"))
    chat = await client.told("POST", "/chats", {"message": "Hi"})
    return chat["id"], gate


async def test_a_chat_is_begun_with_a_message_and_shown_with_its_answer(client: Client, stage: Stage) -> None:
    """201 comes before the turn has ended; who looks later sees both messages."""
    stage.script(says("Hello"))

    begun = await client.ask(
        "POST", "/chats", {"message": "Hi", "model": "local/other", "system": "Be brief."}
    )

    chat = msgspec.json.decode(begun.body)
    assert begun.status == 201
    assert begun.header("cache-control") == b"no-store"
    assert (chat["model"], chat["system"], chat["kind"], chat["parent_id"]) == (
        "local/other", "Be brief.", "chat", None,
    )  # fmt: skip
    await stage.ended(chat["id"])
    view = await client.told("GET", f"/chats/{chat['id']}")
    assert view["chat"]["status"] == "waiting"
    assert [(one["role"], one["parts"]) for one in view["messages"]] == [
        ("user", [{"type": "text", "text": "Hi"}]),
        ("assistant", [{"type": "text", "text": "Hello"}]),
    ]
    assert view["messages"][1]["tokens"] == {"input": 3, "output": 5, "cached": 0}
    assert (view["queued"], view["agents"]) == ([], [])


async def test_a_chat_may_begin_with_nothing_said(client: Client) -> None:
    """Then it waits, with the model that the operator chose."""
    chat = await client.told("POST", "/chats", {})

    assert (chat["status"], chat["model"]) == ("waiting", "local/scripted")
    assert (await client.told("GET", f"/chats/{chat['id']}"))["messages"] == []


async def test_a_message_begins_a_turn_or_waits_for_the_one_that_runs(client: Client, stage: Stage) -> None:
    """202 either way, and it says which."""
    chat_id, gate = await _running(client, stage)
    stage.script(says("And more"))

    sent = await client.ask("POST", f"/chats/{chat_id}/messages", {"message": "More?"})

    assert sent.status == 202
    answer = msgspec.json.decode(sent.body)
    assert answer["message"] is None
    assert answer["queued"]["text"] == "More?"
    assert (await client.told("GET", f"/chats/{chat_id}"))["queued"] == [answer["queued"]]
    gate.set()
    await stage.ended(chat_id)
    stage.script(says("Yes"))
    sent_later = await client.told("POST", f"/chats/{chat_id}/messages", {"message": "Sure?"})
    assert (sent_later["message"]["role"], sent_later["queued"]) == ("user", None)
    await stage.ended(chat_id)
    assert await stage.said(chat_id) == [
        ("user", "Hi"), ("assistant", "Hello"), ("user", "More?"), ("assistant", "And more"),
        ("user", "Sure?"), ("assistant", "Yes"),
    ]  # fmt: skip


async def test_chats_come_in_pages_newest_first(client: Client) -> None:
    """`next` leads on until there is nothing more, and never to an empty page."""
    ids = [(await client.told("POST", "/chats", {}))["id"] for _ in range(4)]

    first = await client.told("GET", "/chats?limit=2")
    second = await client.told("GET", f"/chats?limit=2&before={first['next']}")

    assert [chat["id"] for page in (first, second) for chat in page["chats"]] == ids[::-1]
    assert second["next"] is None


async def test_anothers_chat_is_as_unknown_as_none(client: Client) -> None:
    """The same status and the same words, whatever is asked of it; and it stays."""
    chat = await client.told("POST", "/chats", {})

    for method, rest in ROUTES:
        body = {"message": "Hi"} if rest == "/messages" else None
        assert await client.refused(method, f"/chats/{chat['id']}{rest}", body, by="bob") == UNKNOWN
        assert await client.refused(method, f"/chats/no-such-chat{rest}", body) == UNKNOWN
    assert (await client.told("GET", "/chats", by="bob"))["chats"] == []
    assert len((await client.told("GET", "/chats"))["chats"]) == 1


async def test_what_is_no_id_of_ours_is_an_unknown_chat(client: Client) -> None:
    """No database is asked for what it can't be asked."""
    for chat_id in ("%00", "a%00b", "%ff%fe", "%ED%A0%80", "x" * 20_000, "%0A", "'--", "%F0%9F%90%88"):
        for method, rest in ROUTES:
            body = {"message": "Hi"} if rest == "/messages" else None
            assert await client.refused(method, f"/chats/{chat_id}{rest}", body) == UNKNOWN


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'{"message": 7}', "message: Expected `str | null`, got `int`"),
        (b'{"message": "a\\u0000b"}', "message: holds a character that no text has"),
        (b'{"mesage": "Hi"}', "'mesage': unknown"),
        (b'{"model": "gpt-5"}', "model: "),
        (b'{"model": " /x"}', "model: "),
        (b'{"message": " \\n "}', "The message is empty."),
        (b'{"message": "%s"}' % (b"x" * (MAX_TEXT + 1)), "The message has more than"),
    ],
)
async def test_a_bad_body_is_refused_and_leaves_no_chat(client: Client, body: bytes, message: str) -> None:
    """400, in words that name what is wrong."""
    status, said = await client.refused("POST", "/chats", raw=body)

    assert status == 400
    assert said.startswith(message), said
    assert (await client.told("GET", "/chats"))["chats"] == []


@pytest.mark.parametrize("target", ["/chats?limit=0", "/chats?limit=201", "/chats?before=", "/chats?after=1"])
async def test_a_bad_query_is_refused(client: Client, target: str) -> None:
    """400, and nothing is guessed."""
    assert (await client.refused("GET", target))[0] == 400


async def test_the_longest_message_fits_however_it_is_written(client: Client, stage: Stage) -> None:
    """Each character as an escaped pair of surrogates is the largest body that makes sense."""
    stage.script(says("I see."))
    raw = b'{"message": "%s"}' % (b"\\ud83d\\ude00" * MAX_TEXT)

    answer = await client.ask("POST", "/chats", raw=raw)

    assert answer.status == 201
    await stage.ended(msgspec.json.decode(answer.body)["id"])


async def test_a_body_without_end_is_cut_short(client: Client) -> None:
    """413 as soon as it is too large."""
    status, message = await client.refused("POST", "/chats", raw=b" " * (MAX_BODY_BYTES + 1))

    assert (status, message) == (413, f"request body is larger than the limit of {MAX_BODY_BYTES} bytes")


async def test_a_turn_is_interrupted_and_what_was_said_stays(client: Client, stage: Stage) -> None:
    """True for a turn that ran, false where none does."""
    chat_id, _ = await _running(client, stage)
    async with client.stream(chat_id) as listener:
        await listener.until("delta")

        assert await client.told("POST", f"/chats/{chat_id}/interrupt") == {"interrupted": True}

        await listener.until("message")
    await stage.ended(chat_id)
    assert await stage.said(chat_id) == [("user", "Hi"), ("assistant", "Hel")]
    assert await client.told("POST", f"/chats/{chat_id}/interrupt") == {"interrupted": False}


async def test_a_message_that_waits_is_taken_back_once(client: Client, stage: Stage) -> None:
    """After that there is no such message, and the turn ends without it."""
    chat_id, gate = await _running(client, stage)
    sent = await client.told("POST", f"/chats/{chat_id}/messages", {"message": "Wait"})
    target = f"/chats/{chat_id}/queue/{sent['queued']['id']}"

    assert await client.told("DELETE", target) == {"deleted": True}

    assert await client.refused("DELETE", target) == (404, "There is no such message in the queue.")
    gate.set()
    await stage.ended(chat_id)
    assert await stage.said(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_deleted_chat_is_gone_also_while_it_runs(client: Client, stage: Stage) -> None:
    """Its turn ends first, messages that wait go with it, and nothing of it is in the database."""
    chat_id, _ = await _running(client, stage)
    await client.told("POST", f"/chats/{chat_id}/messages", {"message": "More?"})

    assert await client.told("DELETE", f"/chats/{chat_id}") == {"deleted": True}

    assert await client.refused("GET", f"/chats/{chat_id}") == UNKNOWN
    for table in ("chats", "chat_messages", "chat_queued_messages"):
        assert await stage.database.fetch(f"SELECT * FROM {table}") == []


async def test_a_database_that_is_away_is_503(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a time to come back, and not a word of where it is."""

    async def failing(self: Any, *given: Any) -> Any:
        raise StoreError("db.internal: connection refused")

    monkeypatch.setattr(type(stage.database), "fetch", failing)
    for method, rest in ROUTES:
        answer = await client.ask(
            method, f"/chats/some-id{rest}", {"message": "Hi"} if rest == "/messages" else None
        )
        assert (answer.status, answer.header("retry-after")) == (503, b"5")
        assert msgspec.json.decode(answer.body) == {"message": "could not reach the database"}


async def test_a_service_that_is_stopping_takes_no_message(client: Client, stage: Stage) -> None:
    """503, with a time to come back."""
    chat = await client.told("POST", "/chats", {})
    stage.service.refuse_new_messages()

    answer = await client.ask("POST", f"/chats/{chat['id']}/messages", {"message": "Hi"})

    assert (answer.status, answer.header("retry-after")) == (503, b"5")


async def test_a_stranger_learns_nothing(client: Client) -> None:
    """Refused before any route is looked at."""
    assert (await client.ask("GET", "/chats", by=None)).status == 400
    assert (await client.ask("GET", "/chats", by="mallory")).status == 403


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("PUT", "/chats", 405),
        ("POST", "/chats/x", 405),
        ("POST", "/chats/x/stream", 405),
        ("GET", "/chats/", 404),
        ("GET", "/chats/x/else", 404),
        ("POST", "/chats/openapi.json", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(
    client: Client, method: str, target: str, status: int
) -> None:
    """As the management API does."""
    answer = await client.ask(method, target)

    assert answer.status == status
    assert b"route not supported" in answer.body


async def test_a_mount_without_a_layer_that_knows_callers_answers_nothing(client: Client) -> None:
    """Rather an error than chats for everybody."""
    bare = client.app.app.app.app  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="auth layer"):
        await call(bare, http_scope("GET", "/chats"))
