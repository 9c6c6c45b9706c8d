-- How records are looked through, newest first: by user, by what the request went to, within a session.
-- Each index ends in the order of the pages, so that a page is read and nothing is sorted.
-- Provider, instance, client and model stand in one expression, because they depend on each other: of one value
-- PostgreSQL knows how frequent it is, of four together it guesses. Only the model, the last, can hold a separator.
-- A user's expression is another one, so that SQLite, which knows no frequencies, can't take the index of all.

DROP INDEX aibridge_interceptions_initiator;
CREATE INDEX aibridge_interceptions_initiator
    ON aibridge_interceptions (initiator_id, started_at, id);
DROP INDEX aibridge_interceptions_session;
CREATE INDEX aibridge_interceptions_session
    ON aibridge_interceptions (session_id, initiator_id, started_at, id);
CREATE INDEX aibridge_interceptions_stratum
    ON aibridge_interceptions (
        (provider || '|' || provider_name || '|' || client || '|' || model), started_at, id
    );
CREATE INDEX aibridge_interceptions_initiator_stratum
    ON aibridge_interceptions (
        initiator_id, (provider || ':' || provider_name || ':' || client || ':' || model), started_at, id
    );
