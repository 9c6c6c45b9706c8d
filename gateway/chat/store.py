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
from gateway.chat import statements
from gateway.chat.content import Part, Role, Text, Tokens
from gateway.chat.routing.requests import ModelName
from gateway.chat.storable import parts_from_json, parts_to_json, storable, storable_count
from recorders.stores.database import Database, Row, Statement, Value, read_time, time_value
from recorders.stores.tables import key as indexable

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
        chat_id, now = self._new_id(), self._now()
        parent_id, root_id = (None, chat_id) if parent is None else (parent.id, parent.root_id)
        texts = (storable(text) for text in (title, system, *model, kind))
        values = (chat_id, indexable(owner_id), storable(owner_name), parent_id, root_id, *texts, now, now)
        created = statements.insert_chat(values, self._attribution(api_key_id), parent_id)
        parents = [] if parent_id is None else [statements.hold_chat(parent_id)]
        await self._database.transaction([*_hold_keys(api_key_id), *parents, created])
        return await self.chat(chat_id)

    async def chat(self, chat_id: str, *, owner_id: str | None = None) -> Chat:
        """Raises `UnknownChat`, also when an owner is given and the chat is somebody else's."""
        condition, parameters = "id = ?", [storable(chat_id)]
        if owner_id is not None:
            condition, parameters = f"{condition} AND owner_id = ?", [*parameters, indexable(owner_id)]
        rows = await self._database.fetch(f"{statements.CHATS} WHERE {condition}", *parameters)
        if not rows:
            raise UnknownChat
        return _chat(rows[0])

    async def chats(self, owner_id: str, *, limit: int = 50, before: str | None = None) -> list[Chat]:
        """The owner's top-level chats, newest first; the next page begins `before` the ID of the last one seen."""
        condition, parameters = "parent_chat_id IS NULL AND owner_id = ?", [indexable(owner_id)]
        if before is not None:
            condition, parameters = f"{condition} AND id < ?", [*parameters, storable(before)]
        rows = await self._database.fetch(
            f"{statements.CHATS} WHERE {condition} ORDER BY id DESC LIMIT ?", *parameters, limit
        )
        return [_chat(row) for row in rows]

    async def children(self, chat_id: str) -> list[Chat]:
        """Oldest first."""
        rows = await self._database.fetch(
            f"{statements.CHATS} WHERE parent_chat_id = ? ORDER BY id", storable(chat_id)
        )
        return [_chat(row) for row in rows]

    async def set_title(self, chat_id: str, title: str) -> None:
        """Raises `UnknownChat`."""
        if not await self._database.execute(
            statements.SET_TITLE, storable(title), self._now(), storable(chat_id)
        ):
            raise UnknownChat

    async def delete_chat(self, chat_id: str) -> None:
        """With all that is in it and below it, also while it runs. Raises `UnknownChat`."""
        if not await self._database.execute(statements.DELETE_CHAT, storable(chat_id)):
            raise UnknownChat

    async def messages(self, chat_id: str, *, after: int = -1) -> list[Message]:
        """Those that follow the position `after`, in order."""
        rows = await self._database.fetch(
            f"{statements.MESSAGES} WHERE chat_id = ? AND position > ? ORDER BY position",
            *(storable(chat_id), after),
        )
        return [_message(row) for row in rows]

    async def append(self, chat_id: str, *messages: NewMessage) -> list[Message]:
        """All of them, behind what is there, or none. Raises `UnknownChat`."""
        chat_id, now = storable(chat_id), self._now()
        new = {self._new_id(): message for message in messages}
        await self._database.transaction(
            [
                *_hold_keys(*(message.api_key_id for message in messages)),
                statements.touch_chat(chat_id, now),
                *(self._insert(message_id, chat_id, message, now) for message_id, message in new.items()),
            ]
        )
        return await self._appended(chat_id, list(new))

    async def active_key(self, chat_id: str) -> str | None:
        """The key of the last user message that both user and model see; None when that one has none."""
        rows = await self._database.fetch(statements.ACTIVE_KEY, storable(chat_id))
        return rows[0]["key_id"] if rows else None

    async def queue(self, chat_id: str, text: str, api_key_id: str | None) -> Queued | None:
        """Have a message wait while the chat is running; None when it isn't, and nothing has happened then."""
        chat_id, text, queued_id, created_at = storable(chat_id), storable(text), self._new_id(), self._clock()
        queued = statements.insert_queued(
            queued_id, chat_id, text, time_value(created_at), self._attribution(api_key_id)
        )
        await self._database.transaction([*_hold_keys(api_key_id), *_queue_change(chat_id, queued)])
        rows = await self._database.fetch(statements.ACCEPTED, queued_id, queued_id)
        return Queued(queued_id, chat_id, text, rows[0]["key_id"], created_at) if rows else None

    async def queued(self, chat_id: str) -> list[Queued]:
        """Oldest first."""
        rows = await self._database.fetch(
            f"{statements.QUEUED} WHERE chat_id = ? ORDER BY id", storable(chat_id)
        )
        return [_queued(row) for row in rows]

    async def unqueue(self, chat_id: str, queued_id: str) -> bool:
        """Whether it was taken out of the queue; False when it had left it."""
        chat_id, queued_id = storable(chat_id), storable(queued_id)
        if queued_id not in {queued.id for queued in await self.queued(chat_id)}:
            return False
        await self._database.transaction(
            _queue_change(chat_id, statements.delete_queued(queued_id, chat_id))
        )
        became_message = await self._database.fetch(f"{statements.MESSAGES} WHERE id = ?", queued_id)
        return not became_message

    async def promote(self, chat_id: str, runner_id: str) -> Message | None:
        """Make the oldest in the queue a user's message, with the key it was queued with.

        None when nothing waits, or when the chat isn't this runner's.
        """
        chat_id, runner = storable(chat_id), (storable(chat_id), storable(runner_id))
        while oldest := await self._oldest(*runner):
            parts = parts_to_json((Text(oldest.text),))
            promotion = statements.promote_queued(oldest.id, *runner, parts, self._now())
            await self._database.transaction(
                [*_hold_keys(oldest.api_key_id), *_queue_change(chat_id, *promotion)]
            )
            rows = await self._database.fetch(
                f"{statements.MESSAGES} WHERE id = ? AND {statements.OF_RUNNER}", oldest.id, *runner
            )
            if rows:
                return _message(rows[0])
        return None

    async def claim(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is this runner's now: nobody had it, or who had it didn't renew in time."""
        now = self._now()
        return 0 < await self._database.execute(
            statements.CLAIM, storable(runner_id), time_value(until), now, storable(chat_id), now
        )

    async def renew(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is still this runner's, now until then."""
        return 0 < await self._database.execute(
            statements.RENEW, time_value(until), storable(chat_id), storable(runner_id)
        )

    async def finish(self, chat_id: str, runner_id: str, *, error: str = "") -> bool:
        """Whether the chat has ended its turn, which was this runner's.

        Without an error it goes on, and this is False, while messages wait. With one it ends, and they stay queued.
        """
        runner = (self._now(), storable(chat_id), storable(runner_id))
        if error:
            return 0 < await self._database.execute(statements.FAIL, storable(error), *runner)
        return 0 < await self._database.execute(statements.FINISH, *runner)

    def _now(self) -> str:
        return time_value(self._clock())

    def _attribution(self, api_key_id: str | None) -> tuple[Value, ...]:
        """A key that isn't kept here is named only where it may be another authority's."""
        key_id = None if api_key_id is None else storable(api_key_id)
        return (key_id, key_id, key_id if self._keys_elsewhere else None)

    def _insert(self, message_id: str, chat_id: str, message: NewMessage, now: str) -> Statement:
        provider, model = message.model or (None, None)
        tokens = message.tokens
        values = (
            message.role,
            message.visible,
            parts_to_json(message.parts),
            None if provider is None else storable(provider),
            None if model is None else storable(model),
            storable(message.credential_kind),
            *((None,) * 3 if tokens is None else map(storable_count, (tokens.input, tokens.output, tokens.cached))),
            now,
        )
        return statements.insert_message(message_id, chat_id, values, self._attribution(message.api_key_id))

    async def _appended(self, chat_id: str, message_ids: list[str]) -> list[Message]:
        found = [message for message in await self.messages(chat_id) if message.id in message_ids]
        if len(found) < len(message_ids):
            raise UnknownChat
        return found

    async def _oldest(self, chat_id: str, runner_id: str) -> Queued | None:
        """What the runner of the chat is to take next."""
        rows = await self._database.fetch(
            f"{statements.QUEUED} WHERE chat_id = ? AND {statements.OF_RUNNER} ORDER BY id LIMIT 1",
            *(chat_id, chat_id, runner_id),
        )
        return _queued(rows[0]) if rows else None


def _hold_keys(*key_ids: str | None) -> list[Statement]:
    """In one order, so that two who hold several don't wait for each other."""
    return [statements.hold_key(key_id) for key_id in sorted({storable(key) for key in key_ids if key})]


def _queue_change(chat_id: str, *changes: Statement) -> list[Statement]:
    return [statements.hold_chat(chat_id), *changes, statements.count_queued(chat_id)]


def _chat(row: Row) -> Chat:
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


def _message(row: Row) -> Message:
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


def _queued(row: Row) -> Queued:
    return Queued(row["id"], row["chat_id"], row["text"], row["key_id"], read_time(row["created_at"]))
