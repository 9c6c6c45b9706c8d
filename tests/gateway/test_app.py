"""The composition root: what start-up refuses and warns of, what the lifespan opens, stores and closes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import Gateway, create_app
from gateway.from_settings import warnings_for
from gateway.settings import GatewayOptions, Settings, SettingsError
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.journal import JournalUnusable
from recorders.records import Record
from recorders.stores.base import StoreError
from recorders.stores.database import read_time
from recorders.stores.memory import MemoryStore
from tests.answers import anthropic
from tests.answers.turn import Turn
from tests.asgi import call, drive, http_scope
from tests.gateway.rig import (
    PREFIX,
    TOKEN,
    AppTransport,
    Rig,
    WatchedStore,
    client_of,
    gateway_settings,
    in_process,
    providers,
)
from tests.recorders import aged
from tests.upstream import Received, Reply, Upstream
from tests.waiting import Changes

AUTHORIZATION = [("authorization", f"Bearer {TOKEN}")]
GREETING = anthropic.reply(Turn(text="Hello"), streamed=True)


def messages_scope() -> Any:
    return http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=AUTHORIZATION)


# -- start-up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"static_token": Secret("")}, "auth is static, but static_token is empty"),
        ({"auth": "http"}, "auth is http, but auth_url is empty"),
        ({"auth": "database", "database_url": Secret("mysql://u:fakepassword@h/d")}, "database"),
        (
            {
                "providers": (
                    ProviderOptions(
                        type="anthropic",
                        name="claude-on-aws",
                        bedrock_region="eu-west-1",
                        bedrock_access_keys=(Secret("AKIAFAKE"),),
                    ),
                )
            },
            'provider "claude-on-aws" has one half of an AWS access key pair',
        ),
        ({"providers": (ProviderOptions(type="openai", name="Not A Name"),)}, "'Not A Name'"),
        ({"providers": providers("http://one.test") * 2}, "'openai' is given twice"),
        ({"connect_timeout_s": 0.0}, "connect_s must be positive"),
        ({"max_body_bytes": 0}, "max_bytes must be positive"),
        ({"body_timeout_s": 0.0}, "timeout_s must be positive"),
        ({"dump_dir": __file__}, "is not a directory"),
        ({"auth": "http", "auth_url": "ftp://authority.test"}, "auth_url must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_work_is_refused_with_one_sentence(changes: dict[str, Any], words: str) -> None:
    """Also to a host that made the settings itself: a `SettingsError` that names what is wrong, and no secret."""
    with pytest.raises(SettingsError) as refused:
        create_app(gateway_settings(**changes))
    sentence = str(refused.value)
    assert words in sentence
    assert "\n" not in sentence
    assert "fakepassword" not in sentence


def test_without_settings_there_is_a_gateway_with_the_defaults() -> None:
    """Nothing is opened and no file is made before the lifespan begins."""
    app = create_app()
    assert app.options == GatewayOptions()
    assert app.database is not None


def test_no_database_is_made_that_nobody_uses() -> None:
    """With a store of the host's and a token from the settings there is nothing to keep in one."""
    assert create_app(gateway_settings(), store=MemoryStore()).database is None
    assert create_app(gateway_settings(auth="database"), store=MemoryStore()).database is not None
    assert create_app(gateway_settings()).database is not None


class _Told(logging.Handler):
    """Tells when something is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.changes = Changes()

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()
        self.changes.notify()


async def _warnings(caplog: pytest.LogCaptureFixture, settings: Settings) -> list[str]:
    app = create_app(settings, store=MemoryStore(), transport=AppTransport(Upstream()))
    with caplog.at_level(logging.WARNING, "ai_gateway"):
        async with app.lifespan():
            pass
    return [record.getMessage() for record in caplog.records]


async def test_a_quiet_configuration_starts_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads a warning can do something about it."""
    assert await _warnings(caplog, gateway_settings()) == []


def test_chats_without_a_model_are_warned_about() -> None:
    """Each chat would have to name one, which an operator may not know."""
    said = list(warnings_for(gateway_settings(chat_enabled=True), own_store=True))
    assert said == ["chat_enabled is set without chat_model: each chat has to name a model"]


async def test_chats_need_a_database() -> None:
    """A host that keeps the records itself has to say where chats are kept."""
    with pytest.raises(SettingsError, match="chat_enabled needs a database"):
        create_app(gateway_settings(chat_enabled=True), store=MemoryStore())


