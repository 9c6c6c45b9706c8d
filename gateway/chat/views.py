"""Chats and messages as they are shown: to callers and to subscribers."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.chat.content import Part, Reasoning
from gateway.chat.events import MessageAdded
from gateway.chat.store import Chat, Message, Queued
from recorders.stores.database import time_value


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message: it is answered now, or waits until the turn that runs has ended."""

    message: Message | None = None
    queued: Queued | None = None


@dataclass(frozen=True, slots=True)
class ChatView:
    chat: Chat
    messages: list[Message]
    queued: list[Queued]
    agents: list[Chat]


def added(message: Message) -> MessageAdded:
    return MessageAdded(
        id=message.id,
        position=message.position,
        role=message.role,
        parts=tuple(_shown(part) for part in message.parts),
        provider=message.model.provider if message.model else "",
        model=message.model.model if message.model else "",
        credential_kind=message.credential_kind,
        tokens=message.tokens,
        created_at=time_value(message.created_at),
    )


def _shown(part: Part) -> Part:
    """Without what only the provider can read."""
    return Reasoning(text=part.text) if isinstance(part, Reasoning) else part
