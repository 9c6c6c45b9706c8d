"""What the views return: frozen structs whose JSON is the management API's.

Times are aware and in UTC. Token counts are whole tokens; `input_tokens` never contains cached ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Person(_Answer, frozen=True, kw_only=True):
    """Who asked. `username` is as it was when they asked."""

    id: str
    username: str | None


class Tokens(_Answer, frozen=True, kw_only=True):
    """What the providers counted, summed."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__},
        )


class ProviderInstance(_Answer, frozen=True, kw_only=True):
    """A configured provider, as it was named when it was called."""

    type: str
    name: str


class Session(_Answer, frozen=True, kw_only=True):
    """One user's interceptions with one session ID, all of them, whichever filter found it."""

    id: str
    initiator: Person
    started_at: datetime
    last_started_at: datetime
    ended_at: datetime | None
    interceptions: int
    threads: int
    providers: list[ProviderInstance]
    models: list[str]
    clients: list[str]
    token_usage: Tokens
    first_prompt: str | None
    """The beginning of what was asked in the first interception that the filter found."""


class SessionCursor(_Answer, frozen=True, kw_only=True):
    """Parameters of the next page, beside the same filters."""

    after_session_id: str
    after_initiator: str


class SessionPage(_Answer, frozen=True, kw_only=True):
    """`next` is null on the last page."""

    sessions: list[Session]
    next: SessionCursor | None


class Interception(_Answer, frozen=True, kw_only=True):
    """One recorded request. What belongs to its end is null while it runs."""

    id: str
    session_id: str
    initiator: Person
    api_key_id: str
    provider: ProviderInstance
    model: str
    client: str
    client_session_id: str | None
    thread_root_id: str | None
    thread_parent_id: str | None
    correlating_tool_call_id: str | None
    credential_kind: str
    credential_hint: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    status: int | None
    error_type: str | None
    error_message: str | None
    token_usage: Tokens
    metadata: dict[str, Any]


class InterceptionCursor(_Answer, frozen=True, kw_only=True):
    """Parameters of the next page, beside the same filters."""

    after_id: str


class InterceptionPage(_Answer, frozen=True, kw_only=True):
    """`next` is null on the last page."""

    interceptions: list[Interception]
    next: InterceptionCursor | None


class Thought(_Answer, frozen=True, kw_only=True):
    """Reasoning that the model showed, and in which form."""

    content: str
    source: str | None


class ToolCall(_Answer, frozen=True, kw_only=True):
    """A call that the model made. `input` is the text the model wrote, JSON or not."""

    id: str
    tool: str
    input: str
    server_url: str | None
    injected: bool
    invocation_error: str | None


class AgenticAction(_Answer, frozen=True, kw_only=True):
    """One interception of a thread: what was asked, and what the model did."""

    interception_id: str
    provider: ProviderInstance
    model: str
    client: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    status: int | None
    error_message: str | None
    prompts: list[str]
    thinking: list[Thought]
    tool_calls: list[ToolCall]
    token_usage: Tokens


class Thread(_Answer, frozen=True, kw_only=True):
    """An interception and those that answer its tool calls, and theirs. `id` is the first one's.

    `truncated`: there are more actions than one answer holds; `interceptions` says how many.
    """

    id: str
    initiator: Person
    started_at: datetime
    interceptions: int
    truncated: bool
    token_usage: Tokens
    agentic_actions: list[AgenticAction]


class ThreadCursor(_Answer, frozen=True, kw_only=True):
    """Parameters of the next page."""

    after_thread_id: str


class SessionThreads(_Answer, frozen=True, kw_only=True):
    """A session, oldest thread first. `token_usage` of a thread counts the actions shown."""

    id: str
    threads: list[Thread]
    next: ThreadCursor | None


class Models(_Answer, frozen=True, kw_only=True):
    """What clients asked for. `complete` is false when there are more names than are looked through."""

    models: list[str]
    complete: bool


class Clients(_Answer, frozen=True, kw_only=True):
    """Which programs asked."""

    clients: list[str]
    complete: bool


class Providers(_Answer, frozen=True, kw_only=True):
    """Which provider instances were called."""

    providers: list[ProviderInstance]
    complete: bool
