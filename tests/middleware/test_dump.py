"""The dump layer: which files hold what, who may read them, and that no disk stops a request."""

from __future__ import annotations

import asyncio
import logging
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.dump import DumpMiddleware
from middleware.errors import UpstreamUnreachable
from middleware.exchange import Exchange
from providers.base import BEARER, Credential
from providers.secret import Secret
from tests.asgi import call, drive
from tests.middleware.exchanges import CENTRAL_KEY, Inward, chunk, known_scope, raising, read_body, start
from tests.upstream import CUT, Reply, Upstream

STEM = "1767225600000-interception-1"
BODY = b'{"z": 1.50, "a": [1, 2], "model": "gpt-x", "text": "\\u00e9"}'


def scope_of(**options: Any) -> Scope:
    scope = known_scope(**options)
    Exchange.of(scope).interception_id = "interception-1"
    return scope


class Dumping:
    """A layer whose files are looked at once all of them are written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layers: list[DumpMiddleware] = []

    def around(self, app: ASGIApp, **options: Any) -> DumpMiddleware:
        layer = DumpMiddleware(app, directory=self.directory, now_ms=lambda: 1767225600000, **options)
        self.layers.append(layer)
        return layer

    def close(self) -> None:
        for layer in self.layers:
            layer.close()

    def files(self) -> dict[str, bytes]:
        """Path below the directory -> content."""
        self.close()
        found = sorted(path for path in self.directory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in found}


@pytest.fixture
def dumping(tmp_path: Path) -> Iterator[Dumping]:
    dumping = Dumping(tmp_path / "made" / "dumps")
    yield dumping
    dumping.close()


async def test_an_exchange_is_two_files(dumping: Dumping) -> None:
    """HTTP/1.1 text: first line, sorted headers, blank line, body; by instance, model, time and ID."""
    reply = Reply(
        201, ((b"x-b", b"2"), (b"content-type", b"text/event-stream"), (b"a", b"1")), [b"one\n", b"two"]
    )
    headers = [("user-agent", "codex"), ("accept", "*/*"), ("b", "2"), ("b", "1")]
    scope = scope_of(headers=headers, query="a=b%2f&c")
    client = await call(dumping.around(Upstream(reply)), scope, BODY)
    assert (client.chunks, client.headers) == ([b"one\n", b"two"], list(reply.headers))
    files = dumping.files()
    assert list(files) == [f"openai/gpt-x/{STEM}.req.txt", f"openai/gpt-x/{STEM}.resp.txt"]
    request, answer = files.values()
    assert request.startswith(
        b"POST /openai/v1/chat/completions?a=b%2f&c HTTP/1.1\r\n"
        b"accept: */*\r\nb: 1\r\nb: 2\r\nuser-agent: codex\r\n\r\n{"
    )
    assert answer == (
        b"HTTP/1.1 201 Created\r\na: 1\r\ncontent-type: text/event-stream\r\nx-b: 2\r\n\r\none\ntwo"
    )


async def test_a_json_body_is_indented_with_its_keys_in_order(dumping: Dumping) -> None:
    """And with its numbers and escapes as they were; what was sent is untouched."""
    inward = Inward()
    await call(dumping.around(inward), scope_of(), [BODY[:5], BODY[5:]])
    assert inward.body == BODY
    _, _, body = dumping.files()[f"openai/gpt-x/{STEM}.req.txt"].partition(b"\r\n\r\n")
    assert body == (
        b'{\n  "z": 1.50,\n  "a": [\n    1,\n    2\n  ],\n  "model": "gpt-x",\n  "text": "\\u00e9"\n}'
    )
    assert msgspec.json.decode(body) == msgspec.json.decode(BODY)


@pytest.mark.parametrize("body", [b"", b"not JSON \xff", b'{"a": ', b"[" * 100_000])
async def test_any_other_body_is_dumped_as_it_is(dumping: Dumping, body: bytes) -> None:
    """Whatever it is, nothing breaks over it."""
    await call(dumping.around(Inward()), scope_of(), body)
    assert dumping.files()[f"openai/gpt-x/{STEM}.req.txt"].endswith(b"\r\n\r\n" + body)


async def test_the_answer_is_written_while_it_streams(dumping: Dumping) -> None:
    """What a provider said before it stalled can be looked at."""
    gate = asyncio.Event()
    layer = dumping.around(Upstream(Reply(200, (), [b"one", gate, b"two"])))
    async with drive(layer, scope_of(), body=b"{}") as client:
        await client.message(1)
        written = threading.Event()
        layer.writer.submit(written.set, 0)
        await asyncio.to_thread(written.wait, 10)
        path = dumping.directory / f"openai/gpt-x/{STEM}.resp.txt"
        assert path.read_bytes().endswith(b"\r\n\r\none")
        gate.set()
        await client.completed()
    assert dumping.files()[f"openai/gpt-x/{STEM}.resp.txt"].endswith(b"\r\n\r\nonetwo")


async def test_files_and_folders_are_their_owners_alone(dumping: Dumping) -> None:
    """0600 in 0700: all folders that were made, not only the last."""
    await call(dumping.around(Inward()), scope_of(), b"{}")
    files = dumping.files()
    path = dumping.directory / next(iter(files))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, dumping.directory, dumping.directory.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


MASKED = (
    "Authorization X-Api-Key Api-Key X-Auth-Token X-Goog-Api-Key Cookie Proxy-Authorization "
    "X-Amz-Security-Token Set-Cookie WWW-Authenticate Proxy-Authenticate"
)


@pytest.mark.parametrize("name", MASKED.split())
async def test_credentials_are_masked_both_ways(dumping: Dumping, name: str) -> None:
    """Whatever the case of the header's name."""
    secret = "canary-secret-0123456789"
    answer = Inward(headers=[(name.encode(), secret.encode())])
    await call(dumping.around(answer), scope_of(headers=[(name, secret)]), b"{}")
    request, response = dumping.files().values()
    assert f"{name.lower()}: cana...6789\r\n".encode() in request
    assert f"{name}: cana...6789\r\n".encode() in response


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Bearer fake-secret-value-0123456789", "Bearer fake...6789"),
        ("bearer 0123456789", "bearer 01...89"),
        ("Bearer 12345", "Bearer 1...5"),
        ("Bearer 1234", "Bearer ..."),
        ("0123456789012345678901", "0123...8901"),
        ("", "..."),
    ],
)
async def test_a_scheme_stays_readable(dumping: Dumping, value: str, shown: str) -> None:
    """4+4 characters of the secret from length 20, 2+2 from 10, 1+1 from 5, else none."""
    await call(dumping.around(Inward()), scope_of(headers=[("authorization", value)]), b"{}")
    request, _ = dumping.files().values()
    assert f"authorization: {shown}\r\n".encode() in request


