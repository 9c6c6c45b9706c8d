-- Chats, what is said in them, and what waits to be said when a turn has ended.
-- The owner is no reference: it may be another authority's user. A key of ours is one, in `api_key_id`, and when it is
-- deleted the text stays without it; `other_key_id` names one that another authority keeps.
-- How many messages wait stands in the chat's own row: who waited for that row to be unlocked reads its columns anew in
-- PostgreSQL, but not what a subquery had found.

CREATE TABLE chats (
    id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    parent_chat_id TEXT REFERENCES chats (id) ON DELETE CASCADE,
    root_chat_id TEXT NOT NULL,
    title TEXT NOT NULL,
    system TEXT NOT NULL,
    provider_name TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting',
    error TEXT NOT NULL DEFAULT '',
    runner_id TEXT,
    runner_until TIMESTAMPTZ,
    queued BIGINT NOT NULL DEFAULT 0,
    api_key_id TEXT REFERENCES api_keys (id) ON DELETE SET NULL,
    other_key_id TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CHECK (kind IN ('chat', 'subagent', 'computer_use')),
    CHECK (status IN ('waiting', 'running', 'error'))
);

CREATE INDEX chats_owner ON chats (owner_id, id) WHERE parent_chat_id IS NULL;
CREATE INDEX chats_parent ON chats (parent_chat_id, id);
CREATE INDEX chats_api_key ON chats (api_key_id);

CREATE TABLE chat_messages (
    id TEXT NOT NULL PRIMARY KEY,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    role TEXT NOT NULL,
    visible TEXT NOT NULL,
    parts TEXT NOT NULL,
    provider_name TEXT,
    model TEXT,
    credential_kind TEXT NOT NULL DEFAULT '',
    input_tokens BIGINT,
    output_tokens BIGINT,
    cached_tokens BIGINT,
    api_key_id TEXT REFERENCES api_keys (id) ON DELETE SET NULL,
    other_key_id TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (chat_id, position),
    CHECK (role IN ('user', 'assistant', 'tool')),
    CHECK (visible IN ('both', 'user', 'model'))
);

CREATE INDEX chat_messages_api_key ON chat_messages (api_key_id);

CREATE TABLE chat_queued_messages (
    id TEXT NOT NULL PRIMARY KEY,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    api_key_id TEXT REFERENCES api_keys (id) ON DELETE SET NULL,
    other_key_id TEXT,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX chat_queued_messages_chat ON chat_queued_messages (chat_id, id);
CREATE INDEX chat_queued_messages_api_key ON chat_queued_messages (api_key_id);
