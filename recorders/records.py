"""The six kinds of record that an interception leaves.

Frozen values without behaviour: they know no clock, no socket and no store. `record_type` is the tag under which
each is logged and journalled; a new kind of fact is a new class here, one line in `Record`, and one table.

IDs are UUIDv7 in their canonical text form. Times are aware datetimes in UTC. Token counts are whole tokens.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

CredentialKind: TypeAlias = Literal["centralized", "byok"]
Outcome: TypeAlias = Literal["completed", "client_left", "upstream_failed", "refused"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="record_type"):
    interception_id: str


class InterceptionStart(_Record, frozen=True, kw_only=True, tag="interception_start"):
    """A recorded request is about to go upstream. Written before anything does."""

    initiator_id: str
    api_key_id: str
    provider: str
    provider_name: str
    model: str
    client: str
    client_session_id: str | None
    started_at: datetime
    metadata: dict[str, Any]
    correlating_tool_call_id: str | None = None
    thread_parent_id: str | None = None
    thread_root_id: str | None = None
    credential_kind: CredentialKind
    credential_hint: str


class InterceptionEnd(_Record, frozen=True, kw_only=True, tag="interception_end"):
    """The request is over, whatever happened to it. Exactly one follows each start."""

    ended_at: datetime
    outcome: Outcome
    status: int | None
    error_type: str | None = None
    error_message: str | None = None
    credential_hint: str


class TokenUsage(_Record, frozen=True, kw_only=True, tag="token_usage"):
    """What one provider response cost. `input_tokens` never contains cached ones; further counts are in `metadata`."""

    id: str
    msg_id: str
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    created_at: datetime
    metadata: dict[str, Any]


class PromptUsage(_Record, frozen=True, kw_only=True, tag="prompt_usage"):
    """What the person asked last."""

    id: str
    msg_id: str
    prompt: str
    created_at: datetime
    metadata: dict[str, Any]


class ToolUsage(_Record, frozen=True, kw_only=True, tag="tool_usage"):
    """A tool call that the model made. `input` is the text the model wrote, JSON or not."""

    id: str
    msg_id: str
    tool_call_id: str
    tool: str
    input: str
    server_url: str | None
    injected: bool
    invocation_error: str | None
    created_at: datetime
    metadata: dict[str, Any]


class ModelThought(_Record, frozen=True, kw_only=True, tag="model_thought"):
    """Reasoning that the model showed; `metadata["source"]` says in which form."""

    id: str
    content: str
    created_at: datetime
    metadata: dict[str, Any]


Record: TypeAlias = InterceptionStart | InterceptionEnd | TokenUsage | PromptUsage | ToolUsage | ModelThought
