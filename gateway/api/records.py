"""The routes that show what was recorded. Members see what is their own, as if there were nothing else."""

from __future__ import annotations

from gateway.api.desk import Desk, Hidden
from gateway.api.errors import NotFound
from gateway.api.parameters import (
    FilterParameters,
    InterceptionsParameters,
    NoParameters,
    SessionParameters,
    SessionsParameters,
    is_text,
)
from gateway.history import interceptions, session, sessions
from gateway.history.answers import (
    Clients,
    InterceptionCursor,
    InterceptionPage,
    Models,
    Providers,
    SessionCursor,
    SessionPage,
    SessionThreads,
    ThreadCursor,
)
from gateway.history.filters import Filters
from middleware.errors import BadRequest


async def list_sessions(desk: Desk, given: SessionsParameters) -> SessionPage:
    after = None
    if given.after_session_id is not None:
        after = SessionCursor(
            after_session_id=given.after_session_id, after_initiator=given.after_initiator or ""
        )
    try:
        filters = await _filters(desk, given)
        return await sessions.list_sessions(
            desk.database, filters, limit=given.limit, offset=given.offset, after=after
        )
    except Hidden:
        return SessionPage(sessions=[], next=None)
    except sessions.UnknownCursor as error:
        raise BadRequest(f"after_session_id: {error}") from error
    except sessions.SharedSessionID as error:
        raise BadRequest("after_initiator: missing, for several users have a session of this ID") from error


async def get_session(desk: Desk, given: SessionParameters, session_id: str) -> SessionThreads:
    after = None if given.after_thread_id is None else ThreadCursor(after_thread_id=given.after_thread_id)
    try:
        if not is_text(session_id):
            raise Hidden
        whose = await desk.initiator(given.initiator)
        return await session.get_session(
            desk.database, session_id, initiator_id=whose, limit=given.limit, after=after
        )
    except (session.UnknownSession, Hidden) as error:
        raise NotFound("there is no such session") from error
    except sessions.UnknownCursor as error:
        raise BadRequest(f"after_thread_id: {error}") from error


async def list_interceptions(desk: Desk, given: InterceptionsParameters) -> InterceptionPage:
    after = None if given.after_id is None else InterceptionCursor(after_id=given.after_id)
    try:
        filters = await _filters(desk, given)
        return await interceptions.list_interceptions(desk.database, filters, limit=given.limit, after=after)
    except Hidden:
        return InterceptionPage(interceptions=[], next=None)
    except sessions.UnknownCursor as error:
        raise BadRequest(f"after_id: {error}") from error


async def list_models(desk: Desk, given: NoParameters) -> Models:
    return await interceptions.list_models(desk.database, desk.scope)


async def list_clients(desk: Desk, given: NoParameters) -> Clients:
    return await interceptions.list_clients(desk.database, desk.scope)


async def list_providers(desk: Desk, given: NoParameters) -> Providers:
    return await interceptions.list_providers(desk.database, desk.scope)


async def _filters(desk: Desk, given: FilterParameters) -> Filters:
    return Filters(
        initiator_id=await desk.initiator(given.initiator),
        provider=given.provider,
        provider_name=given.provider_name,
        model=given.model,
        client=given.client,
        session_id=given.session_id,
        started_after=given.started_after,
        started_before=given.started_before,
    )
