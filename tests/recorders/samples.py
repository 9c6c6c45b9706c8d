"""Records to test with: valid ones, of which a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)


def start(interception_id: str = "i1", **changes: Any) -> InterceptionStart:
    record = InterceptionStart(
        interception_id=interception_id,
        initiator_id="u1",
        api_key_id="k1",
        provider="anthropic",
        provider_name="anthropic-corp",
        model="claude",
        client="Claude Code",
        client_session_id=None,
        started_at=NOON,
        metadata={"username": "anna"},
        credential_kind="centralized",
        credential_hint="sk-a...0001",
    )
    return msgspec.structs.replace(record, **changes)


def end(interception_id: str = "i1", **changes: Any) -> InterceptionEnd:
    record = InterceptionEnd(
        interception_id=interception_id,
        ended_at=NOON + timedelta(seconds=3),
        outcome="completed",
        status=200,
        credential_hint="sk-a...0001",
    )
    return msgspec.structs.replace(record, **changes)


def tokens(interception_id: str = "i1", **changes: Any) -> TokenUsage:
    record = TokenUsage(
        interception_id=interception_id,
        id=f"{interception_id}-tokens",
        msg_id="msg_1",
        input_tokens=10,
        output_tokens=20,
        cache_read_input_tokens=30,
        cache_write_input_tokens=40,
        created_at=NOON,
        metadata={"cache_ephemeral_5m_input": 5},
    )
    return msgspec.structs.replace(record, **changes)


def prompt(interception_id: str = "i1", **changes: Any) -> PromptUsage:
    record = PromptUsage(
        interception_id=interception_id,
        id=f"{interception_id}-prompt",
        msg_id="msg_1",
        prompt="What is a monad?",
        created_at=NOON,
        metadata={},
    )
    return msgspec.structs.replace(record, **changes)


def tool(interception_id: str = "i1", **changes: Any) -> ToolUsage:
    record = ToolUsage(
        interception_id=interception_id,
        id=f"{interception_id}-tool",
        msg_id="msg_1",
        tool_call_id="call_1",
        tool="Bash",
        input='{"command": "ls"}',
        server_url=None,
        injected=False,
        invocation_error=None,
        created_at=NOON,
        metadata={},
    )
    return msgspec.structs.replace(record, **changes)


def thought(interception_id: str = "i1", **changes: Any) -> ModelThought:
    record = ModelThought(
        interception_id=interception_id,
        id=f"{interception_id}-thought",
        content="Let me think.",
        created_at=NOON,
        metadata={"source": "thinking"},
    )
    return msgspec.structs.replace(record, **changes)


def whole(interception_id: str = "i1") -> list[Record]:
    """One interception with a record of each kind, in the order of their happening."""
    return [make(interception_id) for make in (start, prompt, thought, tool, tokens, end)]
