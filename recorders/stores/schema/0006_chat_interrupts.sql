-- Who wants the turn of a chat to end says so in the chat's row: whoever runs it may be another process, which looks
-- for such wishes from time to time. Naming the runner, a wish ends with the run that it was meant for.

ALTER TABLE chats ADD COLUMN interrupted_runner_id TEXT;

CREATE INDEX chats_interrupted ON chats (id) WHERE interrupted_runner_id IS NOT NULL;
CREATE INDEX chats_running ON chats (runner_until) WHERE status = 'running';
