"""What happens in a chat, as its subscribers hear it: each event is JSON with a `type`."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from gateway.chat.content import Part, Role, Tokens

Visible: TypeAlias = Literal["both", "user", "model"]
Status: TypeAlias = Literal["waiting", "running", "error"]


class Turn(msgspec.Struct, frozen=True, kw_only=True, tag="model"):
    """A model is being called; what it says follows as deltas and, when whole, as a message."""

    purpose: str
    provider: str
    model: str
    credential_kind: str
    """`byok` for the user's own key, `centralized` for the organisation's."""
    routed: str
    """`gateway` or `direct`."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """More of what the model is saying, or thinking. Who subscribes in the middle gets what was said so far as one."""

    kind: Literal["text", "reasoning"]
    text: str


class MessageAdded(msgspec.Struct, frozen=True, kw_only=True, tag="message"):
    """A message is part of the chat now; after a model's deltas, the whole that they made."""

    id: str
    position: int
    role: Role
    parts: tuple[Part, ...]
    provider: str = ""
    model: str = ""
    credential_kind: str = ""
    tokens: Tokens | None = None
    created_at: str = ""


class QueueChanged(msgspec.Struct, frozen=True, kw_only=True, tag="queue"):
    """How many messages wait for the turn to end."""

    waiting: int


class StatusChanged(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """`waiting` for a message, `running` a turn, or stopped by an `error`, which the next message overcomes."""

    status: Status
    error: str = ""


class TitleChanged(msgspec.Struct, frozen=True, kw_only=True, tag="title"):
    title: str


ChatEvent: TypeAlias = Turn | Delta | MessageAdded | QueueChanged | StatusChanged | TitleChanged
