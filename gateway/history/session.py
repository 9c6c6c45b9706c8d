"""One session: its threads, oldest first, and in each what was asked and what the model did.

A thread is known by its root. When the root belongs to another session (a client changed its session ID on the way),
the thread still has the root's ID, and shows what of it is in this session.

An answer holds at most MAX_ACTIONS interceptions: fewer threads than asked for when they are long, and of one thread
that is longer than that its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.history.answers import (
    AgenticAction,
    SessionThreads,
    Thought,
    Thread,
    ThreadCursor,
    Tokens,
    ToolCall,
)
from gateway.history.filters import Filters, all_of
from gateway.history.rows import instance, json_object, marks, of_interceptions, person, token_sums
from gateway.history.sessions import UnknownCursor
from recorders.stores.database import Database, Row, read_time, read_time_or_none

MAX_ACTIONS: Final = 1000

_THREAD: Final = "COALESCE(i.thread_root_id, i.id)"


class UnknownSession(ValueError):
    """There is no session of the ID that the caller may see."""


async def get_session(
    database: Database,
    session_id: str,
    *,
    initiator_id: str | None = None,
    limit: int = 50,
    after: ThreadCursor | None = None,
) -> SessionThreads:
    """Of one user, or of all who have a session of that ID. Raises `UnknownSession`, `UnknownCursor`."""
    where = all_of(Filters(session_id=session_id, initiator_id=initiator_id).conditions("i"))
    threads = await database.fetch(
        f"SELECT {_THREAD} AS thread_id, MIN(i.started_at) AS started_at, COUNT(*) AS interceptions "  # noqa: S608
        f"FROM aibridge_interceptions AS i WHERE {where.sql} AND i.started_at IS NOT NULL "
        f"GROUP BY {_THREAD} ORDER BY MIN(i.started_at), {_THREAD}",
        *where.parameters,
    )
    if not threads:
        raise UnknownSession
    left = _after(threads, after)
    shown = list(_at_most(left[:limit], MAX_ACTIONS))
    roots = [thread["thread_id"] for thread in shown]
    actions = await database.fetch(
        f"SELECT {_THREAD} AS thread_id, i.* FROM aibridge_interceptions AS i "  # noqa: S608
        f"WHERE {where.sql} AND i.started_at IS NOT NULL AND {_THREAD} IN ({marks(roots)}) "
        f"ORDER BY i.started_at, i.id LIMIT ?",
        *(*where.parameters, *roots, MAX_ACTIONS),
    )
    told = await _told(database, actions)
    following = ThreadCursor(after_thread_id=roots[-1]) if len(left) > len(shown) else None
    return SessionThreads(
        id=session_id,
        threads=[thread for row in shown if (thread := _thread(row, actions, told)) is not None],
        next=following,
    )


def _after(threads: Sequence[Row], cursor: ThreadCursor | None) -> Sequence[Row]:
    if cursor is None:
        return threads
    for place, thread in enumerate(threads):
        if thread["thread_id"] == cursor.after_thread_id:
            return threads[place + 1 :]
    raise UnknownCursor("there is no such thread in the session")


def _at_most(threads: Iterable[Row], interceptions: int) -> Iterable[Row]:
    """As many as have that many interceptions together, and always the first."""
    total = 0
    for place, thread in enumerate(threads):
        total += thread["interceptions"]
        if place and total > interceptions:
            return
        yield thread


def _thread(thread: Row, actions: Sequence[Row], told: Mapping[str, AgenticAction]) -> Thread | None:
    """None when its interceptions were purged between two queries."""
    own = [row for row in actions if row["thread_id"] == thread["thread_id"]]
    if not own:
        return None
    shown = [told[row["id"]] for row in own]
    return Thread(
        id=thread["thread_id"],
        initiator=person(own[0]),
        started_at=read_time(own[0]["started_at"]),
        interceptions=thread["interceptions"],
        truncated=len(shown) < thread["interceptions"],
        token_usage=sum((action.token_usage for action in shown), Tokens()),
        agentic_actions=shown,
    )


async def _told(database: Database, actions: Sequence[Row]) -> dict[str, AgenticAction]:
    """By interception, with all that is recorded of each."""
    ids = [row["id"] for row in actions]
    usage = await token_sums(database, ids)
    prompts = await of_interceptions(database, "aibridge_user_prompts", "prompt", ids)
    thoughts = await of_interceptions(database, "aibridge_model_thoughts", "content, metadata", ids)
    calls = await of_interceptions(
        database,
        "aibridge_tool_usages",
        "provider_tool_call_id, tool, input, server_url, injected, invocation_error",
        ids,
    )
    return {
        row["id"]: AgenticAction(
            interception_id=row["id"],
            provider=instance(row),
            model=row["model"],
            client=row["client"],
            started_at=read_time(row["started_at"]),
            ended_at=read_time_or_none(row["ended_at"]),
            outcome=row["outcome"],
            status=row["status"],
            error_message=row["error_message"],
            prompts=[prompt["prompt"] for prompt in prompts.get(row["id"], ())],
            thinking=[_thought(thought) for thought in thoughts.get(row["id"], ())],
            tool_calls=[_tool_call(call) for call in calls.get(row["id"], ())],
            token_usage=usage.get(row["id"], Tokens()),
        )
        for row in actions
    }


def _thought(row: Row) -> Thought:
    source = json_object(row["metadata"]).get("source")
    return Thought(content=row["content"], source=source if isinstance(source, str) else None)


def _tool_call(row: Row) -> ToolCall:
    return ToolCall(
        id=row["provider_tool_call_id"],
        tool=row["tool"],
        input=row["input"],
        server_url=row["server_url"],
        injected=bool(row["injected"]),
        invocation_error=row["invocation_error"],
    )