async def test_dumps_and_missing_providers_are_warned_about(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Two more things that an operator may not have meant."""
    assert await _warnings(caplog, gateway_settings(dump_dir=str(tmp_path))) == [
        f"dumps are on: files below {tmp_path} will hold prompts and answers"
    ]
    caplog.clear()
    assert await _warnings(caplog, gateway_settings(providers=())) == [
        "no provider is configured: every request will be answered 404"
    ]


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("http://collector.test", "trace_prompts is on: the collector of traces will hold prompts"),
        ("", "trace_prompts is set without otlp_endpoint: there are no traces"),
    ],
)
def test_prompts_in_traces_are_warned_about(endpoint: str, sentence: str) -> None:
    """They leave the house, or they don't though somebody wanted them to."""
    settings = gateway_settings(otlp_endpoint=endpoint, trace_prompts=True)
    assert list(warnings_for(settings, own_store=True)) == [sentence]


async def test_a_retention_that_the_store_must_see_to_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The gateway deletes nothing from a store that it doesn't know."""
    settings = msgspec.structs.replace(gateway_settings(), origins={"retention": "a flag"})
    assert await _warnings(caplog, settings) == [
        "retention is set, but the store is the host's, which deletes old records itself"
    ]


# -- lifespan -------------------------------------------------------------------------------------------------------


async def test_a_host_that_forgets_the_lifespan_gets_a_clear_error() -> None:
    """Not a hanging request, and not an unrecorded one."""
    app = create_app(gateway_settings(), store=MemoryStore(), transport=AppTransport(Upstream()))
    with pytest.raises(RuntimeError, match=r"its host must enter app\.lifespan"):
        await call(app, messages_scope())


async def test_after_the_lifespan_the_gateway_serves_no_more() -> None:
    """What would be recorded now could not be stored."""
    async with in_process(Upstream()) as rig:
        pass
    with pytest.raises(RuntimeError, match="not running"):
        await call(rig.app, messages_scope())


async def test_the_end_of_the_lifespan_stores_what_is_waiting_and_closes_the_store() -> None:
    """The drain lingers, but not past the end."""
    order: list[str] = []

    class Ordered(WatchedStore):
        async def write(self, records: Sequence[Record]) -> None:
            order.extend(type(record).__name__ for record in records)
            await super().write(records)

        async def close(self) -> None:
            order.append("closed")

    store = Ordered()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(Upstream(GREETING)))
    async with app.lifespan():
        await call(app, messages_scope(), b'{"model":"m","stream":true}')
    assert (order[0], order[-2:]) == ("InterceptionStart", ["InterceptionEnd", "closed"])
    assert store.opened == 1


async def test_the_lifespan_can_be_entered_again() -> None:
    """A host that restarts its parts, and a test suite that reuses an app."""
    store = WatchedStore()
    upstream = Upstream([GREETING, GREETING])
    app = create_app(gateway_settings(), store=store, transport=AppTransport(upstream))
    for _ in range(2):
        async with app.lifespan():
            answer = await call(app, messages_scope(), b'{"model":"m","stream":true}')
            assert answer.status == 200
    assert (store.opened, store.closed, len(store.ends)) == (2, 2, 2)


async def test_records_older_than_the_retention_are_deleted_while_the_gateway_runs(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """From the start on, and only those; 0 keeps them all."""
    now = datetime.now(UTC)
    url = Secret(f"sqlite:///{tmp_path}/gateway.db")
    told = _Told()
    logger = logging.getLogger("ai_gateway.recorders")
    caplog.set_level(logging.INFO, logger.name)
    for_ever, two_days = (gateway_settings(database_url=url, retention_s=s) for s in (0.0, 2 * 86_400.0))

    app = create_app(for_ever, transport=AppTransport(Upstream()))
    async with app.lifespan():
        await app.store.write([*aged.whole(now - timedelta(days=3)), *aged.whole(now - timedelta(days=1))])

    logger.addHandler(told)
    app = create_app(two_days, transport=AppTransport(Upstream()))
    async with app.lifespan():
        await told.changes.until(lambda: "deleted 1 interceptions" in told.text, "the end of the first turn")
        assert app.database is not None
        rows = await app.database.fetch("SELECT started_at FROM aibridge_interceptions")
    logger.removeHandler(told)

    assert [read_time(row["started_at"]) for row in rows] == [now - timedelta(days=1)]


async def test_a_store_that_does_not_open_ends_the_start() -> None:
    """The error is the store's own, and what was opened is closed again."""

    class Broken(WatchedStore):
        async def open(self) -> None:
            raise StoreError("the store is away")

    store = Broken()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(Upstream()))
    with pytest.raises(StoreError, match="the store is away"):
        async with app.lifespan():
            pytest.fail("the lifespan must not begin")
    assert store.closed == 1