async def test_secrets_in_the_query_are_masked(dumping: Dumping) -> None:
    """Some proxies want theirs there."""
    query = "key=canary-secret-0123456789&beta=true&X-Amz-Signature=canary-signature-01234"
    await call(dumping.around(Inward()), scope_of(query=query), b"{}")
    request, _ = dumping.files().values()
    assert b"?key=cana...6789&beta=true&X-Amz-Signature=cana...1234 HTTP/1.1\r\n" in request


async def test_an_echo_of_the_credential_is_masked(dumping: Dumping) -> None:
    """In whatever header a provider put it."""
    scope = scope_of(headers=[("x-debug", f"<{CENTRAL_KEY}>")])
    Exchange.of(scope).credential = Credential(BEARER, Secret(CENTRAL_KEY))
    answer = Inward(headers=[(b"x-echo", f"key={CENTRAL_KEY}".encode())])
    await call(dumping.around(answer), scope, b"{}")
    assert all(CENTRAL_KEY.encode() not in content for content in dumping.files().values())


async def test_a_route_that_only_passes_through_has_its_own_folder(dumping: Dumping) -> None:
    """It has no model."""
    await call(dumping.around(Inward()), scope_of(path="/v1/models", method="GET"), b"")
    assert list(dumping.files()) == [
        f"openai/passthrough/{STEM}.req.txt",
        f"openai/passthrough/{STEM}.resp.txt",
    ]


async def test_a_failed_exchange_has_a_file_that_says_how(dumping: Dumping) -> None:
    """Beside the request; there is no answer."""
    failure = UpstreamUnreachable("could not reach the provider: ConnectError")
    async with drive(dumping.around(raising(failure)), scope_of(), body=b"{}") as client:
        assert await client.failed() is failure
    files = dumping.files()
    assert list(files) == [f"openai/gpt-x/{STEM}.req.txt", f"openai/gpt-x/{STEM}.req_error.txt"]
    assert files[f"openai/gpt-x/{STEM}.req_error.txt"] == (
        b"UpstreamUnreachable: could not reach the provider: ConnectError\n"
    )


async def test_a_cut_answer_is_dumped_as_far_as_it_came(dumping: Dumping) -> None:
    """With what went wrong beside it, but not in the words of an unknown exception."""
    reply = Reply(200, (), [b"half", CUT])
    async with drive(dumping.around(Upstream(reply)), scope_of(), body=b"{}") as client:
        await client.failed()
    files = dumping.files()
    assert files[f"openai/gpt-x/{STEM}.resp.txt"].endswith(b"half")
    assert files[f"openai/gpt-x/{STEM}.req_error.txt"] == b"ConnectionCut: the exchange broke off\n"


async def test_a_cancelled_exchange_is_dumped_as_far_as_it_came(dumping: Dumping) -> None:
    """Nothing of it waits for an event loop that has no time left."""
    layer = dumping.around(Upstream(Reply(200, (), [b"half", asyncio.Event()])))
    async with drive(layer, scope_of(), body=b"{}") as client:
        await client.message(1)
        client.cancel()
        await client.failed()
    files = dumping.files()
    assert files[f"openai/gpt-x/{STEM}.resp.txt"].endswith(b"half")
    assert files[f"openai/gpt-x/{STEM}.req_error.txt"].startswith(b"CancelledError")


