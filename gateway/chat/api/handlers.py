"""What each route does: the caller's wish to the service, its answer as a struct."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.api.errors import NotFound
from gateway.api.parameters import NoParameters
from gateway.chat.api.answers import (
    ChatAnswer,
    ChatsAnswer,
    ChatViewAnswer,
    Deleted,
    Interrupted,
    SentAnswer,
    chat_answer,
    sent_answer,
    view_answer,
)
from gateway.chat.api.mistakes import told
from gateway.chat.api.parameters import ChatsParameters, ChatText, NewChat, StreamParameters
from gateway.chat.api.stream import EventStream
from gateway.chat.routing import ModelName
from gateway.chat.service import ChatService
from middleware.errors import BadRequest
from middleware.exchange import Identity


@dataclass(frozen=True, slots=True)
class Desk:
    """What a handler works with: who is calling, and the service."""

    caller: Identity
    service: ChatService
    pause: Callable[[float], Awaitable[Any]]


async def create_chat(desk: Desk, given: NewChat) -> ChatAnswer:
    model = None if given.model is None else _model(given.model)
    with told():
        chat = await desk.service.create(desk.caller, text=given.message, model=model, system=given.system)
    return chat_answer(chat)


async def list_chats(desk: Desk, given: ChatsParameters) -> ChatsAnswer:
    found = await desk.service.chats(desk.caller, limit=given.limit + 1, before=given.before)
    page = found[: given.limit]
    return ChatsAnswer(
        chats=[chat_answer(chat) for chat in page], next=page[-1].id if len(found) > len(page) else None
    )


async def get_chat(desk: Desk, given: NoParameters, chat_id: str) -> ChatViewAnswer:
    with told():
        return view_answer(await desk.service.view(desk.caller, chat_id))


async def delete_chat(desk: Desk, given: NoParameters, chat_id: str) -> Deleted:
    with told():
        await desk.service.delete(desk.caller, chat_id)
    return Deleted()


async def send_message(desk: Desk, given: ChatText, chat_id: str) -> SentAnswer:
    with told():
        return sent_answer(await desk.service.send(desk.caller, chat_id, given.message))


async def interrupt_chat(desk: Desk, given: NoParameters, chat_id: str) -> Interrupted:
    with told():
        return Interrupted(interrupted=await desk.service.interrupt(desk.caller, chat_id))


async def delete_queued_message(desk: Desk, given: NoParameters, chat_id: str, queued_id: str) -> Deleted:
    with told():
        if not await desk.service.unqueue(desk.caller, chat_id, queued_id):
            raise NotFound("There is no such message in the queue.")
    return Deleted()


async def stream_chat(desk: Desk, given: StreamParameters, chat_id: str) -> EventStream:
    return EventStream(desk.service, desk.caller, chat_id, after=given.after, pause=desk.pause)


def _model(text: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except ValueError as error:
        raise BadRequest(f"model: {error}") from error
