"""Several workers, each a process of its own, and the one answer of their supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from gateway.metrics.workers import VARIABLE, SharedFolder, shared_metrics
from tests.answers import chat
from tests.answers.turn import Turn
from tests.gateway.command import PATIENCE_S, Process, command
from tests.gateway.metrics.scrape import Scrape
from tests.gateway.rig import PREFIX, TOKEN
from tests.servers import serving
from tests.upstream import Reply, Upstream

BODY: Final = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
HELLO: Final = chat.reply(Turn(text="Hello"), streamed=False)
OPEN: Final = Reply(200, [(b"content-type", b"text/event-stream")], [b": one\n\n", asyncio.Event()])


@dataclass(frozen=True, slots=True)
class Running:
    process: Process
    url: str
    metrics_url: str

    async def ask(self) -> int:
        """A call on a connection of its own, so that any worker may get it."""
        async with httpx.AsyncClient(timeout=None) as client:
            answer = await client.post(self.url, content=BODY, headers={"authorization": f"Bearer {TOKEN}"})
        return answer.status_code

    async def scraped_when(self, holds: Callable[[Scrape], bool]) -> Scrape:
        """What the supervisor says, once it says so: workers write once a second."""
        async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient() as client:
            while not holds(seen := Scrape.of((await client.get(self.metrics_url)).text)):
                pass
        return seen

    @property
    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@asynccontextmanager
async def gateway(folder: Path, *replies: Reply, **process: Any) -> AsyncIterator[Running]:
    async with serving(Upstream(replies)) as provider_url:
        section = {
            "auth": "static",
            "database_url": f"sqlite:///{folder / 'gateway.db'}",
            "providers": [{"type": "openai", "base_url": provider_url, "key": "sk-fake-central"}],
        }
        path = folder / "settings.yaml"
        path.write_text(
            json.dumps({"metrics_address": "127.0.0.1:0", **process, "ai_gateway": section}), "utf-8"
        )
        (folder / "tmp").mkdir()
        environment = {"CODER_AI_GATEWAY_STATIC_TOKEN": TOKEN, "TMPDIR": str(folder / "tmp")}
        arguments = ("serve", "--config", str(path), "--port", "0")
        async with command(*arguments, folder=folder, environment=environment) as running:
            metrics_url = (await running.logged(r"metrics on (http://127\.0\.0\.1:\d+/metrics)"))[1]
            port = (await running.logged(r"listening on http://127\.0\.0\.1:(\d+)"))[1]
            url = f"http://127.0.0.1:{port}{PREFIX}/openai/v1/chat/completions"
            yield Running(running, url, metrics_url)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_two_workers_give_one_answer_also_when_one_has_died(tmp_path: Path) -> None:
    """Counters add up and never fall; the folder that they share is gone at the end."""
    async with gateway(tmp_path, *[HELLO] * 12, workers=2) as running:
        assert await asyncio.gather(*(running.ask() for _ in range(8))) == [200] * 8
        before = await running.scraped_when(lambda seen: seen.value("records_stored_total") == 32)
        victim = running.workers[0]
        os.kill(victim, signal.SIGKILL)
        await running.process.logged(rf"worker {victim} ended with status -9; starting another")
        died = await running.scraped_when(lambda seen: True)
        assert await asyncio.gather(*(running.ask() for _ in range(4))) == [200] * 4
        after = await running.scraped_when(lambda seen: seen.value("interceptions_total") == 12)
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
    for seen, requests in ((before, 8), (died, 8), (after, 12)):
        (series,) = seen.series("interceptions_total")
        assert (series.value, series.labels["model"], series.labels["code"]) == (requests, "m", "200")
        assert seen.value("interceptions_duration_seconds_count", model="m") == requests
        assert seen.value("provider_info") == 1
        assert seen.value("config_last_reload_successful") == 1
        assert "pid=" not in seen.text
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_what_a_dead_worker_had_under_way_is_under_way_no_more(tmp_path: Path) -> None:
    """Its gauges go with it."""
    async with gateway(tmp_path, OPEN, workers=2) as running:
        asking = asyncio.ensure_future(running.ask())
        await running.scraped_when(lambda seen: seen.value("interceptions_inflight") == 1)
        for pid in running.workers:
            os.kill(pid, signal.SIGKILL)
        await running.scraped_when(lambda seen: seen.value("interceptions_inflight") == 0)
        with pytest.raises(httpx.TransportError):
            await asking


async def test_a_single_process_answers_for_itself(tmp_path: Path) -> None:
    """At once with what is: nothing has to be written first."""
    async with gateway(tmp_path, HELLO) as running:
        assert await running.ask() == 200
        async with httpx.AsyncClient() as client:
            seen = Scrape.of((await client.get(running.metrics_url)).text)
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
    assert seen.value("interceptions_total", model="m") == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_metrics_port_that_is_taken_is_one_clear_sentence(tmp_path: Path, workers: int) -> None:
    """The start ends with it, before anything is served."""
    async with serving(Upstream()) as taken:
        address = taken.removeprefix("http://")
        arguments = ("serve", "--port", "0", "--metrics-address", address, "--workers", str(workers))
        async with command(*arguments, folder=tmp_path) as process:
            assert await process.ended() == 1
    sentence = f"ai-gateway: can't listen on {address}: Address already in use. "
    assert process.log == [sentence + "Choose another address with metrics_address."]


def test_the_folder_lasts_as_long_as_the_block() -> None:
    """And workers are told of it by the variable that prometheus-client reads."""
    with shared_metrics("") as shared:
        assert shared.variables == {VARIABLE: shared.path}
        assert Path(shared.path).is_dir()
    assert not Path(shared.path).exists()


def written(folder: Path, pid: int, count: float) -> None:
    """What a worker of that number would have left."""
    for kind, name, metric in (
        ("counter", "things_total", "things"),
        ("histogram", "waits_sum", "waits"),
        ("gauge_livesum", "level", "level"),
    ):
        values = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
        values.write_value(mmap_key(metric, name, ["a"], ["b"], "Words."), count, 0.0)  # type: ignore[no-untyped-call]
        values.close()  # type: ignore[no-untyped-call]


def told(shared: SharedFolder) -> dict[str, float]:
    return {sample.name: sample.value for metric in shared.collect() for sample in metric.samples}


def test_what_workers_counted_stays_when_they_have_ended(tmp_path: Path) -> None:
    """In one file for all of them, however many there were; what they held while they lived goes."""
    shared = SharedFolder(str(tmp_path))
    for pid in range(1, 5):
        written(tmp_path, pid, 1.5)
    everything = told(shared)
    for pid in (1, 2, 2, 3):
        shared.forget(pid)
    assert everything == {"things_total": 6, "waits_sum": 6, "level": 6}
    assert told(shared) == {"things_total": 6, "waits_sum": 6, "level": 1.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "counter_4.db",
        "counter_ended.db",
        "gauge_livesum_4.db",
        "histogram_4.db",
        "histogram_ended.db",
    ]


def test_a_file_that_a_worker_has_only_just_made_is_no_error(tmp_path: Path) -> None:
    """It has no size yet, and it never gets one when the worker dies at that moment."""
    shared = SharedFolder(str(tmp_path))
    written(tmp_path, 1, 1.5)
    (tmp_path / "counter_2.db").touch()
    assert told(shared) == {"things_total": 1.5, "waits_sum": 1.5, "level": 1.5}
    shared.forget(2)
    assert not (tmp_path / "counter_2.db").exists()


def test_counts_that_cannot_be_put_aside_do_not_end_the_supervisor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers matter more than what they counted."""
    written(tmp_path, 1, 1.5)
    (tmp_path / "counter_ended.db").mkdir()
    SharedFolder(str(tmp_path)).forget(1)
    assert "can't be put aside" in caplog.text
