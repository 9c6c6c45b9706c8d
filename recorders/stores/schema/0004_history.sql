-- How records are looked through, newest first: by user, by what the request went to, within a session.
-- Each index ends in the order of the pages, so that a page is read and nothing is sorted.

DROP INDEX aibridge_interceptions_initiator;
CREATE INDEX aibridge_interceptions_initiator
    ON aibridge_interceptions (initiator_id, started_at, id);
DROP INDEX aibridge_interceptions_session;
CREATE INDEX aibridge_interceptions_session
    ON aibridge_interceptions (session_id, initiator_id, started_at, id);
CREATE INDEX aibridge_interceptions_strata
    ON aibridge_interceptions (provider, provider_name, model, client, started_at, id);
CREATE INDEX aibridge_interceptions_initiator_strata
    ON aibridge_interceptions (initiator_id, provider, provider_name, model, client, started_at, id);