async def test_the_lifespan_speaks_asgi_as_well() -> None:
    """Servers that know nothing of us start and stop the gateway by messages."""
    store = WatchedStore()
    app = create_app(gateway_settings(), store=store, transport=AppTransport(Upstream()))
    messages: list[Any] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        told.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (store.opened, store.closed) == (1, 1)


async def test_while_it_shuts_down_new_requests_are_refused_and_running_ones_end() -> None:
    """A client that comes too late is told to come again; one that is being answered is not disturbed."""
    gate = asyncio.Event()
    steps = list(GREETING.chunks)
    async with in_process(Upstream(Reply(200, GREETING.headers, [steps[0], gate, *steps[1:]]))) as rig:
        async with drive(rig.app, messages_scope(), body=b'{"model":"m","stream":true}') as running:
            await running.message(1)
            rig.app.refuse_new_requests()
            late = await call(rig.app, messages_scope(), b'{"model":"m"}')
            assert late.status == 503
            assert late.header("retry-after")
            assert b'"type":"error"' in late.body
            gate.set()
            await running.completed()
            assert tuple(running.chunks) == tuple(steps)
        assert len(rig.upstream.requests) == 1


# -- what it serves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{PREFIX}/openai/v1/chat/completions", "/anything"])
async def test_a_disabled_gateway_answers_404_and_says_who_turned_it_off(path: str) -> None:
    """No token is asked for, and nothing is read, sent or recorded."""
    async with in_process(Upstream(), enabled=False) as rig, client_of(rig.app) as client:
        answer = await client.post(path, content=b"{}")
        assert answer.status_code == 404
        assert "AI Gateway is disabled" in answer.text
        assert answer.headers["x-ai-gateway-request-id"]
        assert rig.upstream.requests == []
        assert (await rig.settled()).records == []


async def test_a_websocket_is_refused_and_not_broken() -> None:
    """No provider route speaks it; the client gets a close and not an exception in the log."""
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        told.append(message)

    async with in_process(Upstream()) as rig:
        await rig.app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert [message["type"] for message in told] == ["websocket.close"]


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_either_transport_can_be_chosen(kind: str) -> None:
    """Each reaches for the provider; where nobody listens, the client gets a 502 that doesn't show the address."""
    settings = gateway_settings("http://127.0.0.1:1", upstream_transport=kind)
    app = create_app(settings, store=WatchedStore())
    async with app.lifespan(), client_of(app) as client:
        answer = await client.get(f"{PREFIX}/openai/v1/models", headers=dict(AUTHORIZATION))
    assert answer.status_code == 502
    assert "could not reach the provider" in answer.json()["error"]["message"]
    assert "127.0.0.1" not in answer.text


async def test_structured_logging_writes_a_line_for_each_record(caplog: pytest.LogCaptureFixture) -> None:
    """The records are in the log as they are emitted, whatever the store does."""
    with caplog.at_level(logging.INFO, "ai_gateway.interceptions"):
        async with in_process(Upstream(GREETING), structured_logging=True) as rig:
            await call(rig.app, messages_scope(), b'{"model":"m","stream":true}')
            kinds = [
                vars(record)["record_type"] for record in caplog.records if "record_type" in vars(record)
            ]
    assert (kinds[0], kinds[-1]) == ("interception_start", "interception_end")


async def test_extra_routes_pass_through(caplog: pytest.LogCaptureFixture) -> None:
    """One setting extends what a type of provider serves; what goes there is not recorded."""
    upstream = Upstream([anthropic.token_count(1)])
    async with in_process(upstream, extra_routes={"openai": ("/files/*",)}) as rig:
        assert (await _get(rig, "/openai/v1/files/f-1")).status_code == 200
        assert (await _get(rig, "/openai/v1/images")).status_code == 404
        assert (await rig.settled()).records == []
    assert upstream.requests[0].path == "/v1/files/f-1"


