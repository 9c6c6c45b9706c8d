"""The chat service's mistakes as errors that clients are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.chat.api.mistakes import told
from gateway.chat.errors import EmptyMessage, NoModel, NotRunningHere, Stopping, TooManyAgents
from gateway.chat.routing import ActiveKeyMissing
from gateway.chat.store import UnknownChat
from middleware.errors import GatewayError
from tests.gateway.chat.api.client import Client
from tests.gateway.chat.stage import Stage


@pytest.mark.parametrize(
    ("mistake", "status", "retry_after_s"),
    [
        (EmptyMessage(), 400, None),
        (NoModel(), 400, None),
        (UnknownChat(), 404, None),
        (NotRunningHere(), 409, None),
        (TooManyAgents(3), 409, None),
        (ActiveKeyMissing(), 409, None),
        (Stopping(), 503, 5),
    ],
)
def test_each_mistake_keeps_its_words(mistake: Exception, status: int, retry_after_s: int | None) -> None:
    """With the status that says whose it is, and when to come back where that helps."""
    with pytest.raises(GatewayError) as caught, told():
        raise mistake

    shown = caught.value
    assert (shown.status, shown.message, shown.retry_after_s) == (status, str(mistake), retry_after_s)
    assert shown.__cause__ is mistake


def test_a_mistake_of_our_own_is_not_worded_away() -> None:
    """What nobody foresaw stays what it is, for the log."""
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


async def test_a_turn_of_another_process_can_be_interrupted(client: Client, stage: Stage) -> None:
    """That process is asked to end it."""
    chat = await client.told("POST", "/chats", {})
    until = datetime.now(UTC) + timedelta(minutes=1)
    assert await stage.store.claim(chat["id"], "a runner of another process", until)

    assert await client.told("POST", f"/chats/{chat['id']}/interrupt") == {"interrupted": True}

    assert await stage.store.take_interrupt(chat["id"], "a runner of another process")


async def test_a_chat_that_another_process_runs_can_be_deleted(client: Client, stage: Stage) -> None:
    """That process loses it with the next thing that it would write."""
    chat = await client.told("POST", "/chats", {})
    until = datetime.now(UTC) + timedelta(minutes=1)
    assert await stage.store.claim(chat["id"], "a runner of another process", until)

    assert await client.told("DELETE", f"/chats/{chat['id']}") == {"deleted": True}

    assert not await stage.store.renew(chat["id"], "a runner of another process", until)
