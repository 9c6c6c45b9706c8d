-- How threads are linked: the requests that answer a call, and what stands below an interception.

CREATE INDEX aibridge_interceptions_answers
    ON aibridge_interceptions (correlating_tool_call_id, initiator_id, started_at)
    WHERE correlating_tool_call_id IS NOT NULL;
CREATE INDEX aibridge_interceptions_parent
    ON aibridge_interceptions (thread_parent_id)
    WHERE thread_parent_id IS NOT NULL;
DROP INDEX aibridge_interceptions_correlating;
