"""Reloading: what a running gateway takes over, what it refuses, and how it is asked to, also as a real process."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.reload import CHANGE, HANGUP, LOOK_EVERY_S, Reloader, needing_restart
from gateway.settings import Settings, SettingsError
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers import chat
from tests.answers.turn import Turn
from tests.gateway.aws import aws_environment
from tests.gateway.rig import (
    PREFIX,
    TOKEN,
    client_of,
    gateway_settings,
    in_process,
)
from tests.gateway.test_server import gateway
from tests.upstream import Received, Reply, Upstream
from tests.waiting import Changes

__all__ = ["aws_environment"]

AUTHORIZATION = {"authorization": f"Bearer {TOKEN}"}
STREAM = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
HELLO = chat.reply(Turn(text="Hello"), streamed=False)
FIRST = "sk-fake-first-central-key"
SECOND = "sk-fake-second-central-key"


def openai(name: str = "openai", *keys: str, **changes: Any) -> ProviderOptions:
    return ProviderOptions(
        type="openai",
        name=name,
        base_url="http://provider.test/v1",
        keys=tuple(Secret(key) for key in keys or (FIRST,)),
        **changes,
    )


def settings_with(*providers: ProviderOptions, **changes: Any) -> Settings:
    return gateway_settings(providers=providers, **changes)


async def ask(app: Gateway, name: str = "openai") -> int:
    """The status of a call to that instance."""
    async with client_of(app) as client:
        url = f"{PREFIX}/{name}/v1/chat/completions"
        return (await client.post(url, content=BODY, headers=AUTHORIZATION)).status_code


# -- what a running gateway takes over --------------------------------------------------------------------------------


async def test_instances_come_and_go_while_it_serves() -> None:
    """An added one answers, a disabled one says 503, a removed one 404."""
    async with in_process(Upstream(lambda _: HELLO), providers=(openai(),)) as rig:
        assert await ask(rig.app, "another") == 404
        assert await rig.app.reload(settings_with(openai(), openai("another"))) == []
        assert [await ask(rig.app), await ask(rig.app, "another")] == [200, 200]
        await rig.app.reload(settings_with(openai(enabled=False), openai("another")))
        assert [await ask(rig.app), await ask(rig.app, "another")] == [503, 200]
        await rig.app.reload(settings_with(openai()))
        assert [await ask(rig.app), await ask(rig.app, "another")] == [200, 404]


async def test_the_next_request_has_the_new_key() -> None:
    """The old one is not sent any more."""
    upstream = Upstream(lambda _: HELLO)
    async with in_process(upstream, providers=(openai("openai", FIRST),)) as rig:
        await ask(rig.app)
        await rig.app.reload(settings_with(openai("openai", SECOND)))
        await ask(rig.app)
    assert [request.header("authorization") for request in upstream.requests] == [
        f"Bearer {FIRST}",
        f"Bearer {SECOND}",
    ]


async def test_extra_routes_are_taken_over_with_the_providers() -> None:
    """They belong to the instances."""
    async with in_process(Upstream(lambda _: HELLO), providers=(openai(),)) as rig, client_of(rig.app) as one:
        url = f"{PREFIX}/openai/v1/files"
        assert (await one.get(url, headers=AUTHORIZATION)).status_code == 404
        await rig.app.reload(settings_with(openai(), extra_routes={"openai": ("/files",)}))
        assert (await one.get(url, headers=AUTHORIZATION)).status_code == 200


async def test_a_stream_of_an_instance_that_is_removed_goes_on_to_its_end() -> None:
    """It keeps the provider that it was routed to, and its record is complete."""
    gate = asyncio.Event()
    events = chat.events(Turn(text="Hello there"))
    reply = Reply(200, [(b"content-type", b"text/event-stream")], [events[0], gate, *events[1:]])
    async with (
        in_process(Upstream(reply), providers=(openai(),)) as rig,
        client_of(rig.app) as client,
        client.stream(
            "POST", f"{PREFIX}/openai/v1/chat/completions", content=STREAM, headers=AUTHORIZATION
        ) as answer,
    ):
        arriving = answer.aiter_raw()
        assert await anext(arriving) == events[0]
        await rig.app.reload(settings_with())
        assert await ask(rig.app) == 404
        gate.set()
        assert b"".join([chunk async for chunk in arriving]) == b"".join(events[1:])
        store = await rig.ended()
        assert [end.outcome for end in store.ends] == ["completed"]


def limited_first(request: Received) -> Reply:
    """The first key is rate limited for long."""
    limited = request.header("authorization") == f"Bearer {FIRST}"
    return Reply(429, [(b"retry-after", b"3600")], [b"{}"]) if limited else HELLO


async def test_a_key_that_rests_goes_on_resting() -> None:
    """Whatever else has changed: other instances, or other keys beside it."""
    upstream = Upstream(limited_first)
    async with in_process(upstream, providers=(openai("openai", FIRST, SECOND),)) as rig:
        assert await ask(rig.app) == 200
        asked = len(upstream.requests)
        await rig.app.reload(settings_with(openai("openai", FIRST, SECOND), openai("another")))
        assert await ask(rig.app) == 200
        assert len(upstream.requests) == asked + 1
        await rig.app.reload(settings_with(openai("openai", FIRST, SECOND, "sk-fake-third-central-key")))
        assert await ask(rig.app) == 200
        assert len(upstream.requests) == asked + 2


# -- what it refuses --------------------------------------------------------------------------------------------------


def on_bedrock(**changes: Any) -> ProviderOptions:
    return ProviderOptions(type="anthropic", name="aws", bedrock_region="eu-central-1", **changes)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((openai(), openai()), "'openai' is given twice"),
        ((on_bedrock(bedrock_access_keys=(Secret("AKIAFAKE"),)),), "one half of an AWS access key pair"),
        ((openai("another"), on_bedrock()), 'provider "aws" can\'t sign'),
    ],
    ids=["doubled", "half a pair", "no AWS keys"],
)
async def test_what_cannot_work_leaves_everything_as_it_was(
    bad: tuple[ProviderOptions, ...], words: str, aws_environment: pytest.MonkeyPatch
) -> None:
    """Not even the good half of it is taken over."""
    async with in_process(Upstream(lambda _: HELLO), providers=(openai(),)) as rig:
        before = rig.app.settings
        with pytest.raises(SettingsError, match=words):
            await rig.app.reload(settings_with(*bad))
        assert rig.app.settings == before
        assert [await ask(rig.app), await ask(rig.app, "another")] == [200, 404]


async def test_signers_that_were_replaced_are_not_kept() -> None:
    """A thousand reloads leave no more behind than one."""
    pair = {
        "bedrock_access_keys": (Secret("AKIAFAKE"),),
        "bedrock_access_key_secrets": (Secret("fakesecret"),),
    }
    async with in_process(Upstream(), providers=(openai(),)) as rig:
        for _ in range(3):
            await rig.app.reload(settings_with(on_bedrock(**pair)))
        gc.collect()
        assert len(rig.app._signers) == 1


def test_options_that_only_a_restart_applies_are_named() -> None:
    """What providers are made of is not among them."""
    running = settings_with(openai())
    same = settings_with(openai("other"), extra_routes={"openai": ("/files",)})
    assert needing_restart(running, same) == []
    changed = msgspec.structs.replace(
        settings_with(openai(), max_retries=7, journal_dir="elsewhere", database_url=Secret("sqlite:///x")),
        port=1,
        workers=2,
    )
    names = ["port", "workers", "max_retries", "database_url", "journal_dir"]
    assert needing_restart(running, changed) == names


async def test_options_that_only_a_restart_applies_stay_as_they_were() -> None:
    """And are named again as long as they differ."""
    async with in_process(Upstream(lambda _: HELLO), providers=(openai(),)) as rig:
        for _ in range(2):
            assert await rig.app.reload(settings_with(openai("new"), allow_byok=False)) == ["allow_byok"]
        assert rig.app.options.allow_byok
        assert [provider.name for provider in rig.app.options.providers] == ["new"]


# -- how it is asked to -----------------------------------------------------------------------------------------------


class App:
    """Takes what it is given, unless it is to refuse; `busy` holds it up."""

    def __init__(self) -> None:
        self.taken: list[Settings] = []
        self.left: Sequence[str] = ()
        self.refusal: Exception | None = None
        self.busy: asyncio.Event | None = None
        self.changes = Changes()

    async def reload(self, settings: Settings) -> Sequence[str]:
        if self.busy is not None:
            await self.busy.wait()
        self.taken.append(settings)
        self.changes.notify()
        if self.refusal is not None:
            raise self.refusal
        return self.left

    async def reloaded(self, times: int) -> None:
        await self.changes.until(lambda: len(self.taken) >= times, f"{times} reloads")


class Looks:
    """A pause that lasts until the test says so."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._next: asyncio.Queue[None] = asyncio.Queue()
        self._waiting = Changes()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._waiting.notify()
        await self._next.get()

    async def look(self) -> None:
        """Let one look happen, and wait until it is over."""
        count = len(self.pauses)
        if not count:
            await self._waiting.until(lambda: bool(self.pauses), "the first pause")
            count = 1
        self._next.put_nowait(None)
        await self._waiting.until(lambda: len(self.pauses) > count, "the next pause")