@pytest.mark.parametrize(
    "model",
    [
        "../../../etc/passwd",
        "..",
        ".",
        "",
        "/abs",
        "a/b",
        "a\\b",
        "a\x00b",
        "x" * 5000,
        "…",
        "C:x",
        "-rf",
        "~",
    ],
)
async def test_a_model_name_cannot_leave_its_folder(dumping: Dumping, model: str) -> None:
    """It is one segment below the instance's folder, whatever a client calls it."""
    body = msgspec.json.encode({"model": model, "messages": []})
    await call(dumping.around(Inward()), scope_of(body=body), body)
    files = dumping.files()
    assert len(files) == 2
    for name in files:
        instance, segment, file = name.split("/")
        assert (instance, file.startswith(STEM)) == ("openai", True)
        assert segment not in ("", ".", "..")
    assert [path.name for path in dumping.directory.parent.iterdir()] == ["dumps"]


async def test_an_instance_of_the_passthrough_name_and_an_unknown_one(dumping: Dumping) -> None:
    """Alone, without a route, the layer still has somewhere to write."""
    scope = scope_of()
    Exchange.of(scope).provider = Exchange.of(scope).facts = None
    Exchange.of(scope).interception_id = None
    await call(dumping.around(Inward()), scope, b"{}")
    assert next(iter(dumping.files())) == "unknown/passthrough/1767225600000-request-1.req.txt"


async def untouched(layer: DumpMiddleware, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reasons of the warnings, after an exchange that went as if there were no dump."""
    caplog.set_level(logging.WARNING)
    inward_body = b"x" * 1000
    client = await call(layer, scope_of(), inward_body)
    assert (client.status, client.body, client.complete) == (200, b"{}", True)
    layer.close()
    assert {record.message for record in caplog.records} == {"dump ended early"}
    return [vars(record)["reason"] for record in caplog.records]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
async def test_a_full_disk_ends_the_dump_and_not_the_request(
    dumping: Dumping, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning a file, however many chunks come."""
    folder = dumping.directory / "openai" / "gpt-x"
    folder.mkdir(parents=True)
    for suffix in ("req", "resp"):
        (folder / f"{STEM}.{suffix}.txt").symlink_to("/dev/full")
    reasons = await untouched(dumping.around(Inward()), caplog)
    assert reasons == ["No space left on device"] * 2


async def test_a_folder_that_cannot_be_made_ends_the_dump_and_not_the_request(
    dumping: Dumping, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's file stands in the way."""
    dumping.directory.mkdir(parents=True)
    (dumping.directory / "openai").write_text("not a folder")
    assert len(await untouched(dumping.around(Inward()), caplog)) == 2


async def test_a_disk_that_cannot_keep_up_ends_the_dump_and_not_the_request(
    dumping: Dumping, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for it is bounded."""
    layer = dumping.around(Inward(), max_pending_bytes=500)
    assert await untouched(layer, caplog) == ["the disk can't keep up"]


def void(result: object) -> None:
    """Throws a result away."""


async def test_no_request_waits_for_the_disk(dumping: Dumping) -> None:
    """The exchange is over while the disk has not written a byte; later, all of it is there."""
    layer = dumping.around(Inward(b"answer"))
    disk = threading.Event()
    layer.writer.submit(lambda: void(disk.wait(10)), 0)
    client = await call(layer, scope_of(), b"{}")
    assert client.complete
    assert not dumping.directory.exists()
    disk.set()
    assert len(dumping.files()) == 2


async def test_the_bound_counts_what_is_waiting_and_nothing_else(dumping: Dumping) -> None:
    """After each exchange nothing is owed, however many there were."""
    layer = dumping.around(Inward(b"x" * 300), max_pending_bytes=2000)
    for _ in range(50):
        await call(layer, scope_of(), b"{}")
        done = threading.Event()
        layer.writer.submit(done.set, 0)
        await asyncio.to_thread(done.wait, 10)
    contents = dumping.files()
    assert contents[f"openai/gpt-x/{STEM}.resp.txt"].count(b"x" * 300) == 50


async def test_an_upstream_that_does_not_read_the_body_leaves_no_request_file(dumping: Dumping) -> None:
    """What was not sent is not told as sent."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(chunk(b"early", more=False))

    await call(dumping.around(app), scope_of(), b"{}")
    assert list(dumping.files()) == [f"openai/gpt-x/{STEM}.resp.txt"]


async def test_a_directory_that_is_a_file_is_refused_at_once(tmp_path: Path) -> None:
    """The operator learns it at the start and not at the first request."""
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="is not a directory"):
        DumpMiddleware(read_body, directory=path)  # type: ignore[arg-type]
