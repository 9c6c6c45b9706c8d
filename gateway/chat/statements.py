"""The SQL of `gateway.chat.store`, for SQLite and PostgreSQL alike.

SQLite has one writer at a time. In PostgreSQL each statement sees what was committed before it began, so whatever
must not change between two statements of a transaction is locked by the first, always in the same order: the API key,
then the chat. Who changes the queue or the positions of a chat has its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recorders.stores.database import Statement, Value

_KEY: Final = "COALESCE(api_key_id, other_key_id) AS key_id"
_ATTRIBUTION: Final = (
    "(SELECT id FROM api_keys WHERE id = ?), "
    "CASE WHEN EXISTS (SELECT 1 FROM api_keys WHERE id = ?) THEN NULL ELSE ? END"
)
_NEXT_POSITION: Final = "(SELECT COALESCE(MAX(position), -1) + 1 FROM chat_messages WHERE chat_id = chats.id)"
_CHAT_COLUMNS: Final = (
    "id, owner_id, owner_name, parent_chat_id, root_chat_id, title, system, provider_name, model, kind, "
    "created_at, updated_at, api_key_id, other_key_id"
)
_MESSAGE_COLUMNS: Final = (
    "id, chat_id, position, role, visible, parts, provider_name, model, credential_kind, "
    "input_tokens, output_tokens, cached_tokens, created_at, api_key_id, other_key_id"
)

# What is put together here are the names above, and marks for parameters.
# ruff: noqa: S608

_CHATS: Final = (
    "SELECT id, owner_id, owner_name, parent_chat_id, root_chat_id, title, system, provider_name, model, kind, "
    f"status, error, queued, {_KEY}, created_at, updated_at FROM chats"
)
_MESSAGES: Final = (
    "SELECT id, chat_id, position, role, visible, parts, provider_name, model, credential_kind, "
    f"input_tokens, output_tokens, cached_tokens, {_KEY}, created_at FROM chat_messages"
)
_QUEUED: Final = f"SELECT id, chat_id, text, {_KEY}, created_at FROM chat_queued_messages"
_RUNNING: Final = "WHERE id = ? AND runner_id = ? AND status = 'running'"
_OF_RUNNER: Final = f"EXISTS (SELECT 1 FROM chats {_RUNNING})"
_TOP_LEVEL: Final = f"{_CHATS} WHERE parent_chat_id IS NULL AND owner_id = ?"

CHAT: Final = f"{_CHATS} WHERE id = ?"
OWN_CHAT: Final = f"{CHAT} AND owner_id = ?"
FIRST_PAGE: Final = f"{_TOP_LEVEL} ORDER BY id DESC LIMIT ?"
NEXT_PAGE: Final = f"{_TOP_LEVEL} AND id < ? ORDER BY id DESC LIMIT ?"
CHILDREN: Final = f"{_CHATS} WHERE parent_chat_id = ? ORDER BY id"
MESSAGES: Final = f"{_MESSAGES} WHERE chat_id = ? AND position > ? ORDER BY position"
MESSAGE: Final = f"{_MESSAGES} WHERE id = ?"
MESSAGE_OF_RUNNER: Final = f"{MESSAGE} AND {_OF_RUNNER}"
QUEUED: Final = f"{_QUEUED} WHERE chat_id = ? ORDER BY id"
OLDEST_OF_RUNNER: Final = f"{_QUEUED} WHERE chat_id = ? AND {_OF_RUNNER} ORDER BY id LIMIT 1"
ACTIVE_KEY: Final = (
    f"SELECT {_KEY} FROM chat_messages WHERE chat_id = ? AND role = 'user' AND visible = 'both' "
    "ORDER BY position DESC LIMIT 1"
)
ACCEPTED: Final = (
    f"SELECT {_KEY} FROM chat_queued_messages WHERE id = ? "
    f"UNION ALL SELECT {_KEY} FROM chat_messages WHERE id = ?"
)
"""What was queued a moment ago may be a message already."""

CLAIM: Final = (
    "UPDATE chats SET status = 'running', error = '', runner_id = ?, runner_until = ?, "
    "interrupted_runner_id = NULL, updated_at = ? WHERE id = ? AND (status <> 'running' OR runner_until < ?)"
)
RENEW: Final = f"UPDATE chats SET runner_until = ? {_RUNNING}"
_END: Final = "runner_id = NULL, runner_until = NULL, interrupted_runner_id = NULL, updated_at = ?"
FINISH: Final = f"UPDATE chats SET status = 'waiting', {_END} {_RUNNING} AND queued = 0"
FAIL: Final = f"UPDATE chats SET status = 'error', error = ?, {_END} {_RUNNING}"
ABANDONED: Final = "SELECT id, runner_id FROM chats WHERE status = 'running' AND runner_until < ?"
ASK_INTERRUPT: Final = (
    "UPDATE chats SET interrupted_runner_id = runner_id WHERE id = ? AND status = 'running'"
)
TAKE_INTERRUPT: Final = (
    f"UPDATE chats SET interrupted_runner_id = NULL {_RUNNING} AND interrupted_runner_id = runner_id"
)
INTERRUPTED: Final = "SELECT id, interrupted_runner_id FROM chats WHERE interrupted_runner_id IS NOT NULL"
SET_TITLE: Final = "UPDATE chats SET title = ?, updated_at = ? WHERE id = ?"
DELETE_CHAT: Final = "DELETE FROM chats WHERE id = ?"


def messages_by_id(message_ids: Sequence[str]) -> Statement:
    """In the order of their positions."""
    return Statement(f"{_MESSAGES} WHERE id IN ({_marks(message_ids)}) ORDER BY position", tuple(message_ids))


def hold_key(key_id: str) -> Statement:
    """A key that is being deleted is gone before, or stays until this transaction has ended: references to it hold."""
    return Statement("UPDATE api_keys SET last_used_at = last_used_at WHERE id = ?", (key_id,))


def hold_chat(chat_id: str) -> Statement:
    """Whatever its status is: from here on it stays so."""
    return Statement("UPDATE chats SET queued = queued WHERE id = ?", (chat_id,))


def touch_chat(chat_id: str, now: str) -> Statement:
    """Hold it, and say that something happened in it."""
    return Statement("UPDATE chats SET updated_at = ? WHERE id = ?", (now, chat_id))


def insert_chat(
    values: tuple[Value, ...], attribution: tuple[Value, ...], parent_id: str | None
) -> Statement:
    """Nothing, when there is a parent which doesn't exist any more."""
    source, parent = (
        ("", ()) if parent_id is None else (" FROM chats AS parent WHERE parent.id = ?", (parent_id,))
    )
    return Statement(
        f"INSERT INTO chats ({_CHAT_COLUMNS}) SELECT {_marks(values)}, {_ATTRIBUTION}{source}",
        (*values, *attribution, *parent),
    )


