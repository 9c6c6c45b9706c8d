"""Chats, their messages and the messages that wait for a turn to end, in the gateway's database.

Each says which API key it is to be attributed to. A key of this gateway is referred to: when it is deleted, what was
said with it stays and has no key any more. A key that another authority keeps (`keys_elsewhere`) is only named.

At most one runner has a chat, until a time that it puts off as long as it lives; should it die, another may take the
chat over then. A chat with messages in its queue can't be finished but by an error, so that none is left behind.

Chats are what people wrote, not records of it: retention doesn't touch them, they go when they are deleted. What is
kept is what every database takes: a NUL or half a character in a text becomes U+FFFD, as in the records.

Trouble with the database is a `StoreError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import uuid_utils

from gateway.accounts import utc_now
from gateway.chat.content import Part, Role, Tokens
from gateway.chat.routing.requests import ModelName
from recorders.stores.database import Database

Kind: TypeAlias = Literal["chat", "subagent", "computer_use"]
Status: TypeAlias = Literal["waiting", "running", "error"]
Visible: TypeAlias = Literal["both", "user", "model"]


class UnknownChat(Exception):
    """There is no such chat, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__("There is no such chat.")


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


def _uuid7() -> str:
    return str(uuid_utils.uuid7())


class ChatStore:
    """In `database`, which others share. `new_id` gives IDs that sort by time."""

    def __init__(
        self,
        database: Database,
        *,
        keys_elsewhere: bool = False,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = _uuid7,
    ) -> None:
        self._database = database
        self._keys_elsewhere = keys_elsewhere
        self._clock = clock
        self._new_id = new_id

    async def create_chat(
        self,
        *,
        owner_id: str,
        owner_name: str,
        model: ModelName,
        title: str = "",
        system: str = "",
        kind: Kind = "chat",
        parent: Chat | None = None,
        api_key_id: str | None,
    ) -> Chat:
        """A chat that waits, below `parent` or at the top. Raises `UnknownChat` when the parent is gone."""
        raise NotImplementedError

    async def chat(self, chat_id: str, *, owner_id: str | None = None) -> Chat:
        """Raises `UnknownChat`, also when an owner is given and the chat is somebody else's."""
        raise NotImplementedError

    async def chats(self, owner_id: str, *, limit: int = 50, before: str | None = None) -> list[Chat]:
        """The owner's top-level chats, newest first; the next page begins `before` the ID of the last one seen."""
        raise NotImplementedError

    async def children(self, chat_id: str) -> list[Chat]:
        """Oldest first."""
        raise NotImplementedError

    async def set_title(self, chat_id: str, title: str) -> None:
        """Raises `UnknownChat`."""
        raise NotImplementedError

    async def delete_chat(self, chat_id: str) -> None:
        """With all that is in it and below it. Raises `UnknownChat`."""
        raise NotImplementedError

    async def messages(self, chat_id: str, *, after: int = -1) -> list[Message]:
        """Those that follow the position `after`, in order."""
        raise NotImplementedError

    async def append(self, chat_id: str, *messages: NewMessage) -> list[Message]:
        """All of them, behind what is there, or none. Raises `UnknownChat`."""
        raise NotImplementedError

    async def active_key(self, chat_id: str) -> str | None:
        """The key of the last user message that both user and model see; None when that one has none."""
        raise NotImplementedError

    async def queue(self, chat_id: str, text: str, api_key_id: str | None) -> Queued | None:
        """Have a message wait while the chat is running; None when it isn't, and nothing has happened then."""
        raise NotImplementedError

    async def queued(self, chat_id: str) -> list[Queued]:
        """Oldest first."""
        raise NotImplementedError

    async def unqueue(self, chat_id: str, queued_id: str) -> bool:
        """Whether it was taken out of the queue; False when it had left it."""
        raise NotImplementedError

    async def promote(self, chat_id: str, runner_id: str) -> Message | None:
        """Make the oldest in the queue a user's message, with the key it was queued with.

        None when nothing waits, or when the chat isn't this runner's.
        """
        raise NotImplementedError

    async def claim(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is this runner's now: nobody had it, or who had it didn't renew in time."""
        raise NotImplementedError

    async def renew(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is still this runner's, now until then."""
        raise NotImplementedError

    async def finish(self, chat_id: str, runner_id: str, *, error: str = "") -> bool:
        """Whether the chat has ended its turn, which was this runner's.

        Without an error it goes on, and this is False, while messages wait. With one it ends, and they stay queued.
        """
        raise NotImplementedError
