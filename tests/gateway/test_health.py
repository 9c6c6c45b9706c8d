"""`/healthz` and `/readyz`: what they say, when, where, and to whom."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from gateway.app import create_app
from gateway.instances import RESERVED_NAMES
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.sqlite import SQLiteStore
from tests.asgi import call, http_scope
from tests.gateway.rig import AppTransport, WatchedStore, client_of, gateway_settings, in_process, providers
from tests.recorders import samples
from tests.upstream import Upstream

READY: Final = {"ready": True}


def not_ready(*reasons: str) -> dict[str, Any]:
    return {"ready": False, "reasons": list(reasons)}


async def readiness(client: httpx.AsyncClient, path: str = "/readyz") -> dict[str, Any]:
    """What it says; the status has to agree."""
    answer = await client.get(path)
    said: dict[str, Any] = answer.json()
    assert answer.status_code == (200 if said["ready"] else 503)
    return said


@pytest.mark.parametrize("prefix", ["", "/api/v2/ai-gateway", "/api/v2/aibridge"])
async def test_both_are_answered_without_a_token_at_the_root_and_below_each_prefix(prefix: str) -> None:
    """Whatever stands in front of the gateway passes on."""
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:
        alive, ready = await client.get(f"{prefix}/healthz"), await client.get(f"{prefix}/readyz")
    assert (alive.status_code, alive.json()) == (200, {"alive": True})
    assert (ready.status_code, ready.json()) == (200, READY)
    assert ready.headers["cache-control"] == "no-store"


async def test_a_mounted_gateway_answers_below_its_mount() -> None:
    """Its host keeps its own paths."""
    gateway = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    host = Starlette(routes=[Mount("/ai", gateway)])
    async with gateway.lifespan(), client_of(host) as client:
        assert await readiness(client, "/ai/readyz") == READY
        assert (await client.get("/ai/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_has_the_status_and_no_body_and_nothing_else_is_taken(path: str) -> None:
    """A probe may ask either way."""
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:
        head, get = await client.head(path), await client.get(path)
        post = await client.post(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/openai/healthz", "/healthz/", "/readyz/x", "//readyz", "/xhealthz"])
async def test_other_paths_that_end_like_them_need_a_token(path: str) -> None:
    """Nothing of the routes behind authentication is reached this way."""
    async with in_process(Upstream()) as rig:
        client = await call(rig.app, http_scope("GET", path))
        assert client.status == 400


async def test_before_the_start_and_after_the_end_it_is_alive_and_not_ready() -> None:
    """A supervisor must not end a process because it is starting."""
    app = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    async with client_of(app) as client:
        assert await readiness(client) == not_ready("not running")
        assert (await client.get("/healthz")).status_code == 200
        async with app.lifespan():
            assert await readiness(client) == READY
        assert await readiness(client) == not_ready("not running")


async def test_one_that_leaves_is_not_ready_and_serves_until_it_refuses() -> None:
    """A load balancer has time to notice; to be alive it never ceases."""
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:
        rig.app.leave()
        assert await readiness(client) == not_ready("shutting down")
        assert (await client.head("/anthropic")).status_code == 200
        rig.app.refuse_new_requests()
        assert await readiness(client) == not_ready("shutting down")
        assert (await client.head("/anthropic")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_a_start_after_a_shutdown_is_ready_again() -> None:
    """As hosts do that run a lifespan twice."""
    app = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    async with client_of(app) as client:
        async with app.lifespan():
            app.refuse_new_requests()
        async with app.lifespan():
            assert await readiness(client) == READY


@pytest.mark.parametrize("given", [(), providers("http://x.test", enabled=False)], ids=["none", "disabled"])
async def test_without_a_provider_it_is_not_ready(given: Any) -> None:
    """Unless it serves no AI clients at all: then it needs none."""
    async with in_process(Upstream(), providers=given) as rig, client_of(rig.app) as client:
        assert await readiness(client) == not_ready("no provider is configured and enabled")
    async with in_process(Upstream(), providers=given, enabled=False) as rig, client_of(rig.app) as client:
        assert await readiness(client) == READY


async def test_a_provider_that_a_reload_brings_makes_it_ready() -> None:
    """What is asked is the present, not the start."""
    async with in_process(Upstream(), providers=()) as rig, client_of(rig.app) as client:
        await rig.app.reload(gateway_settings())
        assert await readiness(client) == READY


async def test_a_full_journal_is_told_where_requests_would_be_refused(tmp_path: Path) -> None:
    """With `journal_full: unrecorded` they go on, so there is no reason to send them elsewhere."""
    options = {"journal_dir": str(tmp_path), "journal_max_bytes": 100}
    async with in_process(Upstream(), **options) as rig, client_of(rig.app) as client:
        said = await readiness(client)
    assert said == not_ready("records are not taken: 0 bytes of records are waiting, the limit is 100")
    async with (
        in_process(Upstream(), **options, journal_full="unrecorded") as rig,
        client_of(rig.app) as client,
    ):
        assert await readiness(client) == READY


async def test_several_reasons_are_told_at_once() -> None:
    """Whoever mends one need not find the next afterwards."""
    async with (
        in_process(Upstream(), providers=(), journal_max_bytes=100) as rig,
        client_of(rig.app) as client,
    ):
        rig.app.leave()
        said = await readiness(client)
    assert [reason.partition(":")[0] for reason in said["reasons"]] == [
        "shutting down",
        "no provider is configured and enabled",
        "records are not taken",
    ]


async def test_a_database_that_is_away_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are served without it, and records wait; one outage must not take every replica out."""
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:

        async def away(records: Any) -> None:
            raise OSError("the database is away")

        monkeypatch.setattr(rig.store, "write", away)
        rig.app.journal.append(samples.start())
        assert await readiness(client) == READY
        monkeypatch.undo()