async def _get(rig: Rig, path: str) -> httpx.Response:
    async with client_of(rig.app) as client:
        return await client.get(PREFIX + path, headers=dict(AUTHORIZATION))


async def test_what_is_still_ending_at_shutdown_is_recorded() -> None:
    """A caller in the same process hangs up and shuts down at once; its interception has an end all the same."""
    store = MemoryStore()
    upstream = Upstream(Reply(200, GREETING.headers, (next(iter(GREETING.chunks)), asyncio.Event())))
    app = create_app(gateway_settings(), store=store, transport=AppTransport(upstream))
    request = client_of(app).build_request(
        "POST", f"{PREFIX}/anthropic/v1/messages", headers=dict(AUTHORIZATION), content=b'{"stream": true}'
    )
    async with app.lifespan():
        response = await client_of(app).send(request, stream=True)
        await response.aclose()
    assert [end.outcome for end in store.ends] == ["client_left"]


# -- the journal ----------------------------------------------------------------------------------------------------


def journalled(folder: Path, store: WatchedStore, upstream: Upstream, **changes: Any) -> Gateway:
    """A gateway whose journal is on the disk, as it is by default."""
    settings = gateway_settings(journal_dir=str(folder / "journal"), **changes)
    return create_app(settings, store=store, transport=AppTransport(upstream))


def files(folder: Path) -> list[Path]:
    return list(folder.glob("journal/*/*.journal"))


async def test_records_wait_on_the_disk_for_a_store_that_is_away_and_the_next_start_stores_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends before its database came back loses nothing, and leaves nothing once it is stored."""

    class Away(WatchedStore):
        async def write(self, records: Sequence[Record]) -> None:
            raise StoreError("the store is away")

    monkeypatch.setattr("gateway.app.DRAIN_DEADLINE_S", 0.0)
    app = journalled(tmp_path, Away(), Upstream(GREETING))
    async with app.lifespan():
        await call(app, messages_scope(), b'{"model":"m","stream":true}')
    assert len(files(tmp_path)) == 1

    monkeypatch.undo()
    store = WatchedStore()
    async with journalled(tmp_path, store, Upstream()).lifespan():
        pass
    assert [(end.outcome, end.status) for end in store.ends] == [("completed", 200)]
    assert len(store.starts) == 1
    assert files(tmp_path) == []


async def test_with_fsync_always_an_answer_ends_when_its_records_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync before anything goes upstream, one before the last byte: that of the start and that of the end."""
    syncs: list[int] = []
    fdatasync = os.fdatasync

    def noting(descriptor: int) -> None:
        syncs.append(descriptor)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noting)
    seen: list[int] = []

    def answer(request: Received) -> Reply:
        seen.append(len(syncs))
        return GREETING

    app = journalled(tmp_path, WatchedStore(), Upstream(answer), journal_fsync="always")
    async with app.lifespan():
        await call(app, messages_scope(), b'{"model":"m","stream":true}')
        assert (seen, len(syncs)) == ([1], 2)


@pytest.mark.parametrize("journal_full", ["refuse", "unrecorded"])
async def test_a_journal_that_can_take_no_more_does_what_the_settings_say(
    tmp_path: Path, journal_full: str
) -> None:
    """503 with `Retry-After` and nothing upstream, or the answer and nothing recorded."""
    upstream, store = Upstream(lambda _: GREETING), WatchedStore()
    app = journalled(tmp_path, store, upstream, journal_max_bytes=1, journal_full=journal_full)
    async with app.lifespan():
        answer = await call(app, messages_scope(), b'{"model":"m","stream":true}')
    refused = journal_full == "refuse"
    assert answer.status == (503 if refused else 200)
    assert bool(answer.header("retry-after")) == refused
    assert len(upstream.requests) == (0 if refused else 1)
    assert store.records == []


async def test_a_journal_that_cannot_be_kept_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    """It names the folder and says what to do; the store is closed again."""
    (tmp_path / "journal").touch()
    store = WatchedStore()
    with pytest.raises(
        JournalUnusable, match=f"the journal can't be kept in {tmp_path}/journal: File exists"
    ):
        async with journalled(tmp_path, store, Upstream()).lifespan():
            pytest.fail("the lifespan must not begin")
    assert store.closed == 1
