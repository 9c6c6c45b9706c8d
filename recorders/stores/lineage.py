"""Which interception answers which: thread parents, thread roots and sessions, as one statement for a batch.

A request that answers a tool call belongs to the interception that made the call. Both come as records of their own,
in any order and through any replica, so after each batch the statement looks both ways: for the calls that the
batch's requests answer, and for the requests that answer the batch's calls.

What it finds is a function of all records stored, not of their order. Among the calls of that ID whose interception
has the same initiator and started earlier, the parent is that of the newest one made before the request; else (clocks
of replicas differ) of the first one made after it. A parent that a record itself names is kept until one is found.
A parent starts before its child, and no link that says otherwise is followed: there are no circles.

The root is the parent's root, else the parent; the session is the client's, else the root, else the interception
itself. When a link changes in the middle of a thread, all below it follow.

It runs after the rows are committed, so of two writers the later sees the rows of both; and for one batch at a time,
of all replicas, so nobody takes a root from a parent whose own link is still being made. If a process dies between
the rows and this, its journal offers the batch again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from recorders.stores.database import Statement
from recorders.stores.tables import INTERCEPTIONS, TOOL_USAGES, Columns, Table

SQLITE_LIST: Final = "SELECT value FROM json_each(?)"
POSTGRES_LIST: Final = "SELECT value FROM json_array_elements_text(?)"

# The caller is looked up for one call at a time, by its ID, for as long as none fits: a join might begin with all
# that the initiator ever did.
_CALLER_OF_A_CALL: Final = """
    SELECT call.interception_id
    FROM aibridge_tool_usages AS call
    WHERE call.provider_tool_call_id = answer.call_id
      AND answer.initiator_id = (
          SELECT caller.initiator_id
          FROM aibridge_interceptions AS caller
          WHERE caller.id = call.interception_id
            AND (caller.started_at, caller.id) < (answer.started_at, answer.id)
      )
"""

_LINK: Final = f"""
    WITH RECURSIVE touched (id) AS (@list@),
    asked AS (
        SELECT caller.initiator_id, caller.started_at, call.provider_tool_call_id
        FROM touched
        JOIN aibridge_interceptions AS caller ON caller.id = touched.id
        JOIN aibridge_tool_usages AS call ON call.interception_id = caller.id
    ),
    answers AS (
        SELECT child.id, child.initiator_id, child.started_at, child.thread_parent_id,
               child.correlating_tool_call_id AS call_id
        FROM touched JOIN aibridge_interceptions AS child ON child.id = touched.id
        WHERE child.correlating_tool_call_id IS NOT NULL
        UNION
        SELECT child.id, child.initiator_id, child.started_at, child.thread_parent_id,
               child.correlating_tool_call_id AS call_id
        FROM asked JOIN aibridge_interceptions AS child
          ON child.correlating_tool_call_id = asked.provider_tool_call_id
         AND child.initiator_id = asked.initiator_id
         AND child.started_at >= asked.started_at
    ),
    found AS MATERIALIZED (
        SELECT answer.id, answer.started_at, answer.thread_parent_id, COALESCE(
            ({_CALLER_OF_A_CALL} AND call.created_at <= answer.started_at
             ORDER BY call.created_at DESC, call.id DESC LIMIT 1),
            ({_CALLER_OF_A_CALL} AND call.created_at > answer.started_at
             ORDER BY call.created_at, call.id LIMIT 1)
        ) AS parent_id
        FROM answers AS answer
    ),
    linked AS MATERIALIZED (
        SELECT id, started_at, parent_id FROM found
        WHERE parent_id IS NOT NULL AND (thread_parent_id IS NULL OR thread_parent_id <> parent_id)
    ),
    below (id, started_at, link_id) AS (
        SELECT id, started_at, id FROM linked
        UNION ALL
        SELECT child.id, child.started_at, below.link_id
        FROM below JOIN aibridge_interceptions AS child
          ON child.thread_parent_id = below.id
         AND (child.started_at, child.id) > (below.started_at, below.id)
        WHERE child.id NOT IN (SELECT id FROM linked)
    ),
    above (id, parent_id) AS (
        SELECT id, parent_id FROM linked
        UNION ALL
        SELECT above.id, linked.parent_id
        FROM above JOIN below ON below.id = above.parent_id JOIN linked ON linked.id = below.link_id
    ),
    roots AS (
        SELECT above.id, COALESCE(parent.thread_root_id, parent.id) AS root_id
        FROM above JOIN aibridge_interceptions AS parent ON parent.id = above.parent_id
        WHERE above.parent_id NOT IN (SELECT id FROM below)
    )
    UPDATE aibridge_interceptions SET
        thread_parent_id = COALESCE(linked.parent_id, aibridge_interceptions.thread_parent_id),
        thread_root_id = roots.root_id,
        session_id = COALESCE(aibridge_interceptions.client_session_id, roots.root_id)
    FROM below JOIN roots ON roots.id = below.link_id LEFT JOIN linked ON linked.id = below.id
    WHERE aibridge_interceptions.id = below.id
"""  # noqa: S608


def lineage_of(rows: Mapping[Table, Sequence[Columns]], list_sql: str) -> list[Statement]:
    """What to run once these rows are stored; nothing for a batch that changes no thread.

    `list_sql` is how the database makes rows of a JSON list.
    """
    touched = {row["id"] for row in rows.get(INTERCEPTIONS, ()) if "started_at" in row}
    touched |= {row["interception_id"] for row in rows.get(TOOL_USAGES, ())}
    if not touched:
        return []
    ids = msgspec.json.encode(sorted(map(str, touched))).decode()
    return [Statement(_LINK.replace("@list@", list_sql), (ids,))]
