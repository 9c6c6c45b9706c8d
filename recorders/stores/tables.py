"""Records as rows: which table keeps a record, and what stands in its columns.

A start and an end meet in one row, whichever comes first. Rows are dictionaries by column name, already in values
that every database takes; how they get into one is the business of the stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from recorders.codec import MAX_INTEGER, plain
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)
from recorders.stores.database import Value, time_value

Columns: TypeAlias = dict[str, Value]
Rows: TypeAlias = "dict[Table, list[Columns]]"

MAX_KEY_CHARACTERS: Final = 256
"""What PostgreSQL can surely index, in whatever script. IDs that clients or providers chose may be longer."""


class Table(NamedTuple):
    name: str
    columns: tuple[str, ...]


# Known from the start of an interception on. A failover may choose another credential, so its hint is in neither group.
START_COLUMNS: Final = (
    "initiator_id",
    "api_key_id",
    "provider",
    "provider_name",
    "model",
    "client",
    "client_session_id",
    "session_id",
    "started_at",
    "metadata",
    "correlating_tool_call_id",
    "thread_parent_id",
    "thread_root_id",
    "credential_kind",
)
END_COLUMNS: Final = ("ended_at", "outcome", "status", "error_type", "error_message")

INTERCEPTIONS: Final = Table(
    "aibridge_interceptions", ("id", *START_COLUMNS, *END_COLUMNS, "credential_hint")
)
TOKEN_USAGES: Final = Table(
    "aibridge_token_usages",
    (
        "id",
        "interception_id",
        "provider_response_id",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_write_input_tokens",
        "metadata",
        "created_at",
    ),
)
USER_PROMPTS: Final = Table(
    "aibridge_user_prompts",
    ("id", "interception_id", "provider_response_id", "prompt", "metadata", "created_at"),
)
TOOL_USAGES: Final = Table(
    "aibridge_tool_usages",
    (
        "id",
        "interception_id",
        "provider_response_id",
        "provider_tool_call_id",
        "tool",
        "input",
        "server_url",
        "injected",
        "invocation_error",
        "metadata",
        "created_at",
    ),
)
MODEL_THOUGHTS: Final = Table(
    "aibridge_model_thoughts", ("id", "interception_id", "content", "metadata", "created_at")
)
TABLES: Final = (INTERCEPTIONS, TOKEN_USAGES, USER_PROMPTS, TOOL_USAGES, MODEL_THOUGHTS)


def rows_of(records: Iterable[Record]) -> Rows:
    """One row for each ID, the first that came; in the order of their IDs, so that writers meet in one order."""
    found: dict[Table, dict[str, Columns]] = {table: {} for table in TABLES}
    for record in records:
        table, row = _row(record)
        key = str(row["id"])
        if table is INTERCEPTIONS:
            found[table][key] = _joined(found[table].get(key), row)
        else:
            found[table].setdefault(key, row)
    return {table: [rows[key] for key in sorted(rows)] for table, rows in found.items() if rows}


def _joined(known: Columns | None, row: Columns) -> Columns:
    """A start and an end in one row, each as it came first; of their hints that of the end."""
    if known is None:
        return row
    first, second = (row, known) if "ended_at" in row and "ended_at" not in known else (known, row)
    return second | first


def _row(record: Record) -> tuple[Table, Columns]:
    match record:
        case InterceptionStart():
            return INTERCEPTIONS, _start(record)
        case InterceptionEnd():
            return INTERCEPTIONS, _end(record)
        case TokenUsage():
            return TOKEN_USAGES, _token_usage(record)
        case PromptUsage():
            return USER_PROMPTS, _prompt_usage(record)
        case ToolUsage():
            return TOOL_USAGES, _tool_usage(record)
        case ModelThought():
            return MODEL_THOUGHTS, _model_thought(record)


def _start(start: InterceptionStart) -> Columns:
    client_session_id = _key_or_none(start.client_session_id)
    thread_root_id = start.thread_root_id or start.thread_parent_id
    return {
        "id": start.interception_id,
        "initiator_id": key(start.initiator_id),
        "api_key_id": _text(start.api_key_id),
        "provider": _text(start.provider),
        "provider_name": _text(start.provider_name),
        "model": key(start.model),
        "client": _text(start.client),
        "client_session_id": client_session_id,
        "session_id": client_session_id or thread_root_id or start.interception_id,
        "started_at": time_value(start.started_at),
        "metadata": _json(start.metadata),
        "correlating_tool_call_id": _key_or_none(start.correlating_tool_call_id),
        "thread_parent_id": start.thread_parent_id,
        "thread_root_id": thread_root_id,
        "credential_kind": start.credential_kind,
        "credential_hint": _text(start.credential_hint),
    }


def _end(end: InterceptionEnd) -> Columns:
    return {
        "id": end.interception_id,
        "ended_at": time_value(end.ended_at),
        "outcome": end.outcome,
        "status": end.status,
        "error_type": _text_or_none(end.error_type),
        "error_message": _text_or_none(end.error_message),
        "credential_hint": _text(end.credential_hint),
    }


def _token_usage(usage: TokenUsage) -> Columns:
    return {
        "id": usage.id,
        "interception_id": usage.interception_id,
        "provider_response_id": _text(usage.msg_id),
        "input_tokens": _count(usage.input_tokens),
        "output_tokens": _count(usage.output_tokens),
        "cache_read_input_tokens": _count(usage.cache_read_input_tokens),
        "cache_write_input_tokens": _count(usage.cache_write_input_tokens),
        "metadata": _json(usage.metadata),
        "created_at": time_value(usage.created_at),
    }


def _prompt_usage(usage: PromptUsage) -> Columns:
    return {
        "id": usage.id,
        "interception_id": usage.interception_id,
        "provider_response_id": _text(usage.msg_id),
        "prompt": _text(usage.prompt),
        "metadata": _json(usage.metadata),
        "created_at": time_value(usage.created_at),
    }


def _tool_usage(usage: ToolUsage) -> Columns:
    return {
        "id": usage.id,
        "interception_id": usage.interception_id,
        "provider_response_id": _text(usage.msg_id),
        "provider_tool_call_id": key(usage.tool_call_id),
        "tool": _text(usage.tool),
        "input": _text(usage.input),
        "server_url": _text_or_none(usage.server_url),
        "injected": usage.injected,
        "invocation_error": _text_or_none(usage.invocation_error),
        "metadata": _json(usage.metadata),
        "created_at": time_value(usage.created_at),
    }


def _model_thought(thought: ModelThought) -> Columns:
    return {
        "id": thought.id,
        "interception_id": thought.interception_id,
        "content": _text(thought.content),
        "metadata": _json(thought.metadata),
        "created_at": time_value(thought.created_at),
    }


def key(value: str) -> str:
    """Text that an index holds. A longer one keeps its beginning; its digest tells it from others."""
    text = _text(value)
    if len(text) <= MAX_KEY_CHARACTERS:
        return text
    return f"{text[: MAX_KEY_CHARACTERS - 65]}#{sha256(text.encode()).hexdigest()}"


def _key_or_none(value: str | None) -> str | None:
    return None if value is None else key(value)


def _text(value: str) -> str:
    """What every database takes: no NUL (PostgreSQL has none in text), no lone surrogate."""
    if value.isascii() and "\x00" not in value:
        return value
    return str(plain(value.replace("\x00", "\ufffd")))


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _count(value: int) -> int:
    return value if abs(value) <= MAX_INTEGER else int(plain(value))


def _json(value: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):
        return msgspec.json.encode(plain(value)).decode()