def reloader(app: App, load: Callable[[], Settings] = Settings, **options: Any) -> Reloader:
    return Reloader(app, load, unix_s=lambda: 1234.0, **options)


async def test_a_success_is_logged_and_remembered(caplog: pytest.LogCaptureFixture) -> None:
    """With the names of the instances, and a warning for what a restart needs."""
    caplog.set_level(logging.INFO)
    app = App()
    app.left = ("port", "journal_dir")
    one = reloader(app, lambda: settings_with(openai("eu"), openai("us")))
    async with one.running():
        one.ask(HANGUP)
        await app.reloaded(1)
    assert [record.getMessage() for record in caplog.records] == [
        "SIGHUP: providers reloaded, now: eu, us",
        "SIGHUP: changed, but only a restart applies it: port, journal_dir",
    ]
    assert (one.reloads.succeeded, one.reloads.last_success_s) == (1, 1234.0)
    assert (one.reloads.refused, one.reloads.last_refusal_s) == (0, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SettingsError("port must be a number"), "port must be a number"),
        (RuntimeError("sk-fake-secret in an accident"), "unexpected RuntimeError"),
    ],
)
async def test_a_refusal_is_one_sentence_and_not_the_end(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No secret, no traceback; the next reload may succeed."""
    caplog.set_level(logging.INFO)
    app = App()
    app.refusal = error
    one = reloader(app)
    async with one.running():
        one.ask(HANGUP)
        await app.reloaded(1)
        app.refusal = None
        one.ask(HANGUP)
        await app.reloaded(2)
    refusal, success = (record.getMessage() for record in caplog.records)
    assert refusal == f"SIGHUP: new configuration refused, the running one stays: {words}"
    assert success.startswith("SIGHUP: providers reloaded")
    assert (one.reloads.refused, one.reloads.last_refusal_s, one.reloads.succeeded) == (1, 1234.0, 1)


async def test_those_asked_for_during_a_reload_become_one_more() -> None:
    """The last one reads what is there then; nothing piles up."""
    app = App()
    app.busy = asyncio.Event()
    loads = Changes()
    count = 0

    def load() -> Settings:
        nonlocal count
        count += 1
        loop.call_soon_threadsafe(loads.notify)
        return Settings()

    loop = asyncio.get_running_loop()
    one = reloader(app, load)
    async with one.running():
        one.ask(HANGUP)
        await loads.until(lambda: count == 1, "the first load")
        for _ in range(5):
            one.ask(HANGUP)
        app.busy.set()
        await app.reloaded(2)
    assert len(app.taken) == 2


async def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    """Written, replaced, removed and there again: each is a change."""
    path = tmp_path / "settings.yaml"
    path.write_text("port: 1\n", "utf-8")
    app, looks = App(), Looks()
    async with reloader(app, watched=path, pause=looks.pause).running():
        await looks.look()
        assert app.taken == []
        path.write_text("port: 12\n", "utf-8")
        await looks.look()
        await app.reloaded(1)
        await looks.look()
        replacement = tmp_path / "new.yaml"
        replacement.write_text("port: 13\n", "utf-8")
        os.replace(replacement, path)
        await looks.look()
        await app.reloaded(2)
        path.unlink()
        await looks.look()
        await app.reloaded(3)
        await looks.look()
    assert len(app.taken) == 3
    assert set(looks.pauses) == {LOOK_EVERY_S}


async def test_a_change_before_the_first_look_is_seen(tmp_path: Path) -> None:
    """A start takes its time; what was loaded before it is compared."""
    path = tmp_path / "settings.yaml"
    path.write_text("port: 1\n", "utf-8")
    app, looks = App(), Looks()
    one = reloader(app, watched=path, pause=looks.pause)
    path.write_text("port: 12\n", "utf-8")
    async with one.running():
        await looks.look()
        await app.reloaded(1)


# -- as a process -----------------------------------------------------------------------------------------------------


def rewrite(folder: Path, **changes: Any) -> None:
    """Change what is below `ai_gateway` in the file."""
    path = folder / "settings.yaml"
    document = json.loads(path.read_text("utf-8"))
    document["ai_gateway"] |= changes
    path.write_text(json.dumps(document), "utf-8")


def named(*names: str) -> list[dict[str, str]]:
    return [{"type": "anthropic", "name": name, "base_url": "http://127.0.0.1:9"} for name in names]


async def test_a_hangup_reloads_the_file_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    """The process goes on in both cases, and serves what it last accepted."""
    async with gateway(tmp_path) as running, httpx.AsyncClient() as client:
        rewrite(tmp_path, providers=named("new"))
        running.process.signal(signal.SIGHUP)
        await running.process.logged("SIGHUP: providers reloaded, now: new")
        rewrite(tmp_path, providers=[{"type": "nonsense", "key": "sk-fake-central"}])
        running.process.signal(signal.SIGHUP)
        await running.process.logged("SIGHUP: new configuration refused, the running one stays: .*type")
        assert (await client.head(running.url.replace("anthropic", "new"))).status_code == 200
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
    assert not any("sk-fake" in line or "Traceback" in line for line in running.process.log)


async def test_a_change_of_the_file_is_enough_where_that_is_asked_for(tmp_path: Path) -> None:
    """Without a signal."""
    async with gateway(tmp_path, reload_on_change=True) as running, httpx.AsyncClient() as client:
        rewrite(tmp_path, providers=named("new"))
        await running.process.logged(f"{CHANGE}: providers reloaded, now: new")
        assert (await client.head(running.url.replace("anthropic", "new"))).status_code == 200


async def test_each_worker_reloads_when_their_supervisor_is_told_to(tmp_path: Path) -> None:
    """A hangup that comes before a worker listens ends none: it waits until then."""
    async with gateway(tmp_path, workers=2) as running:
        rewrite(tmp_path, providers=named("new"))
        running.process.signal(signal.SIGHUP)
        await running.process.logged_times("SIGHUP: providers reloaded, now: new", 2)
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
    assert not any("ended with status" in line for line in running.process.log)
