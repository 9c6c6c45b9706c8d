"""What the store of chats keeps, as values, and how they are read from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from gateway.chat.content import Part, Role, Tokens
from gateway.chat.routing.requests import ModelName
from gateway.chat.storable import parts_from_json
from recorders.stores.database import Row, read_time

Kind: TypeAlias = Literal["chat", "subagent", "computer_use"]
Status: TypeAlias = Literal["waiting", "running", "error"]
Visible: TypeAlias = Literal["both", "user", "model"]


@dataclass(frozen=True, slots=True)
class Chat:
    id: str
    owner_id: str
    owner_name: str
    parent_id: str | None
    root_id: str
    """The top-level chat, which for that one is its own ID."""
    title: str
    system: str
    model: ModelName
    kind: Kind
    status: Status
    error: str
    """Why the last turn failed; empty unless the status is `error`."""
    queued: int
    """How many messages wait."""
    api_key_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    chat_id: str
    position: int
    role: Role
    parts: tuple[Part, ...]
    visible: Visible
    model: ModelName | None
    credential_kind: str
    tokens: Tokens | None
    api_key_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Queued:
    id: str
    """It becomes the ID of the message."""
    chat_id: str
    text: str
    api_key_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewMessage:
    role: Role
    parts: tuple[Part, ...]
    visible: Visible = "both"
    api_key_id: str | None = None
    model: ModelName | None = None
    credential_kind: str = ""
    tokens: Tokens | None = None


def read_chat(row: Row) -> Chat:
    return Chat(
        id=row["id"],
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        parent_id=row["parent_chat_id"],
        root_id=row["root_chat_id"],
        title=row["title"],
        system=row["system"],
        model=ModelName(row["provider_name"], row["model"]),
        kind=row["kind"],
        status=row["status"],
        error=row["error"],
        queued=row["queued"],
        api_key_id=row["key_id"],
        created_at=read_time(row["created_at"]),
        updated_at=read_time(row["updated_at"]),
    )


def read_message(row: Row) -> Message:
    return Message(
        id=row["id"],
        chat_id=row["chat_id"],
        position=row["position"],
        role=row["role"],
        parts=parts_from_json(row["parts"]),
        visible=row["visible"],
        model=None if row["model"] is None else ModelName(row["provider_name"], row["model"]),
        credential_kind=row["credential_kind"],
        tokens=_tokens(row),
        api_key_id=row["key_id"],
        created_at=read_time(row["created_at"]),
    )


def _tokens(row: Row) -> Tokens | None:
    if row["input_tokens"] is None:
        return None
    return Tokens(input=row["input_tokens"], output=row["output_tokens"], cached=row["cached_tokens"])


def read_queued(row: Row) -> Queued:
    return Queued(row["id"], row["chat_id"], row["text"], row["key_id"], read_time(row["created_at"]))
