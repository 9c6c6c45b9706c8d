"""nginx with the configuration of `deploy/nginx`, before an application that waits for its client."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from tests.bench.targets import free_port
from tests.deploy.files import DEPLOY
from tests.servers import serving

CONF: Final = DEPLOY / "nginx" / "ai-gateway.conf"
NAME: Final = "gateway.example.com"
CHUNKS: Final = 5

WRAPPER: Final = """\
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""


@pytest.fixture
def nginx(path_of: Callable[[str], Path]) -> Path:
    return path_of("nginx")


def lay_out(folder: Path, *, port: int = 443, upstream: str = "127.0.0.1:4001") -> list[str]:
    """The arguments for an nginx that has the configuration, with addresses and files of the test's."""
    (folder / "conf.d").mkdir()
    certificate, key = make_certificate()
    (folder / "tls.pem").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    replacements = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "server 127.0.0.1:4001 ": f"server {upstream} ",
        f"/etc/ssl/certs/{NAME}.pem": str(folder / "tls.pem"),
        f"/etc/ssl/private/{NAME}.key": str(folder / "tls.key"),
        "/var/log/nginx/ai-gateway.log": str(folder / "access.log"),
    }
    text = CONF.read_text()
    for shown, used in replacements.items():
        assert shown in text
        text = text.replace(shown, used)
    (folder / "conf.d" / CONF.name).write_text(text)
    (folder / "nginx.conf").write_text(WRAPPER.format(folder=folder, user=folder.owner()))
    return ["-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def make_certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(pem), private


@contextmanager
def running(nginx: Path, arguments: list[str]) -> Iterator[None]:
    """It goes into the background when its sockets are open, so who comes back from it can connect."""
    subprocess.run([nginx, *arguments], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run([nginx, *arguments, "-s", "stop"], check=True, timeout=20)


@asynccontextmanager
async def client(folder: Path, port: int) -> AsyncIterator[httpx.AsyncClient]:
    trusted = ssl.create_default_context(cafile=str(folder / "tls.pem"))
    base = f"https://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, verify=trusted, headers={"host": NAME}) as one:
        yield one


class Hesitant:
    """Says one thing, and the next when it was heard."""

    def __init__(self) -> None:
        self.heard = asyncio.Semaphore(1)
        self.app = Starlette(
            routes=[
                Route("/stream", self.stream, methods=["POST"]),
                Route("/size", self.size, methods=["POST"]),
                Route("/readyz", lambda request: PlainTextResponse("ready")),
            ]
        )

    async def stream(self, request: Request) -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            for number in range(CHUNKS):
                async with asyncio.timeout(10):
                    await self.heard.acquire()
                yield f"data: {number}\n\n".encode()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def size(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))


def test_nginx_takes_the_configuration(nginx: Path, tmp_path: Path) -> None:
    """`nginx -t`, as an operator would ask."""
    done = subprocess.run([nginx, *lay_out(tmp_path), "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


async def test_each_chunk_of_a_stream_passes_before_the_next_is_made(nginx: Path, tmp_path: Path) -> None:
    """Held back by nginx, the first would never be heard and the second never be said."""
    said, port = Hesitant(), free_port()
    async with serving(said.app) as base:
        arguments = lay_out(tmp_path, port=port, upstream=base.removeprefix("http://"))
        heard = []
        with running(nginx, arguments):
            async with client(tmp_path, port) as http, http.stream("POST", "/stream", json={}) as answer:
                async for line in answer.aiter_lines():
                    if line:
                        heard.append(line)
                        said.heard.release()
    assert heard == [f"data: {number}" for number in range(CHUNKS)]


async def test_a_long_prompt_passes(nginx: Path, tmp_path: Path) -> None:
    """nginx' own limit is 1 MiB, and one image is more."""
    said, port = Hesitant(), free_port()
    async with serving(said.app) as base:
        arguments = lay_out(tmp_path, port=port, upstream=base.removeprefix("http://"))
        with running(nginx, arguments):
            async with client(tmp_path, port) as http:
                answer = await http.post("/size", content=b"x" * (5 << 20))
                ready = await http.get("/readyz")
    assert answer.text == str(5 << 20)
    assert ready.text == "ready"