async def test_probes_leave_no_line_in_the_log_but_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """They come every few seconds."""
    async with in_process(Upstream()) as rig, client_of(rig.app) as client:
        with caplog.at_level(logging.DEBUG, logger="ai_gateway"):
            await client.get("/healthz")
            await client.get("/readyz")
    said = [record for record in caplog.records if record.name.startswith("ai_gateway")]
    assert [(record.levelname, record.getMessage()) for record in said[-2:]] == [("DEBUG", "probe")] * 2
    assert not [record for record in said if record.name == "ai_gateway.access"]


def test_no_provider_instance_can_take_their_names() -> None:
    """Its probes would be answered instead of its clients."""
    assert {"healthz", "readyz"} <= RESERVED_NAMES


async def test_an_answer_names_no_folder(tmp_path: Path) -> None:
    """Anybody can ask."""
    async with in_process(Upstream(), journal_dir=str(tmp_path)) as rig, client_of(rig.app) as client:
        await rig.app.journal.close()
        said = await readiness(client)
        await rig.app.journal.open()
    assert said == not_ready("records are not taken: the journal is not open")


async def test_a_database_file_that_was_moved_away_is_a_reason(tmp_path: Path) -> None:
    """It goes when the file is back; a path is not told."""
    path = tmp_path / "gateway.db"
    settings = gateway_settings(database_url=Secret(f"sqlite:///{path}"))
    app = create_app(settings, transport=AppTransport(Upstream()))
    assert app.database is not None
    async with app.lifespan(), client_of(app) as client:
        path.rename(tmp_path / "parked.db")
        with pytest.raises(StoreError):
            await app.database.check()
        assert await readiness(client) == not_ready("the database's file was removed or replaced")
        assert (await client.get("/healthz")).status_code == 200
        (tmp_path / "parked.db").rename(path)
        await app.database.check()
        assert await readiness(client) == READY


async def test_a_host_s_own_store_on_sqlite_is_watched_too(tmp_path: Path) -> None:
    """What it can't rely on, the gateway can't."""
    path = tmp_path / "records.db"
    store = SQLiteStore(path)
    app = create_app(gateway_settings(), store=store, transport=AppTransport(Upstream()))
    async with app.lifespan(), client_of(app) as client:
        path.rename(tmp_path / "parked.db")
        with pytest.raises(StoreError):
            await store.check()
        assert await readiness(client) == not_ready("the database's file was removed or replaced")
