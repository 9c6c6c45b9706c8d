"""What a dump must not show, and to whom: only its owner may list or read anything, and heads hold no credential."""

from __future__ import annotations

from pathlib import Path

from starlette.types import Receive, Scope, Send

from middleware.dump import DumpMiddleware
from middleware.exchange import Exchange
from providers.base import BEARER, Credential
from providers.secret import Secret
from tests.asgi import call, http_scope

KEY = "fake-central-key-0123456789"


async def _echoing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"x-echo", f"key {KEY}!".encode()), (b"location", f"https://a.example/?k={KEY}".encode())]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b"no"})


async def _dump(directory: Path, target: str = "/v1/models") -> dict[str, bytes]:
    layer = DumpMiddleware(_echoing, directory=directory, now_ms=lambda: 1)
    scope = http_scope("GET", target, headers=[("authorization", f"Bearer {KEY}"), ("x-also", KEY)])
    Exchange.of(scope).credential = Credential(BEARER, Secret(KEY))
    await call(layer, scope)
    layer.close()
    return _files(directory)


def _files(directory: Path) -> dict[str, bytes]:
    return {"".join(path.suffixes): path.read_bytes() for path in directory.glob("**/*.txt")}


async def test_a_credential_that_the_provider_echoes_is_masked(tmp_path: Path) -> None:
    """Whatever header it comes back in, and whatever stands around it."""
    dump = await _dump(tmp_path)
    assert KEY.encode() not in dump[".resp.txt"] + dump[".req.txt"]
    assert b"x-echo: key fake...6789!" in dump[".resp.txt"]


async def test_a_secret_parameter_is_masked_under_an_encoded_name_too(tmp_path: Path) -> None:
    """`%6Bey` is `key` to the provider, so it is to the dump."""
    dump = await _dump(tmp_path, "/v1/models?%6Bey=fake-parameter-value-01&a=1")
    assert dump[".req.txt"].startswith(b"GET /v1/models?%6Bey=fake...e-01&a=1 HTTP/1.1\r\n")


async def test_every_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Not only the innermost: names of providers and models are nobody else's business either."""
    directory = tmp_path / "var" / "dumps"
    await _dump(directory)
    folders = [path for path in (tmp_path / "var").glob("**") if path.is_dir()]
    assert len(folders) == 4
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}
