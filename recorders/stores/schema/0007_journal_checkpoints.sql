-- How far each file of a journal is stored, written in the transaction that stores its records: a journal that is
-- further than its row says knows that the database has lost something, and stores it again. A row goes when its file
-- has gone. `file` is the name of the file without its ending, `stored_bytes` counts from the file's beginning.

CREATE TABLE journal_checkpoints (
    file TEXT NOT NULL PRIMARY KEY,
    stored_bytes BIGINT NOT NULL
);
