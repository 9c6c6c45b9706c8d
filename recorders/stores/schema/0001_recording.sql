-- What interceptions leave.
--
-- These files serve SQLite and PostgreSQL alike, so they use only what both understand:
--   TEXT         text, IDs, and JSON (PostgreSQL: cast with ::jsonb to look into it)
--   BIGINT       counts
--   BOOLEAN      SQLite keeps 0 and 1
--   TIMESTAMPTZ  SQLite keeps UTC text of fixed width, 2026-01-02T03:04:05.000006Z, which sorts by time
-- A statement ends with a semicolon at the end of a line; there is no other semicolon.
--
-- No foreign keys: records of one interception may arrive in any order, and those who started it need not be our
-- own users. What belongs to the start is NULL as long as only the end is known.

CREATE TABLE aibridge_interceptions (
    id TEXT NOT NULL PRIMARY KEY,
    initiator_id TEXT,
    api_key_id TEXT,
    provider TEXT,
    provider_name TEXT,
    model TEXT,
    client TEXT,
    client_session_id TEXT,
    session_id TEXT,
    started_at TIMESTAMPTZ,
    metadata TEXT,
    correlating_tool_call_id TEXT,
    thread_parent_id TEXT,
    thread_root_id TEXT,
    credential_kind TEXT,
    credential_hint TEXT,
    ended_at TIMESTAMPTZ,
    outcome TEXT,
    status BIGINT,
    error_type TEXT,
    error_message TEXT
);

CREATE INDEX aibridge_interceptions_started ON aibridge_interceptions (started_at, id);
CREATE INDEX aibridge_interceptions_initiator ON aibridge_interceptions (initiator_id, started_at);
CREATE INDEX aibridge_interceptions_session ON aibridge_interceptions (session_id, started_at);
CREATE INDEX aibridge_interceptions_root ON aibridge_interceptions (thread_root_id);
CREATE INDEX aibridge_interceptions_correlating ON aibridge_interceptions (correlating_tool_call_id);

CREATE TABLE aibridge_token_usages (
    id TEXT NOT NULL PRIMARY KEY,
    interception_id TEXT NOT NULL,
    provider_response_id TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_input_tokens BIGINT NOT NULL,
    cache_write_input_tokens BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX aibridge_token_usages_interception ON aibridge_token_usages (interception_id, created_at);

CREATE TABLE aibridge_user_prompts (
    id TEXT NOT NULL PRIMARY KEY,
    interception_id TEXT NOT NULL,
    provider_response_id TEXT NOT NULL,
    prompt TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX aibridge_user_prompts_interception ON aibridge_user_prompts (interception_id, created_at);

CREATE TABLE aibridge_tool_usages (
    id TEXT NOT NULL PRIMARY KEY,
    interception_id TEXT NOT NULL,
    provider_response_id TEXT NOT NULL,
    provider_tool_call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    input TEXT NOT NULL,
    server_url TEXT,
    injected BOOLEAN NOT NULL,
    invocation_error TEXT,
    metadata TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX aibridge_tool_usages_interception ON aibridge_tool_usages (interception_id, created_at);
CREATE INDEX aibridge_tool_usages_call ON aibridge_tool_usages (provider_tool_call_id, created_at);

CREATE TABLE aibridge_model_thoughts (
    id TEXT NOT NULL PRIMARY KEY,
    interception_id TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX aibridge_model_thoughts_interception ON aibridge_model_thoughts (interception_id, created_at);
