"""Records as SQL: which statements keep a record, each of them harmless when it runs again.

A start and an end meet in one row, whichever comes first. A row that exists isn't changed but for what it lacks.
"""

from __future__ import annotations

from typing import Any, Final

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
from recorders.stores.database import Statement, Value, time_value


def _insert(table: str, columns: str) -> str:
    """Column names come from this module alone."""
    marks = ", ".join("?" for _ in columns.split(","))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608


_KEEP_FIRST: Final = " ON CONFLICT (id) DO NOTHING"

START: Final = (
    _insert(
        "aibridge_interceptions",
        "id, initiator_id, api_key_id, provider, provider_name, model, client, client_session_id, session_id, "
        "started_at, metadata, correlating_tool_call_id, thread_parent_id, thread_root_id, credential_kind, "
        "credential_hint",
    )
    + """
    ON CONFLICT (id) DO UPDATE SET
        initiator_id = excluded.initiator_id,
        api_key_id = excluded.api_key_id,
        provider = excluded.provider,
        provider_name = excluded.provider_name,
        model = excluded.model,
        client = excluded.client,
        client_session_id = excluded.client_session_id,
        session_id = excluded.session_id,
        started_at = excluded.started_at,
        metadata = excluded.metadata,
        correlating_tool_call_id = excluded.correlating_tool_call_id,
        thread_parent_id = excluded.thread_parent_id,
        thread_root_id = excluded.thread_root_id,
        credential_kind = excluded.credential_kind
    WHERE aibridge_interceptions.started_at IS NULL
    """
)

# A failover may have chosen another credential, so the hint of the end is the one that counts.
END: Final = (
    _insert(
        "aibridge_interceptions",
        "id, ended_at, outcome, status, error_type, error_message, credential_hint",
    )
    + """
    ON CONFLICT (id) DO UPDATE SET
        ended_at = excluded.ended_at,
        outcome = excluded.outcome,
        status = excluded.status,
        error_type = excluded.error_type,
        error_message = excluded.error_message,
        credential_hint = excluded.credential_hint
    WHERE aibridge_interceptions.ended_at IS NULL
    """
)

# The newest call with this ID that the same initiator was given is what the request answers.
LINK_THREAD: Final = """
    UPDATE aibridge_interceptions SET
        thread_parent_id = parent.id,
        thread_root_id = COALESCE(parent.thread_root_id, parent.id),
        session_id = COALESCE(aibridge_interceptions.client_session_id, parent.thread_root_id, parent.id)
    FROM (
        SELECT caller.id, caller.thread_root_id
        FROM aibridge_tool_usages AS call
        JOIN aibridge_interceptions AS caller ON caller.id = call.interception_id
        WHERE call.provider_tool_call_id = ? AND caller.initiator_id = ? AND caller.id <> ?
        ORDER BY call.created_at DESC, call.id DESC
        LIMIT 1
    ) AS parent
    WHERE aibridge_interceptions.id = ? AND aibridge_interceptions.thread_parent_id IS NULL
"""

TOKEN_USAGE: Final = (
    _insert(
        "aibridge_token_usages",
        "id, interception_id, provider_response_id, input_tokens, output_tokens, cache_read_input_tokens, "
        "cache_write_input_tokens, metadata, created_at",
    )
    + _KEEP_FIRST
)

PROMPT_USAGE: Final = (
    _insert(
        "aibridge_user_prompts", "id, interception_id, provider_response_id, prompt, metadata, created_at"
    )
    + _KEEP_FIRST
)

TOOL_USAGE: Final = (
    _insert(
        "aibridge_tool_usages",
        "id, interception_id, provider_response_id, provider_tool_call_id, tool, input, server_url, injected, "
        "invocation_error, metadata, created_at",
    )
    + _KEEP_FIRST
)

MODEL_THOUGHT: Final = (
    _insert("aibridge_model_thoughts", "id, interception_id, content, metadata, created_at") + _KEEP_FIRST
)


def statements_for(record: Record) -> list[Statement]:
    """What keeps this record; the order matters when there is more than one."""
    match record:
        case InterceptionStart():
            return _start(record)
        case InterceptionEnd():
            return [_end(record)]
        case TokenUsage():
            return [_token_usage(record)]
        case PromptUsage():
            return [_prompt_usage(record)]
        case ToolUsage():
            return [_tool_usage(record)]
        case ModelThought():
            return [_model_thought(record)]


def _start(start: InterceptionStart) -> list[Statement]:
    session_id = start.client_session_id or start.thread_root_id or start.interception_id
    insert = _statement(
        START,
        start.interception_id,
        start.initiator_id,
        start.api_key_id,
        start.provider,
        start.provider_name,
        start.model,
        start.client,
        start.client_session_id,
        session_id,
        time_value(start.started_at),
        _json(start.metadata),
        start.correlating_tool_call_id,
        start.thread_parent_id,
        start.thread_root_id,
        start.credential_kind,
        start.credential_hint,
    )
    if start.correlating_tool_call_id is None:
        return [insert]
    own_id = start.interception_id
    return [
        insert,
        _statement(LINK_THREAD, start.correlating_tool_call_id, start.initiator_id, own_id, own_id),
    ]


def _end(end: InterceptionEnd) -> Statement:
    return _statement(
        END,
        end.interception_id,
        time_value(end.ended_at),
        end.outcome,
        end.status,
        end.error_type,
        end.error_message,
        end.credential_hint,
    )


def _token_usage(usage: TokenUsage) -> Statement:
    return _statement(
        TOKEN_USAGE,
        usage.id,
        usage.interception_id,
        usage.msg_id,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_write_input_tokens,
        _json(usage.metadata),
        time_value(usage.created_at),
    )


def _prompt_usage(usage: PromptUsage) -> Statement:
    return _statement(
        PROMPT_USAGE,
        usage.id,
        usage.interception_id,
        usage.msg_id,
        usage.prompt,
        _json(usage.metadata),
        time_value(usage.created_at),
    )


def _tool_usage(usage: ToolUsage) -> Statement:
    return _statement(
        TOOL_USAGE,
        usage.id,
        usage.interception_id,
        usage.msg_id,
        usage.tool_call_id,
        usage.tool,
        usage.input,
        usage.server_url,
        usage.injected,
        usage.invocation_error,
        _json(usage.metadata),
        time_value(usage.created_at),
    )


def _model_thought(thought: ModelThought) -> Statement:
    return _statement(
        MODEL_THOUGHT,
        thought.id,
        thought.interception_id,
        thought.content,
        _json(thought.metadata),
        time_value(thought.created_at),
    )


def _statement(sql: str, *values: Value) -> Statement:
    return Statement(sql, tuple(_storable(value) for value in values))


def _storable(value: Value) -> Value:
    """What every database takes: no NUL (PostgreSQL has none in text), no lone surrogate, 64 bits."""
    if isinstance(value, str):
        if "\x00" in value:
            value = value.replace("\x00", "\ufffd")
        return str(plain(value))
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return int(plain(value))
    return value


def _json(value: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):
        return msgspec.json.encode(plain(value)).decode()