def insert_message(
    message_id: str,
    chat_id: str,
    values: tuple[Value, ...],
    attribution: tuple[Value, ...],
    runner_id: str | None,
) -> Statement:
    """Behind the last; nothing, when there is no such chat, or when a runner is named that hasn't got it.

    `values` from the role to the time.
    """
    runner, ours = (
        ("", ()) if runner_id is None else (" AND runner_id = ? AND status = 'running'", (runner_id,))
    )
    return Statement(
        f"INSERT INTO chat_messages ({_MESSAGE_COLUMNS}) "
        f"SELECT ?, chats.id, {_NEXT_POSITION}, {_marks(values)}, {_ATTRIBUTION} FROM chats "
        f"WHERE chats.id = ?{runner}",
        (message_id, *values, *attribution, chat_id, *ours),
    )


def insert_queued(
    queued_id: str, chat_id: str, text: str, now: str, attribution: tuple[Value, ...]
) -> Statement:
    """Nothing, unless the chat is running."""
    return Statement(
        "INSERT INTO chat_queued_messages (id, chat_id, text, created_at, api_key_id, other_key_id) "
        f"SELECT ?, chats.id, ?, ?, {_ATTRIBUTION} FROM chats WHERE chats.id = ? AND chats.status = 'running'",
        (queued_id, text, now, *attribution, chat_id),
    )


def promote_queued(
    queued_id: str, chat_id: str, runner_id: str, parts: str, now: str
) -> tuple[Statement, ...]:
    """Nothing, when it has left the queue or the chat isn't this runner's. The message takes over ID and key.

    Who wanted the turn before it to end has what they wanted.
    """
    return (
        Statement(
            "INSERT INTO chat_messages "
            "(id, chat_id, position, role, visible, parts, created_at, api_key_id, other_key_id) "
            f"SELECT waiting.id, chats.id, {_NEXT_POSITION}, 'user', 'both', ?, ?, "
            "waiting.api_key_id, waiting.other_key_id "
            "FROM chats JOIN chat_queued_messages AS waiting ON waiting.chat_id = chats.id "
            "WHERE waiting.id = ? AND chats.id = ? AND chats.runner_id = ? AND chats.status = 'running'",
            (parts, now, queued_id, chat_id, runner_id),
        ),
        Statement(
            "DELETE FROM chat_queued_messages WHERE id = ? AND id IN (SELECT id FROM chat_messages WHERE id = ?)",
            (queued_id, queued_id),
        ),
        Statement(TAKE_INTERRUPT, (chat_id, runner_id)),
    )


def delete_queued(queued_id: str, chat_id: str) -> Statement:
    return Statement("DELETE FROM chat_queued_messages WHERE id = ? AND chat_id = ?", (queued_id, chat_id))


def count_queued(chat_id: str) -> Statement:
    """Into the chat's row, which is held: counting anew can't go wrong by one."""
    return Statement(
        "UPDATE chats SET queued = (SELECT COUNT(*) FROM chat_queued_messages WHERE chat_id = chats.id) "
        "WHERE id = ?",
        (chat_id,),
    )


def _marks(values: Sequence[Value]) -> str:
    return ", ".join("?" for _ in values)
