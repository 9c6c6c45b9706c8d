"""The port of its own: what it answers, to whom, and when the event loop has no time."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.metrics import exposition
from gateway.metrics.exposition import MetricsAddressError, read_on, served
from gateway.metrics.metrics import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    """One counter that stands at 1."""
    registry = CollectorRegistry()
    Counter("things", "Things.", ["kind"], registry=registry).labels("a").inc()
    return registry


@pytest.fixture
def port(registry: CollectorRegistry) -> Iterator[int]:
    with served("127.0.0.1:0", registry, lambda: None) as port:
        yield port


def asked(port: int, method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[int, str, bytes]:
    """Status, type and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read()
    finally:
        connection.close()


def test_it_speaks_prometheus_text(port: int) -> None:
    """And says of each series what it is, without the time at which it began."""
    status, kind, body = asked(port)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert body.splitlines() == [
        b"# HELP things_total Things.",
        b"# TYPE things_total counter",
        b'things_total{kind="a"} 1.0',
    ]


def test_it_speaks_openmetrics_where_that_is_asked_for(port: int) -> None:
    """As Prometheus does."""
    status, kind, body = asked(port, accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    (family,) = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    assert [(sample.name, sample.value) for sample in family.samples] == [("things_total", 1)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/metrics", 200), ("GET", "/metrics?x=1", 200), ("GET", "/", 404), ("POST", "/metrics", 501)],
)
def test_only_metrics_are_there_and_only_to_be_read(method: str, path: str, status: int, port: int) -> None:
    """Nothing of the gateway's own routes."""
    assert asked(port, method, path)[0] == status


def test_the_port_is_closed_with_the_block(registry: CollectorRegistry) -> None:
    """Nobody answers any more."""
    with served("127.0.0.1:0", registry, lambda: None) as port:
        asked(port)
    with pytest.raises(ConnectionRefusedError):
        asked(port)


@pytest.mark.parametrize("address", ["256.256.256.256:9464", "127.0.0.1:{port}"])
def test_an_address_that_cannot_be_had_is_one_sentence(
    address: str, port: int, registry: CollectorRegistry
) -> None:
    """It names the address and the setting."""
    wanted = address.format(port=port)
    with pytest.raises(MetricsAddressError) as refused, served(wanted, registry, lambda: None):
        pass
    assert str(refused.value).startswith(f"can't listen on {wanted}: ")
    assert str(refused.value).endswith("Choose another address with metrics_address.")


def test_a_mistake_in_reading_is_a_500_and_a_line_in_the_log(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A scrape that fails shows as one, and the next one may work."""

    def mistaken() -> None:
        raise LookupError("a mistake")

    with served("127.0.0.1:0", registry, mistaken) as port:
        assert asked(port)[0] == 500
    assert "metrics could not be told" in caplog.text


async def test_what_is_read_is_read_on_the_event_loop(registry: CollectorRegistry) -> None:
    """By its thread, because what is read belongs to it."""
    threads: list[str] = []

    class Watched(Metrics):
        def take(self) -> None:
            threads.append(threading.current_thread().name)

    with served("127.0.0.1:0", registry, read_on(asyncio.get_running_loop(), Watched())) as port:
        await asyncio.to_thread(asked, port)
    assert threads == [threading.current_thread().name]


async def test_a_loop_without_time_does_not_keep_it_from_answering(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it tells what was read last; here the loop's thread waits for the answer itself."""
    monkeypatch.setattr(exposition, "READ_TIMEOUT_S", 0.01)
    with served("127.0.0.1:0", registry, read_on(asyncio.get_running_loop(), Metrics())) as port:
        assert asked(port)[0] == 200


def test_a_loop_that_has_ended_does_not_either(registry: CollectorRegistry) -> None:
    """As between the end of serving and the end of the process."""
    loop = asyncio.new_event_loop()
    loop.close()
    with served("127.0.0.1:0", registry, read_on(loop, Metrics())) as port:
        assert asked(port)[0] == 200
