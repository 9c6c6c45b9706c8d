"""What the load is sent to: the upstream itself, nginx and a bare relay before it, and the gateway in its variants.

Each gives the port to ask, the path and headers of a row, and the process whose cost is counted (the upstream's own
cost is nobody's business). Each lives in a folder that goes away with the benchmark.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from tests.bench.process import TARGET_CORE, Process
from tests.bench.rows import Row

CLIENT_HEADERS: Mapping[str, str] = {
    "user-agent": "claude-cli/2.0 (external, cli)",
    "accept": "application/json",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14",
    "x-app": "cli",
    "x-stainless-lang": "js",
    "x-stainless-runtime": "node",
    "x-stainless-retry-count": "0",
}
"""What a coding agent sends along."""


class Target(Protocol):
    """Something that answers the rows."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def rows(self) -> Collection[str] | None:
        """The rows that it can do; None: all."""

    @property
    def exact(self) -> bool:
        """Whether bytes pass it untouched, or only what they mean."""

    @property
    def process(self) -> Process | None: ...

    def path(self, row: Row) -> str: ...

    def headers(self, row: Row) -> Mapping[str, str]: ...

    def stop(self) -> None: ...


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class _AskedAsUpstream:
    """Does every row, is asked for it as the upstream is, and lets bytes pass untouched."""

    rows = None
    exact = True

    def path(self, row: Row) -> str:
        return row.path

    def headers(self, row: Row) -> Mapping[str, str]:
        return CLIENT_HEADERS


class Direct(_AskedAsUpstream):
    """The upstream without anything before it: what added times are added to."""

    name = "direct"
    process = None

    def __init__(self, upstream_port: int) -> None:
        self.port = upstream_port

    def stop(self) -> None:
        """Nothing of its own to stop."""


NGINX_CONF = """\
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 32m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


class Nginx(_AskedAsUpstream):
    """nginx as a relay: one worker, no buffering, kept-alive connections both ways, no log. It records nothing."""

    name = "nginx"

    def __init__(self, upstream_port: int, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        conf = folder / "nginx.conf"
        values = {"folder": folder, "port": self.port, "upstream_port": upstream_port}
        # The worker becomes the user who runs the benchmark, for the folder is theirs.
        conf.write_text(NGINX_CONF.format(user=folder.owner(), **values))
        command = [nginx_binary() or "nginx", "-p", str(folder), "-e", "stderr", "-c", str(conf)]
        self.process = Process(command, cores=TARGET_CORE, log=folder / "log")
        self.process.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        self.process.stop()


class Relay(_AskedAsUpstream):
    """The gateway's server and transport with nothing between them: what any gateway on them costs at least."""

    name = "bare relay"

    def __init__(self, upstream_port: int, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        command = [sys.executable, "-m", "tests.bench.relay_host", "--port", str(self.port)]
        command += ["--upstream", str(upstream_port)]
        self.process = Process(command, cores=TARGET_CORE, log=folder / "log")
        self.process.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        self.process.stop()


def nginx_binary() -> str | None:
    """nginx, wherever Debian or another system put it."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


def install_nginx(*, allowed: bool) -> str | None:
    """nginx from the system's packages when it is missing and that is allowed; None, or why there is none."""
    if nginx_binary():
        return None
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0 or not allowed:
        return "it is not installed (on Debian and Ubuntu: apt-get install nginx-light)"
    command = [apt, "install", "-y", "--no-install-recommends", "nginx-light"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if nginx_binary() else f"it could not be installed: {done.stderr.strip()[-300:]}"
