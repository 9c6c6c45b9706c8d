"""What the chat service's routes answer: frozen structs, and how they are made of what the service gives."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.chat.entries import Chat, Kind, Queued, Status
from gateway.chat.events import MessageAdded
from gateway.chat.service import ChatView, Sent
from gateway.chat.views import added


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A chat, without what is said in it. `parent_id` is the chat of an agent's chat."""

    id: str
    parent_id: str | None
    kind: Kind
    title: str
    model: str
    """Written `provider/model`."""
    system: str
    status: Status
    error: str
    """Why the last turn failed, while the status is `error`."""
    queued: int
    """How many messages wait for the turn to end."""
    created_at: datetime
    updated_at: datetime


class QueuedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits for the turn to end; then it is a message of this ID."""

    id: str
    text: str
    created_at: datetime


class ChatsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Your chats, newest first, without those of agents; `next` is what `before` takes for the next page."""

    chats: list[ChatAnswer]
    next: str | None


class ChatViewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A chat with what is said in it, what waits, and the chats of its agents."""

    chat: ChatAnswer
    messages: list[MessageAdded]
    queued: list[QueuedAnswer]
    agents: list[ChatAnswer]


class SentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A message is answered now, or queued until the turn that runs has ended; the other is null."""

    message: MessageAdded | None
    queued: QueuedAnswer | None


class Interrupted(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was a turn to interrupt."""

    interrupted: bool


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """It is gone."""

    deleted: bool = True


def chat_answer(chat: Chat) -> ChatAnswer:
    return ChatAnswer(
        id=chat.id,
        parent_id=chat.parent_id,
        kind=chat.kind,
        title=chat.title,
        model=str(chat.model),
        system=chat.system,
        status=chat.status,
        error=chat.error,
        queued=chat.queued,
        created_at=chat.created_at,
        updated_at=chat.updated_at,
    )


def view_answer(view: ChatView) -> ChatViewAnswer:
    return ChatViewAnswer(
        chat=chat_answer(view.chat),
        messages=[added(message) for message in view.messages],
        queued=[_queued(queued) for queued in view.queued],
        agents=[chat_answer(agent) for agent in view.agents],
    )


def sent_answer(sent: Sent) -> SentAnswer:
    return SentAnswer(
        message=None if sent.message is None else added(sent.message),
        queued=None if sent.queued is None else _queued(sent.queued),
    )


def _queued(queued: Queued) -> QueuedAnswer:
    return QueuedAnswer(id=queued.id, text=queued.text, created_at=queued.created_at)
