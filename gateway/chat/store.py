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
from datetime import datetime, timedelta

from gateway.accounts import utc_now
from gateway.chat import statements
from gateway.chat.content import Text, Tokens
from gateway.chat.entries import (
    Chat,
    Kind,
    Message,
    NewMessage,
    Queued,
    Status,
    Visible,
    read_chat,
    read_message,
    read_queued,
)
from gateway.chat.routing.requests import ModelName
from gateway.chat.storable import parts_to_json, storable, storable_count
from middleware.exchange import new_id
from recorders.stores.database import Database, Statement, Value, time_value
from recorders.stores.tables import key as indexable

__all__ = ["Chat", "ChatStore", "Kind", "Message", "NewMessage", "Queued", "Status", "UnknownChat", "Visible"]


class UnknownChat(Exception):
    """There is no such chat, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__("There is no such chat.")


class ChatStore:
    """In `database`, which others share. `new_id` gives IDs that sort by time."""

    def __init__(
        self,
        database: Database,
        *,
        keys_elsewhere: bool = False,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_id,
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
        rows = await (
            self._database.fetch(statements.CHAT, storable(chat_id))
            if owner_id is None
            else self._database.fetch(statements.OWN_CHAT, storable(chat_id), indexable(owner_id))
        )
        if not rows:
            raise UnknownChat
        return read_chat(rows[0])

    async def chats(self, owner_id: str, *, limit: int = 50, before: str | None = None) -> list[Chat]:
        """The owner's top-level chats, newest first; the next page begins `before` the ID of the last one seen."""
        owner = indexable(owner_id)
        rows = await (
            self._database.fetch(statements.FIRST_PAGE, owner, limit)
            if before is None
            else self._database.fetch(statements.NEXT_PAGE, owner, storable(before), limit)
        )
        return [read_chat(row) for row in rows]

    async def children(self, chat_id: str) -> list[Chat]:
        """Oldest first."""
        rows = await self._database.fetch(statements.CHILDREN, storable(chat_id))
        return [read_chat(row) for row in rows]

    async def set_title(self, chat_id: str, title: str) -> None:
        """Raises `UnknownChat`."""
        if not await self._changed(statements.SET_TITLE, storable(title), self._now(), storable(chat_id)):
            raise UnknownChat

    async def delete_chat(self, chat_id: str) -> None:
        """With all that is in it and below it, also while it runs. Raises `UnknownChat`."""
        if not await self._changed(statements.DELETE_CHAT, storable(chat_id)):
            raise UnknownChat

    async def messages(self, chat_id: str, *, after: int = -1) -> list[Message]:
        """Those that follow the position `after`, in order."""
        rows = await self._database.fetch(statements.MESSAGES, storable(chat_id), after)
        return [read_message(row) for row in rows]

    async def append(
        self, chat_id: str, *messages: NewMessage, runner_id: str | None = None
    ) -> list[Message]:
        """All of them, behind what is there, or none. Raises `UnknownChat`; with `runner_id` also when somebody else
        has the chat by now."""
        if not messages:
            return []
        chat_id, now = storable(chat_id), self._now()
        new = {self._new_id(): message for message in messages}
        await self._database.transaction(
            [
                *_hold_keys(*(message.api_key_id for message in messages)),
                statements.touch_chat(chat_id, now),
                *(self._insert(id_, chat_id, message, now, runner_id) for id_, message in new.items()),
            ]
        )
        return await self._appended(list(new))

    async def active_key(self, chat_id: str) -> str | None:
        """The key of the last user message that both user and model see; None when that one has none."""
        rows = await self._database.fetch(statements.ACTIVE_KEY, storable(chat_id))
        return rows[0]["key_id"] if rows else None

    async def queue(self, chat_id: str, text: str, api_key_id: str | None) -> Queued | None:
        """Have a message wait while the chat is running; None when it isn't, and nothing has happened then."""
        chat_id, text = storable(chat_id), storable(text)
        queued_id, created_at = self._new_id(), self._clock()
        queued = statements.insert_queued(
            queued_id, chat_id, text, time_value(created_at), self._attribution(api_key_id)
        )
        await self._database.transaction([*_hold_keys(api_key_id), *_queue_change(chat_id, queued)])
        rows = await self._database.fetch(statements.ACCEPTED, queued_id, queued_id)
        return Queued(queued_id, chat_id, text, rows[0]["key_id"], created_at) if rows else None

    async def queued(self, chat_id: str) -> list[Queued]:
        """Oldest first."""
        rows = await self._database.fetch(statements.QUEUED, storable(chat_id))
        return [read_queued(row) for row in rows]

    async def unqueue(self, chat_id: str, queued_id: str) -> bool:
        """Whether it was taken out of the queue; False when it had left it."""
        chat_id, queued_id = storable(chat_id), storable(queued_id)
        if queued_id not in {queued.id for queued in await self.queued(chat_id)}:
            return False
        await self._database.transaction(_queue_change(chat_id, statements.delete_queued(queued_id, chat_id)))
        became_message = await self._database.fetch(statements.MESSAGE, queued_id)
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
            rows = await self._database.fetch(statements.MESSAGE_OF_RUNNER, oldest.id, *runner)
            if rows:
                return read_message(rows[0])
        return None

    async def claim(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is this runner's now: nobody had it, or who had it didn't renew in time."""
        now = self._now()
        return await self._changed(
            statements.CLAIM, storable(runner_id), time_value(until), now, storable(chat_id), now
        )

    async def renew(self, chat_id: str, runner_id: str, until: datetime) -> bool:
        """Whether the chat is still this runner's, now until then."""
        return await self._changed(
            statements.RENEW, time_value(until), storable(chat_id), storable(runner_id)
        )

    async def finish(self, chat_id: str, runner_id: str, *, error: str = "") -> bool:
        """Whether the chat has ended its turn, which was this runner's.

        Without an error it goes on, and this is False, while messages wait. With one it ends, and they stay queued.
        """
        runner = (self._now(), storable(chat_id), storable(runner_id))
        if error:
            return await self._changed(statements.FAIL, storable(error), *runner)
        return await self._changed(statements.FINISH, *runner)

    async def ask_interrupt(self, chat_id: str) -> bool:
        """Have who runs the chat end its turn, wherever that is; False when nobody runs it."""
        return await self._changed(statements.ASK_INTERRUPT, storable(chat_id))

    async def interrupted(self) -> list[tuple[str, str]]:
        """(chat, runner) where a turn is to end, and its runner has not yet seen it."""
        rows = await self._database.fetch(statements.INTERRUPTED)
        return [(row["id"], row["interrupted_runner_id"]) for row in rows]

    async def take_interrupt(self, chat_id: str, runner_id: str) -> bool:
        """Whether this runner is to end its turn; once for each turn that somebody wants to end."""
        return await self._changed(statements.TAKE_INTERRUPT, storable(chat_id), storable(runner_id))

    async def abandoned(self, for_s: float) -> list[tuple[str, str]]:
        """(chat, runner) where the lease of who runs it ended `for_s` seconds ago or earlier."""
        before = time_value(self._clock() - timedelta(seconds=for_s))
        rows = await self._database.fetch(statements.ABANDONED, before)
        return [(row["id"], row["runner_id"]) for row in rows]

    async def _changed(self, sql: str, *parameters: Value) -> bool:
        return await self._database.execute(sql, *parameters) > 0

    def _now(self) -> str:
        return time_value(self._clock())

    def _attribution(self, api_key_id: str | None) -> tuple[Value, ...]:
        """A key that isn't kept here is named only where it may be another authority's."""
        key_id = None if api_key_id is None else storable(api_key_id)
        return (key_id, key_id, key_id if self._keys_elsewhere else None)

    def _insert(
        self, message_id: str, chat_id: str, message: NewMessage, now: str, runner_id: str | None
    ) -> Statement:
        provider, model = message.model or (None, None)
        values = (
            message.role,
            message.visible,
            parts_to_json(message.parts),
            None if provider is None else storable(provider),
            None if model is None else storable(model),
            storable(message.credential_kind),
            *_counts(message.tokens),
            now,
        )
        attribution = self._attribution(message.api_key_id)
        runner_id = None if runner_id is None else storable(runner_id)
        return statements.insert_message(message_id, chat_id, values, attribution, runner_id)

    async def _appended(self, message_ids: list[str]) -> list[Message]:
        sql, parameters = statements.messages_by_id(message_ids)
        found = [read_message(row) for row in await self._database.fetch(sql, *parameters)]
        if len(found) < len(message_ids):
            raise UnknownChat
        return found

    async def _oldest(self, chat_id: str, runner_id: str) -> Queued | None:
        """What the runner of the chat is to take next."""
        rows = await self._database.fetch(statements.OLDEST_OF_RUNNER, chat_id, chat_id, runner_id)
        return read_queued(rows[0]) if rows else None


def _hold_keys(*key_ids: str | None) -> list[Statement]:
    """In one order, so that two who hold several don't wait for each other."""
    return [statements.hold_key(key_id) for key_id in sorted({storable(key) for key in key_ids if key})]


def _queue_change(chat_id: str, *changes: Statement) -> list[Statement]:
    return [statements.hold_chat(chat_id), *changes, statements.count_queued(chat_id)]


def _counts(tokens: Tokens | None) -> tuple[Value, ...]:
    if tokens is None:
        return (None, None, None)
    return tuple(map(storable_count, (tokens.input, tokens.output, tokens.cached)))
